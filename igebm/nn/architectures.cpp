#include "igebm/nn/architectures.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "igebm/base/error.h"

namespace igebm::nn {
namespace {

/// Appends nodes, tracking the number of channels, so that builders read like the figure of the network.
class Builder {
 public:
  Builder(const std::vector<std::int64_t>& input_shape, const Conditioning& on) {
    if (on.classes > 0 && on.conditions > 0)
      throw UserError("network.conditions: not together with labels; expected one of them");
    graph.input_shape = input_shape;
    if (on.noise_features > 0) {
      graph.condition_classes = on.classes;
      graph.optional_condition = on.optional_condition;
      graph.noise_features = on.noise_features;
      const std::int64_t told = on.optional_condition && on.conditions > 0 ? 1 : 0;
      graph.number_features = on.number_features;
      graph.conditions = on.classes + on.conditions + told + on.number_features + on.noise_features;
    } else {
      if (on.number_features > 0) throw UserError("network.number_features: only with network.noise_features");
      graph.classes = on.classes;
      graph.conditions = on.conditions;
    }
  }

  Graph graph;

  int input() { return graph.add({.op = Op::input}); }
  int simple(Op op, int x, std::int64_t k = 0) { return graph.add({.op = op, .inputs = {x}, .k = k}); }
  int both(Op op, int a, int b) { return graph.add({.op = op, .inputs = {a, b}}); }
  int conv(int x, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t k, Norm norm = Norm::none,
           Init init = Init::he, std::int64_t stride = 1) {
    return graph.add({.op = Op::conv2d,
                      .inputs = {x},
                      .name = name,
                      .in = in,
                      .out = out,
                      .k = k,
                      .stride = stride,
                      .padding = stride == 1 ? k / 2 : (k - stride) / 2,
                      .bias = true,
                      .norm = norm,
                      .init = init});
  }
  /// 4x4, stride 2; half of an odd side is rounded up, by zeros at its end, as by TensorFlow's SAME in IGEBM's code.
  int halve(int x, const std::string& name, std::int64_t in, std::int64_t out, bool odd, Norm norm) {
    const int y = conv(x, name, in, out, 4, norm, Init::he, 2);
    graph.nodes.back().padding_end = odd ? 1 : 0;
    return y;
  }
  int linear(int x, const std::string& name, std::int64_t in, std::int64_t out, Norm norm = Norm::none) {
    return graph.add({.op = Op::linear, .inputs = {x}, .name = name, .in = in, .out = out, .bias = true, .norm = norm});
  }
  int group_norm(int x, const std::string& name, std::int64_t channels, std::int64_t groups) {
    if (groups == 0) return x;
    return graph.add({.op = Op::group_norm, .inputs = {x}, .name = name, .in = channels, .groups = groups});
  }
  int label(Op op, int x, const std::string& name, std::int64_t channels) {
    if (!graph.conditional()) return x;
    const std::int64_t rows = graph.classes + graph.conditions;
    return graph.add({.op = op, .inputs = {x}, .name = name, .in = channels, .classes = rows});
  }
  int dropout(int x, double rate) {
    if (rate == 0) return x;
    return graph.add({.op = Op::dropout, .inputs = {x}, .rate = rate});
  }
  /// x + a 1x1 convolution, which starts as `init`, of attention between places of `from`.
  int self_attention(int x, int from, std::int64_t channels, std::int64_t queries, std::int64_t values, Norm norm,
                     Norm last_norm, Init init) {
    const int q = conv(from, "attention.query", channels, queries, 1, norm);
    const int k = conv(from, "attention.key", channels, queries, 1, norm);
    const int v = conv(from, "attention.value", channels, values, 1, norm);
    const int y = graph.add({.op = Op::attention, .inputs = {q, k, v}});
    return both(Op::add, conv(y, "attention.out", values, channels, 1, last_norm, init), x);
  }
};

void require_image(const std::vector<std::int64_t>& shape, const char* kind) {
  if (shape.size() != 3)
    throw UserError(fmt::format("network.kind: {} is for pictures, and the data are points; try \"mlp\"", kind));
}

/// Places of a picture of `shape` after so many convolutions 4x4 of stride 2.
std::int64_t places_after_halving(const std::vector<std::int64_t>& shape, std::size_t times) {
  std::int64_t height = shape[1], breadth = shape[2];
  for (std::size_t i = 0; i < times; ++i) height /= 2, breadth /= 2;
  if (height < 1 || breadth < 1) {
    throw UserError(
        fmt::format("network.channels: {} convolutions halve a picture of {}x{} away", times, shape[1], shape[2]));
  }
  return height * breadth;
}

Op activation(Activation a) { return a == Activation::silu ? Op::silu : Op::leaky_relu; }

struct Block {
  std::int64_t width = 0;
  bool down = false;
};

std::vector<Block> parse_blocks(const std::string& text) {
  std::vector<Block> blocks;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    Block block;
    if (word.back() == 'd') block.down = true, word.pop_back();
    if (word.empty() || word.size() > 5 || word.find_first_not_of("0123456789") != std::string::npos ||
        (block.width = std::stoll(word)) < 1) {
      throw UserError(fmt::format(
          "network.blocks: expected widths such as \"128d 128 256d\" (d: halve the picture), got \"{}\"", text));
    }
    blocks.push_back(block);
  }
  return blocks;
}

}  // namespace

Graph residual(const ResidualOptions& options, const std::vector<std::int64_t>& input_shape, const Conditioning& on) {
  io::check("network", options);
  require_image(input_shape, "residual");
  Builder b(input_shape, on);
  const Op act = activation(options.activation);
  const Norm norm = options.spectral_norm ? Norm::spectral : Norm::none;
  const Norm capped = options.spectral_norm ? Norm::spectral_capped : Norm::none;
  int x = b.input();
  x = b.conv(x, "stem", input_shape[0], options.stem, options.stem_kernel, norm, Init::he,
             options.stem_kernel == 4 ? 2 : 1);
  x = b.simple(act, x);
  std::int64_t width = options.stem;
  const auto blocks = parse_blocks(options.blocks);
  const auto attend = [&] {
    const std::int64_t queries = std::max<std::int64_t>(width / 8, 1), values = std::max<std::int64_t>(width / 2, 1);
    x = b.self_attention(x, x, width, queries, values, norm, capped, Init::tiny);
  };
  std::int64_t stages = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto [out, down] = blocks[i];
    if (down && stages++ == 1 && options.attention) attend();
    const std::string name = fmt::format("block{}", i + 1);
    int y = b.label(Op::label_bias, x, name + ".label_bias", width);
    y = b.simple(act, b.conv(y, name + ".conv1", width, out, 3, norm));
    y = b.conv(b.dropout(y, options.dropout), name + ".conv2", out, out, 3, capped, Init::tiny);
    y = b.label(Op::label_gain, y, name + ".label_gain", out);
    const int bypass = width == out ? x : b.conv(x, name + ".bypass", width, out, 3, norm);
    x = b.both(Op::add, y, bypass);
    if (down) x = b.simple(Op::avg_pool, x, 2);
    x = b.simple(act, x);
    width = out;
  }
  if (options.attention && stages == 0)
    throw UserError("network.attention: it follows the first stage, and no block halves the picture");
  if (options.attention && stages == 1) attend();
  x = b.linear(b.simple(Op::sum_pool, b.simple(act, x)), "head", width, 1);
  b.simple(Op::squeeze, x);
  return b.graph;
}

Graph strided(const StridedOptions& options, const std::vector<std::int64_t>& input_shape, const Conditioning& on) {
  io::check("network", options);
  require_image(input_shape, "strided");
  Builder b(input_shape, on);
  const Op act = activation(options.activation);
  const Norm norm = options.spectral_norm ? Norm::spectral : Norm::none;
  int x = b.input();
  std::int64_t width = input_shape[0];
  if (options.label_planes) {
    x = b.label(Op::label_planes, x, "", width);
    width += b.graph.classes + b.graph.conditions;
  }
  x = b.simple(act, b.conv(x, "stem", width, options.stem, 3, norm));
  width = options.stem;
  std::int64_t rows = input_shape[1], columns = input_shape[2];
  for (std::size_t i = 0; i < options.channels.size(); ++i) {
    const std::string name = fmt::format("conv{}", i + 1);
    if (!options.label_planes) x = b.label(Op::label_bias, x, name + ".label_bias", width);
    const bool odd = rows % 2 == 1 || columns % 2 == 1;
    x = b.simple(act, b.halve(x, name, width, options.channels[i], odd, norm));
    rows = (rows + 1) / 2, columns = (columns + 1) / 2;
    width = options.channels[i];
  }
  width *= rows * columns;
  x = b.simple(act, b.linear(b.simple(Op::flatten, x), "dense", width, options.dense, norm));
  b.simple(Op::squeeze, b.linear(x, "head", options.dense, 1));
  return b.graph;
}

Graph unet(const UNetOptions& options, const std::vector<std::int64_t>& input_shape, const Conditioning& on) {
  io::check("network", options);
  require_image(input_shape, "unet");
  const auto& channels = options.channels;
  const std::size_t levels = channels.size();
  if (levels == 0 || levels > 16)
    throw UserError(fmt::format("network.channels: expected 1 to 16 levels, got {}", levels));
  const std::int64_t divisor = options.patch << (levels - 1);
  if (input_shape[1] % divisor != 0 || input_shape[2] % divisor != 0) {
    throw UserError(
        fmt::format("network.channels: a unet of {} levels and patches of {} takes pictures whose sides "
                    "divide by {}, got {}x{}",
                    levels, options.patch, divisor, input_shape[1], input_shape[2]));
  }
  Builder b(input_shape, on);
  const auto norm = [&](int x, const std::string& name, std::int64_t width) {
    return b.simple(Op::silu, b.group_norm(x, name, width, options.groups));
  };
  const auto block = [&](int x, const std::string& name, std::int64_t in, std::int64_t out) {
    int y = b.conv(norm(x, name + ".norm1", in), name + ".conv1", in, out, 3);
    y = b.dropout(norm(b.label(Op::label_bias, y, name + ".label", out), name + ".norm2", out), options.dropout);
    y = b.conv(y, name + ".conv2", out, out, 3, Norm::none, Init::zero);
    return b.both(Op::add, y, in == out ? x : b.conv(x, name + ".bypass", in, out, 1));
  };
  // Names of the first level carry no number.
  const auto level_name = [](std::size_t level) { return level == 0 ? "" : fmt::format("level{}.", level + 1); };
  const int input = b.input();
  const int patches = options.patch == 1 ? input : b.simple(Op::unshuffle, input, options.patch);
  const std::int64_t pixels = input_shape[0] * options.patch * options.patch, deep = channels.back();
  int x = b.conv(patches, "stem", pixels, channels[0], 3);
  std::vector<int> skips;
  for (std::size_t l = 0; l + 1 < levels; ++l) {
    const std::string name = level_name(l);
    for (int i = 1; i <= options.blocks[l]; ++i)
      x = block(x, fmt::format("{}encoder{}", name, i), channels[l], channels[l]);
    skips.push_back(x);
    x = b.conv(x, name + "down", channels[l], channels[l + 1], 2, Norm::none, Init::he, 2);
  }
  for (int i = 1; i <= options.blocks.back(); ++i) {
    x = block(x, fmt::format("middle{}", i), deep, deep);
    if (options.attention && i == 1) {
      x = b.self_attention(x, b.group_norm(x, "attention.norm", deep, options.groups), deep, deep, deep, Norm::none,
                           Norm::none, Init::zero);
    }
  }
  const int deepest = x;
  for (std::size_t l = levels - 1; l-- > 0;) {
    const std::string name = level_name(l);
    const std::int64_t c = channels[l];
    x = b.simple(Op::upsample, b.conv(x, name + "up", channels[l + 1], c, 1), 2);
    x = b.both(Op::concat, x, skips[l]);
    for (int i = 1; i <= options.blocks[l]; ++i)
      x = block(x, fmt::format("{}decoder{}", name, i), i == 1 ? 2 * c : c, c);
  }
  x = b.conv(norm(x, "out_norm", channels[0]), "out", channels[0], pixels, 3, Norm::none, Init::zero);
  const int product = b.both(Op::inner, patches, x);
  const int scalar = b.simple(Op::squeeze, b.linear(b.simple(Op::mean_pool, deepest), "head", deep, 1));
  b.both(Op::add, product, scalar);
  return b.graph;
}

Graph mlp(const MlpOptions& options, const std::vector<std::int64_t>& input_shape, const Conditioning& on) {
  io::check("network", options);
  Builder b(input_shape, on);
  int x = b.input();
  std::int64_t width = 1;
  for (const auto d : input_shape) width *= d;
  if (input_shape.size() != 1) x = b.simple(Op::flatten, x);
  for (std::size_t i = 0; i < options.widths.size(); ++i) {
    const std::string name = fmt::format("layer{}", i + 1);
    x = b.linear(x, name, width, options.widths[i]);
    width = options.widths[i];
    x = b.simple(Op::silu, b.label(Op::label_bias, x, name + ".label", width));
  }
  b.simple(Op::squeeze, b.linear(x, "head", width, 1));
  return b.graph;
}

Graph classifier(const ClassifierOptions& options, const std::vector<std::int64_t>& input_shape, std::int64_t outputs) {
  io::check("network", options);
  require_image(input_shape, "classifier");
  if (outputs < 2)
    throw UserError(fmt::format("network.kind: a classifier takes data of at least 2 classes, got {}", outputs));
  Builder b(input_shape, {});
  b.graph.outputs = outputs;
  int x = b.input();
  std::int64_t width = input_shape[0];
  for (std::size_t i = 0; i < options.channels.size(); ++i) {
    x = b.conv(x, fmt::format("conv{}", i + 1), width, options.channels[i], 4, Norm::none, Init::he, 2);
    x = b.simple(Op::silu, x);
    width = options.channels[i];
  }
  width *= places_after_halving(input_shape, options.channels.size());
  x = b.linear(b.simple(Op::flatten, x), "features", width, options.features);
  b.linear(b.simple(Op::silu, x), "head", options.features, outputs);
  return b.graph;
}

}  // namespace igebm::nn
