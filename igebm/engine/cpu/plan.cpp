#include "igebm/engine/cpu/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <utility>

namespace igebm::engine::cpu {
namespace {

using nn::Node;
using nn::Op;

struct Unknown {
  std::string why;
};

int padded(std::int64_t channels) { return static_cast<int>((channels + lane_block - 1) / lane_block * lane_block); }

/// A node's value while the plan is made.
struct Value {
  int height = 1, width = 1, lanes = 0;
  std::vector<int> lane_of_channel;
  Ref at;          ///< where it is stored; none: folded into a later step
  Ref derivative;  ///< of an activation's value
  bool done = false;
};

class Planner {
 public:
  Planner(const nn::Graph& graph, Wanted wanted)
      : graph_(graph),
        shapes_(nn::shapes(graph)),
        values_(graph.nodes.size()),
        for_parameters_(wanted == Wanted::parameter_gradients) {
    consumers_.resize(graph.nodes.size());
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      for (const int input : graph.nodes[i].inputs)
        consumers_[static_cast<std::size_t>(input)].push_back(static_cast<int>(i));
    }
  }

  Plan make() {
    plan_.ones = new_buffer(1, 1, lane_block, true);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) forward(static_cast<int>(i));
    const int last = static_cast<int>(graph_.nodes.size()) - 1;
    plan_.energy = value(last).at.buffer;
    plan_.buffers[static_cast<std::size_t>(plan_.energy)].kept = true;
    contributions_.resize(graph_.nodes.size());
    contributions_[static_cast<std::size_t>(last)].refs.push_back({plan_.ones, 0});
    for (int i = last; i >= 0; --i) backward(i);
    if (!stored_ && !for_parameters_) throw Unknown{"an energy that does not depend on its input"};
    share_memory();
    return std::move(plan_);
  }

 private:
  const Node& node(int i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  Value& value(int i) { return values_[static_cast<std::size_t>(i)]; }
  Value& input(const Node& n, int i = 0) { return value(n.inputs[static_cast<std::size_t>(i)]); }
  const std::vector<int>& consumers(int i) const { return consumers_[static_cast<std::size_t>(i)]; }

  int new_buffer(int height, int width, int lanes, bool kept = false) {
    plan_.buffers.push_back({height, width, lanes, kept});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }
  Ref new_place(const Value& v) { return {new_buffer(v.height, v.width, v.lanes), 0}; }

  [[noreturn]] void unknown(const Node& n, const std::string& what = "") const {
    throw Unknown{fmt::format("{}{}{}", nn::name(n.op), what.empty() ? "" : " ", what)};
  }

  /// The value's size; its channels in order, padded.
  Value shaped(int i) const {
    const auto& s = shapes_[static_cast<std::size_t>(i)];
    Value v;
    const std::int64_t channels = s.empty() ? 1 : s[0];
    if (s.size() == 3) v.height = static_cast<int>(s[1]), v.width = static_cast<int>(s[2]);
    v.lanes = padded(channels);
    v.lane_of_channel.resize(static_cast<std::size_t>(channels));
    std::iota(v.lane_of_channel.begin(), v.lane_of_channel.end(), 0);
    return v;
  }

  Step step(Step::Kind kind, const Value& v) const {
    Step s;
    s.kind = kind;
    s.height = v.height;
    s.width = v.width;
    s.lanes = v.lanes;
    return s;
  }

  int new_vector(const std::string& fixed, const std::string& by_label, const Value& v) {
    plan_.vectors.push_back({fixed, by_label, v.lanes, v.lane_of_channel});
    return static_cast<int>(plan_.vectors.size()) - 1;
  }

  int new_sink(const std::string& name, const Value& v, std::int64_t labels = 0) {
    plan_.sinks.push_back(
        {name, static_cast<int>(std::max<std::int64_t>(1, labels)), v.lanes, labels > 0, v.lane_of_channel});
    return static_cast<int>(plan_.sinks.size()) - 1;
  }

  /// The gradient of a vector that is added to value v (or multiplied with `factor`), from dE/dv = g.
  void sum_lanes(const std::string& name, const Value& v, Ref g, Ref factor = {}, std::int64_t labels = 0) {
    Step s = step(Step::Kind::lane_sums, v);
    s.in = g;
    s.other = factor;
    s.sink = new_sink(name, v, labels);
    plan_.backward.push_back(s);
  }

  static bool is_activation(const Node& n) { return n.op == Op::leaky_relu || n.op == Op::silu; }

  /// Folds what follows node i into the step that makes its value, places the result and appends the step.
  void finish(int i, Step s) {
    int stage = 0;  // what the epilogue has already: 1 gain, 2 addition
    while (consumers(i).size() == 1) {
      const int next = consumers(i)[0];
      const Node& n = node(next);
      if (n.op == Op::label_bias && stage == 0 &&
          (s.bias < 0 || plan_.vectors[static_cast<std::size_t>(s.bias)].by_label.empty())) {
        const std::string fixed = s.bias < 0 ? "" : plan_.vectors[static_cast<std::size_t>(s.bias)].fixed;
        s.bias = new_vector(fixed, n.name + ".weight", value(i));
      } else if (n.op == Op::label_gain && stage == 0 && !for_parameters_) {  // its gradient needs what it multiplies
        s.gain = new_vector("", n.name + ".weight", value(i));
        stage = 1;
      } else if (n.op == Op::add && stage < 2) {
        const int other = n.inputs[0] == i ? n.inputs[1] : n.inputs[0];
        if (other == i || !value(other).at || value(other).lane_of_channel != value(i).lane_of_channel) break;
        s.add = value(other).at;
        stage = 2;
      } else {
        break;
      }
      Value folded = value(i);
      value(i).at = {};
      value(next) = std::move(folded);
      value(next).done = true;
      i = next;
    }
    const auto& users = consumers(i);
    const auto activation = std::find_if(users.begin(), users.end(), [&](int u) { return is_activation(node(u)); });
    if (activation == users.end() || users.size() > 1) value(i).at = s.out = new_place(value(i));
    if (activation != users.end()) {
      const Node& n = node(*activation);
      Value& v = value(*activation);
      v = value(i);
      s.activation = n.op == Op::silu ? Activation::silu : Activation::leaky_relu;
      s.slope = static_cast<float>(n.slope);
      v.at = s.activated = new_place(v);
      v.derivative = s.derivative = new_place(v);
      v.done = true;
    }
    value(i).done = true;
    plan_.forward.push_back(s);
  }

  void forward(int i) {
    const Node& n = node(i);
    if (value(i).done) return;
    Value v = shaped(i);
    switch (n.op) {
      case Op::input:
        load(i);
        return;
      case Op::conv2d:
      case Op::linear: {
        if (n.k > 4 || n.padding > 1 || n.stride > 2) unknown(n, "of this size");
        if (n.op == Op::conv2d && (v.height * v.width == 1 || input(n).height * input(n).width == 1))
          unknown(n, "of one pixel");
        value(i) = v;
        Step s = step(Step::Kind::convolution, v);
        s.in = stored(n);
        s.convolution = convolution_of_[i] = forward_convolution(n, input(n), v);
        if (n.bias) s.bias = new_vector(n.name + ".bias", "", v);
        finish(i, s);
        return;
      }
      case Op::leaky_relu:
      case Op::silu: {  // of a value that no step of ours ends with: an input, or one of several activations
        value(i) = v;
        value(i).lane_of_channel = input(n).lane_of_channel;
        value(i).lanes = input(n).lanes;
        Step s = step(Step::Kind::pointwise, value(i));
        s.in = stored(n);
        s.activation = n.op == Op::silu ? Activation::silu : Activation::leaky_relu;
        s.slope = static_cast<float>(n.slope);
        value(i).at = s.activated = new_place(value(i));
        value(i).derivative = s.derivative = new_place(value(i));
        value(i).done = true;
        plan_.forward.push_back(s);
        return;
      }
      case Op::group_norm: {
        v.lanes = input(n).lanes;
        v.lane_of_channel = input(n).lane_of_channel;
        if (v.lanes > 2048) unknown(n, "of more than 2048 channels");
        value(i) = v;
        Step s = step(Step::Kind::group_norm, v);
        s.in = stored(n);
        s.norm = static_cast<int>(plan_.norms.size());
        norm_of_[i] = s.norm;
        Norm norm{n.name,
                  static_cast<int>(n.groups),
                  static_cast<int>(n.in / n.groups) * v.height * v.width,
                  new_buffer(1, 1, 2 * v.lanes),
                  std::vector<int>(static_cast<std::size_t>(v.lanes), -1),
                  v.lane_of_channel};
        for (std::int64_t c = 0; c < n.in; ++c)
          norm.group[static_cast<std::size_t>(v.lane_of_channel[static_cast<std::size_t>(c)])] =
              static_cast<int>(c / (n.in / n.groups));
        plan_.norms.push_back(std::move(norm));
        finish(i, s);
        return;
      }
      case Op::add: {
        const Value &a = input(n, 0), &b = input(n, 1);
        if (a.lane_of_channel != b.lane_of_channel) unknown(n, "of values that are stored differently");
        v.lanes = a.lanes;
        v.lane_of_channel = a.lane_of_channel;
        value(i) = v;
        Step s = step(Step::Kind::pointwise, v);
        s.in = stored(n, 0);
        s.add = stored(n, 1);
        finish(i, s);
        return;
      }
      case Op::label_bias:
      case Op::label_gain: {
        v.lanes = input(n).lanes;
        v.lane_of_channel = input(n).lane_of_channel;
        value(i) = v;
        Step s = step(Step::Kind::pointwise, v);
        s.in = stored(n);
        (n.op == Op::label_bias ? s.bias : s.gain) = new_vector("", n.name + ".weight", v);
        finish(i, s);
        return;
      }
      case Op::avg_pool:
      case Op::sum_pool:
      case Op::mean_pool:
      case Op::upsample: {
        v.lanes = input(n).lanes;
        v.lane_of_channel = input(n).lane_of_channel;
        value(i) = v;
        Step s = step(n.op == Op::upsample ? Step::Kind::pointwise : Step::Kind::pool, v);
        s.in = stored(n);
        s.zoom_y = n.op == Op::sum_pool || n.op == Op::mean_pool ? input(n).height : static_cast<int>(n.k);
        s.zoom_x = n.op == Op::sum_pool || n.op == Op::mean_pool ? input(n).width : static_cast<int>(n.k);
        if (n.op == Op::avg_pool || n.op == Op::mean_pool) s.scale = 1.0F / static_cast<float>(s.zoom_y * s.zoom_x);
        finish(i, s);
        return;
      }
      case Op::concat: {
        const Value &a = input(n, 0), &b = input(n, 1);
        v.lanes = a.lanes + b.lanes;
        v.lane_of_channel = a.lane_of_channel;
        for (const int lane : b.lane_of_channel) v.lane_of_channel.push_back(a.lanes + lane);
        v.at = new_place(v);
        v.done = true;
        value(i) = v;
        for (int part = 0; part < 2; ++part) {
          Step s = step(Step::Kind::pointwise, input(n, part));
          s.in = stored(n, part);
          s.out = {v.at.buffer, part == 0 ? 0 : a.lanes};
          plan_.forward.push_back(s);
        }
        return;
      }
      case Op::inner:
      case Op::half_square: {
        v.at = {new_buffer(1, 1, lane_block, true), 0};
        v.done = true;
        value(i) = v;
        Step s = step(Step::Kind::inner, input(n));
        s.in = stored(n, 0);
        s.other = stored(n, n.op == Op::inner ? 1 : 0);
        if (n.op == Op::inner && input(n, 0).lane_of_channel != input(n, 1).lane_of_channel) unknown(n);
        if (n.op == Op::half_square) s.scale = 0.5F;
        s.out = v.at;
        plan_.forward.push_back(s);
        return;
      }
      case Op::flatten:
        if (input(n).height * input(n).width != 1) unknown(n, "within the network");
        [[fallthrough]];
      case Op::squeeze:
        value(i) = input(n);
        value(i).at = stored(n);
        value(i).done = true;
        return;
      default:
        unknown(n, "within the network");
    }
  }

  Ref stored(const Node& n, int i = 0) {
    const Ref at = input(n, i).at;
    if (!at) throw Unknown{fmt::format("{} of a value that was folded away", nn::name(n.op))};
    return at;
  }

  /// The input with the affine maps, pixel-unshuffle or flattening that follow it.
  void load(int i) {
    plan_.elements = 1;
    for (const auto d : graph_.input_shape) plan_.elements *= d;
    plan_.input_channels = static_cast<int>(graph_.input_shape[0]);
    bool shuffled = false;
    while (consumers(i).size() == 1) {
      const Node& n = node(consumers(i)[0]);
      if (n.op == Op::affine) {
        plan_.input_shift = plan_.input_shift * static_cast<float>(n.scale) + static_cast<float>(n.shift);
        plan_.input_scale *= static_cast<float>(n.scale);
      } else if (n.op == Op::unshuffle && !shuffled) {
        plan_.input_zoom = static_cast<int>(n.k);
        shuffled = true;
      } else if (n.op == Op::flatten && !shuffled) {
        plan_.input_channels = static_cast<int>(plan_.elements);
        shuffled = true;
      } else {
        break;
      }
      value(i).done = true;
      i = consumers(i)[0];
    }
    Value v = shaped(i);
    v.at = {new_buffer(v.height, v.width, v.lanes, true), 0};
    v.done = true;
    value(i) = v;
    loaded_ = i;
    Step s = step(Step::Kind::load, v);
    s.out = v.at;
    plan_.forward.push_back(s);
  }

  int forward_convolution(const Node& n, const Value& in, const Value& out) {
    Convolution c;
    c.name = n.name;
    c.kernel = std::max(1, static_cast<int>(n.k));
    c.step = static_cast<int>(n.stride);
    const int padding = static_cast<int>(n.padding);
    for (int y = 0; y < c.kernel; ++y) {
      for (int x = 0; x < c.kernel; ++x) c.taps.push_back({y, x, y - padding, x - padding});
    }
    c.lane_of_input = in.lane_of_channel;
    c.layer_inputs = static_cast<int>(n.in);
    c.layer_outputs = static_cast<int>(n.out);
    c.read = in.lane_of_channel.back() < lane_block ? in.lane_of_channel.back() + 1 : in.lanes;
    c.lanes = out.lanes;
    c.can_winograd = c.kernel == 3 && c.step == 1 && padding == 1 && c.read % lane_block == 0;
    if (n.out <= 4) c.few = static_cast<int>(n.out), c.read = in.lanes, c.can_winograd = false;
    plan_.operations += 4.0 * static_cast<double>(n.in * n.out) * c.kernel * c.kernel * out.height * out.width;
    plan_.convolutions.push_back(std::move(c));
    return static_cast<int>(plan_.convolutions.size()) - 1;
  }

  struct Contributions {
    std::vector<Ref> refs;
    std::vector<std::vector<Step>> steps;  ///< each alone makes one contribution: several for the residues of a stride
  };

  void give(int i, Ref gradient) { contributions_[static_cast<std::size_t>(i)].refs.push_back(gradient); }
  void give(int i, std::vector<Step> steps) {
    contributions_[static_cast<std::size_t>(i)].steps.push_back(std::move(steps));
  }

  /// dE/d(value i), all contributions together; with the derivative of the activation that made the value, if one did.
  Ref gradient(int i) {
    auto& [refs, steps] = contributions_[static_cast<std::size_t>(i)];
    const Value& v = value(i);
    const Ref derivative = is_activation(node(i)) ? v.derivative : Ref{};
    while (refs.size() > 1) {
      Step s = step(Step::Kind::pointwise, v);
      s.in = refs[refs.size() - 2];
      s.add = refs.back();
      s.out = new_place(v);
      refs.pop_back();
      refs.back() = s.out;
      plan_.backward.push_back(s);
    }
    Ref sum = refs.empty() ? Ref{} : refs[0];
    for (std::size_t k = 0; k < steps.size(); ++k) {
      const Ref out = new_place(v);
      for (Step& s : steps[k]) {
        s.add = sum;
        s.out = out;
        if (k + 1 == steps.size()) s.multiply = derivative;
        plan_.backward.push_back(s);
      }
      sum = out;
    }
    if (steps.empty() && derivative && sum) {
      Step s = step(Step::Kind::pointwise, v);
      s.in = sum;
      s.multiply = derivative;
      sum = s.out = new_place(v);
      plan_.backward.push_back(s);
    }
    if (sum && v.height * v.width > 1 && plan_.buffers[static_cast<std::size_t>(sum.buffer)].single()) {
      Step s = step(Step::Kind::pointwise, v);  // one value for every pixel: convolutions read a picture
      s.in = sum;
      sum = s.out = new_place(v);
      plan_.backward.push_back(s);
    }
    return sum;
  }

  void backward(int i) {
    const Node& n = node(i);
    if (i == loaded_) {
      if (for_parameters_) return;
      const Ref g = gradient(i);
      if (!g) return;
      Step s = step(Step::Kind::store, value(i));
      s.in = g;
      plan_.backward.push_back(s);
      stored_ = true;
      return;
    }
    if (i < loaded_) return;
    const Ref g = gradient(i);
    if (!g) return;  // nothing depends on it
    const Value& v = value(i);
    switch (n.op) {
      case Op::conv2d:
      case Op::linear:
        if (for_parameters_) {
          Step s = step(Step::Kind::weight_gradient, v);
          s.in = stored(n);
          s.other = g;
          s.convolution = convolution_of_.at(i);
          plan_.backward.push_back(s);
          if (n.bias) sum_lanes(n.name + ".bias", v, g);
        }
        give(n.inputs[0], convolution_gradient(n, g, v, input(n)));
        break;
      case Op::label_bias:
        if (for_parameters_) sum_lanes(n.name + ".weight", v, g, {}, n.classes);
        [[fallthrough]];
      case Op::leaky_relu:
      case Op::silu:
      case Op::squeeze:
      case Op::flatten:
        give(n.inputs[0], g);  // an activation's derivative is in g already
        break;
      case Op::label_gain: {
        if (for_parameters_) sum_lanes(n.name + ".weight", v, g, stored(n), n.classes);
        Step s = step(Step::Kind::pointwise, v);
        s.in = g;
        s.gain = new_vector("", n.name + ".weight", v);
        give(n.inputs[0], {s});
        break;
      }
      case Op::group_norm: {
        Step s = step(Step::Kind::group_norm_gradient, v);
        s.in = input(n).at;
        s.other = g;
        s.norm = norm_of_.at(i);
        if (for_parameters_) {
          s.sink = new_sink(n.name + ".weight", v);
          new_sink(n.name + ".bias", v);
        }
        give(n.inputs[0], {s});
        break;
      }
      case Op::add:
        give(n.inputs[0], g);
        give(n.inputs[1], g);
        break;
      case Op::avg_pool:
      case Op::upsample: {
        const Value& in = input(n);
        Step s = step(n.op == Op::avg_pool ? Step::Kind::pointwise : Step::Kind::pool, in);
        s.in = g;
        s.zoom_y = s.zoom_x = static_cast<int>(n.k);
        if (n.op == Op::avg_pool) s.scale = 1.0F / static_cast<float>(n.k * n.k);
        give(n.inputs[0], {s});
        break;
      }
      case Op::sum_pool:
        give(n.inputs[0], g);
        break;
      case Op::mean_pool: {
        Step s = step(Step::Kind::pointwise, v);
        s.in = g;
        s.scale = 1.0F / static_cast<float>(input(n).height * input(n).width);
        s.out = new_place(v);
        plan_.backward.push_back(s);
        give(n.inputs[0], s.out);
        break;
      }
      case Op::concat:
        give(n.inputs[0], Ref{g.buffer, g.lane});
        give(n.inputs[1], Ref{g.buffer, g.lane + input(n, 0).lanes});
        break;
      case Op::inner:
        if (g.buffer != plan_.ones) unknown(n, "within a product");
        give(n.inputs[0], input(n, 1).at);
        give(n.inputs[1], input(n, 0).at);
        break;
      case Op::half_square:
        if (g.buffer != plan_.ones) unknown(n, "within a product");
        give(n.inputs[0], input(n).at);
        break;
      default:
        unknown(n, "within the network");
    }
  }

  std::vector<Step> convolution_gradient(const Node& n, Ref g, const Value& out, const Value& in) {
    std::vector<Step> steps;
    const int stride = static_cast<int>(n.stride), padding = static_cast<int>(n.padding);
    const int kernel = std::max(1, static_cast<int>(n.k));
    for (int py = 0; py < stride; ++py) {
      for (int px = 0; px < stride; ++px) {
        Convolution c;
        c.name = n.name;
        c.gradient = true;
        c.kernel = kernel;
        c.out_step = stride;
        c.out_y = py;
        c.out_x = px;
        // Input pixel stride * i + p meets kernel element k at output pixel i + (p + padding - k) / stride.
        for (int ky = kernel - 1; ky >= 0; --ky) {
          for (int kx = kernel - 1; kx >= 0; --kx) {
            if ((py + padding - ky) % stride == 0 && (px + padding - kx) % stride == 0)
              c.taps.push_back({ky, kx, (py + padding - ky) / stride, (px + padding - kx) / stride});
          }
        }
        c.lane_of_input = in.lane_of_channel;
        c.layer_inputs = static_cast<int>(n.in);
        c.layer_outputs = static_cast<int>(n.out);
        c.read = n.out < lane_block ? static_cast<int>(n.out) : out.lanes;
        c.lanes = in.lanes;
        c.can_winograd = kernel == 3 && stride == 1 && padding == 1 && c.read % lane_block == 0;
        if (n.in <= 4) c.few = static_cast<int>(n.in), c.read = out.lanes, c.can_winograd = false;
        Step s = step(Step::Kind::convolution, in);
        s.height = (in.height - py + stride - 1) / stride;
        s.width = (in.width - px + stride - 1) / stride;
        s.in = g;
        s.convolution = static_cast<int>(plan_.convolutions.size());
        plan_.convolutions.push_back(std::move(c));
        steps.push_back(s);
      }
    }
    return steps;
  }

  /// Buffers of one size whose times of use do not meet share their memory.
  void share_memory() {
    for (const auto* steps : {&plan_.forward, &plan_.backward}) {
      for (const Step& s : *steps) {
        if (s.convolution < 0) continue;
        for (const auto& tap : plan_.convolutions[static_cast<std::size_t>(s.convolution)].taps) {
          Buffer& in = plan_.buffers[static_cast<std::size_t>(s.in.buffer)];
          if ((tap.dy != 0 || tap.dx != 0) && !in.single()) in.border = true;
        }
      }
    }
    const std::size_t count = plan_.buffers.size();
    std::vector<int> first(count, -1), last(count, -1);
    int time = 0;
    const auto use = [&](Ref r) {
      if (!r) return;
      const auto b = static_cast<std::size_t>(r.buffer);
      if (first[b] < 0) first[b] = time;
      last[b] = time;
    };
    for (const auto* steps : {&plan_.forward, &plan_.backward}) {
      for (const Step& s : *steps) {
        for (const Ref r : {s.in, s.other, s.add, s.multiply, s.out, s.activated, s.derivative}) use(r);
        if (s.norm >= 0) use({plan_.norms[static_cast<std::size_t>(s.norm)].statistics, 0});
        ++time;
      }
    }
    plan_.slot.assign(count, -1);
    std::vector<int> free_from;  // of each slot
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return first[a] < first[b]; });
    for (const std::size_t b : order) {
      const Buffer& buffer = plan_.buffers[b];
      int best = -1;
      for (std::size_t s = 0; !buffer.kept && s < plan_.slots.size(); ++s) {
        const Buffer& slot = plan_.slots[s];
        if (!slot.kept && slot.height == buffer.height && slot.width == buffer.width && slot.lanes == buffer.lanes &&
            slot.border == buffer.border && free_from[s] < first[b] &&
            (best < 0 || free_from[s] > free_from[static_cast<std::size_t>(best)])) {
          best = static_cast<int>(s);  // the one used last: the likeliest to be in the cache still
        }
      }
      if (best < 0) {
        best = static_cast<int>(plan_.slots.size());
        plan_.slots.push_back(buffer);
        free_from.push_back(-1);
      }
      plan_.slot[b] = best;
      free_from[static_cast<std::size_t>(best)] = last[b];
    }
  }

  const nn::Graph& graph_;
  std::vector<std::vector<std::int64_t>> shapes_;
  std::vector<Value> values_;
  std::vector<std::vector<int>> consumers_;
  std::vector<Contributions> contributions_;
  std::map<int, int> norm_of_, convolution_of_;  // of a node
  Plan plan_;
  int loaded_ = 0;
  bool stored_ = false;
  bool for_parameters_;
};

}  // namespace

std::optional<Plan> make_plan(const nn::Graph& graph, Wanted wanted, std::string& why) {
  try {
    return Planner(graph, wanted).make();
  } catch (const Unknown& unknown) {
    why = unknown.why;
    return std::nullopt;
  }
}

}  // namespace igebm::engine::cpu
