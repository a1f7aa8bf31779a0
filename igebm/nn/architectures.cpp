#include "igebm/nn/architectures.h"

#include <fmt/format.h>

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
      graph.noise_features = on.noise_features;
      graph.conditions = on.classes + on.conditions + on.noise_features;
    } else {
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
  int linear(int x, const std::string& name, std::int64_t in, std::int64_t out, bool bias = true) {
    return graph.add({.op = Op::linear, .inputs = {x}, .name = name, .in = in, .out = out, .bias = bias});
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
};

void require_image(const std::vector<std::int64_t>& shape, const char* kind) {
  if (shape.size() != 3)
    throw UserError(fmt::format("network.kind: {} is for pictures, and the data are points; try \"mlp\"", kind));
}

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
  require_image(input_shape, "residual");
  Builder b(input_shape, on);
  const Op act = options.activation == "silu" ? Op::silu : Op::leaky_relu;
  const Norm norm = options.spectral_norm ? Norm::spectral : Norm::none;
  const Norm capped = options.spectral_norm ? Norm::spectral_capped : Norm::none;
  int x = b.input();
  x = b.conv(x, "stem", input_shape[0], options.stem, options.stem_kernel, norm, Init::he,
             options.stem_kernel == 4 ? 2 : 1);
  x = b.simple(act, x);
  std::int64_t width = options.stem;
  const auto blocks = parse_blocks(options.blocks);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto [out, down] = blocks[i];
    const std::string name = fmt::format("block{}", i + 1);
    int y = b.label(Op::label_bias, x, name + ".label_bias", width);
    y = b.simple(act, b.conv(y, name + ".conv1", width, out, 3, norm));
    y = b.conv(y, name + ".conv2", out, out, 3, capped, Init::tiny);
    y = b.label(Op::label_gain, y, name + ".label_gain", out);
    const int bypass = width == out ? x : b.conv(x, name + ".bypass", width, out, 3, norm);
    x = b.both(Op::add, y, bypass);
    if (down) x = b.simple(Op::avg_pool, x, 2);
    x = b.simple(act, x);
    width = out;
  }
  x = b.linear(b.simple(Op::sum_pool, x), "head", width, 1);
  b.simple(Op::squeeze, x);
  return b.graph;
}

Graph unet(const UNetOptions& options, const std::vector<std::int64_t>& input_shape, const Conditioning& on) {
  require_image(input_shape, "unet");
  if (input_shape[1] % 4 != 0 || input_shape[2] % 4 != 0) {
    throw UserError(fmt::format("network.kind: unet takes pictures whose sides divide by 4, got {}x{}", input_shape[1],
                                input_shape[2]));
  }
  Builder b(input_shape, on);
  const std::int64_t c = options.channels, d = options.deep_channels, pixels = 4 * input_shape[0];
  const auto block = [&](int x, const std::string& name, std::int64_t in, std::int64_t out) {
    int y = b.simple(Op::silu, b.group_norm(x, name + ".norm1", in, options.groups));
    y = b.label(Op::label_bias, b.conv(y, name + ".conv1", in, out, 3), name + ".label", out);
    y = b.simple(Op::silu, b.group_norm(y, name + ".norm2", out, options.groups));
    y = b.conv(y, name + ".conv2", out, out, 3, Norm::none, Init::zero);
    return b.both(Op::add, y, in == out ? x : b.conv(x, name + ".bypass", in, out, 1));
  };
  const int input = b.input();
  const int patches = b.simple(Op::unshuffle, input, 2);
  int x = b.conv(patches, "stem", pixels, c, 3);
  for (int i = 1; i <= options.blocks; ++i) x = block(x, fmt::format("encoder{}", i), c, c);
  const int skip = x;
  x = b.conv(x, "down", c, d, 2, Norm::none, Init::he, 2);
  for (int i = 1; i <= options.deep_blocks; ++i) x = block(x, fmt::format("middle{}", i), d, d);
  const int deepest = x;
  x = b.simple(Op::upsample, b.conv(x, "up", d, c, 1), 2);
  x = b.both(Op::concat, x, skip);
  for (int i = 1; i <= options.blocks; ++i) x = block(x, fmt::format("decoder{}", i), i == 1 ? 2 * c : c, c);
  x = b.simple(Op::silu, b.group_norm(x, "out_norm", c, options.groups));
  x = b.conv(x, "out", c, pixels, 3, Norm::none, Init::zero);
  const int product = b.both(Op::inner, patches, x);
  const int scalar = b.simple(Op::squeeze, b.linear(b.simple(Op::mean_pool, deepest), "head", d, 1));
  b.both(Op::add, product, scalar);
  return b.graph;
}

Graph mlp(const MlpOptions& options, const std::vector<std::int64_t>& input_shape, const Conditioning& on) {
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
  require_image(input_shape, "classifier");
  if (outputs < 2)
    throw UserError(fmt::format("network.kind: a classifier takes data of at least 2 classes, got {}", outputs));
  Builder b(input_shape, {});
  b.graph.outputs = outputs;
  int x = b.input();
  std::int64_t width = input_shape[0], height = input_shape[1], breadth = input_shape[2];
  for (std::size_t i = 0; i < options.channels.size(); ++i) {
    x = b.conv(x, fmt::format("conv{}", i + 1), width, options.channels[i], 4, Norm::none, Init::he, 2);
    x = b.simple(Op::silu, x);
    width = options.channels[i], height /= 2, breadth /= 2;
  }
  if (height < 1 || breadth < 1) {
    throw UserError(fmt::format("network.channels: {} convolutions halve a picture of {}x{} away",
                                options.channels.size(), input_shape[1], input_shape[2]));
  }
  x = b.linear(b.simple(Op::flatten, x), "features", width * height * breadth, options.features);
  b.linear(b.simple(Op::silu, x), "head", options.features, outputs);
  return b.graph;
}

}  // namespace igebm::nn
