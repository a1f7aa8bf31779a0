#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "igebm/engine/cpu/planner.h"

namespace igebm::engine::cpu {

void Planner::finish(int i, Step s) {
  int stage = s.add ? 2 : s.gain >= 0 ? 1 : 0;  // what the epilogue has already: 1 gain, 2 addition
  while (consumers(i).size() == 1) {
    const int next = consumers(i)[0];
    const Node& n = node(next);
    if (n.op == Op::label_bias && stage == 0 &&
        (s.bias < 0 || plan_.vectors[static_cast<std::size_t>(s.bias)].by_label.empty())) {
      const std::string fixed = s.bias < 0 ? "" : plan_.vectors[static_cast<std::size_t>(s.bias)].fixed;
      require_channels(n, value(i));
      s.bias = new_vector(fixed, n.name + ".weight", value(i));
    } else if (n.op == Op::label_gain && stage == 0 && !for_parameters_) {  // its gradient needs what it multiplies
      require_channels(n, value(i));
      s.gain = new_vector("", n.name + ".weight", value(i));
      stage = 1;
    } else if (n.op == Op::add && stage < 2) {
      const int other = n.inputs[0] == i ? n.inputs[1] : n.inputs[0];
      if (other == i || !value(other).at || !stored_alike(value(other), value(i))) break;
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
    if (!tells_derivative(n)) v.derivative = s.derivative = new_place(v);
    if (for_tangent_ && n.op == Op::silu) bends_[s.derivative.buffer] = {s.activated, s.bend = new_place(v)};
    v.done = true;
  }
  value(i).done = true;
  plan_.forward.push_back(s);
}

void Planner::forward(int i) {
  const Node& n = node(i);
  if (value(i).done) return;
  switch (n.op) {
    case Op::input:
      if (loaded_ >= 0) unknown(n, "twice");
      load(i);
      return;
    case Op::conv2d:
    case Op::linear:
      forward_layer(i);
      return;
    case Op::leaky_relu:
    case Op::silu:
      forward_activation(i);
      return;
    case Op::group_norm:
      forward_group_norm(i);
      return;
    case Op::add:
      forward_add(i);
      return;
    case Op::label_bias:
    case Op::label_gain: {
      require_channels(n, input(n));
      const Value v = value(i) = shaped_like_input(i);
      Step s = step(Step::Kind::pointwise, v);
      s.in = stored(n);
      (n.op == Op::label_bias ? s.bias : s.gain) = new_vector("", n.name + ".weight", v);
      finish(i, s);
      return;
    }
    case Op::label_planes:
      forward_label_planes(i);
      return;
    case Op::attention:
      forward_attention(i);
      return;
    case Op::avg_pool:
    case Op::sum_pool:
    case Op::mean_pool:
    case Op::upsample: {
      const Value v = value(i) = shaped_like_input(i);
      Step s = step(n.op == Op::upsample ? Step::Kind::pointwise : Step::Kind::pool, v);
      s.in = stored(n);
      s.zoom_y = n.op == Op::sum_pool || n.op == Op::mean_pool ? input(n).height : static_cast<int>(n.k);
      s.zoom_x = n.op == Op::sum_pool || n.op == Op::mean_pool ? input(n).width : static_cast<int>(n.k);
      if (n.op == Op::avg_pool || n.op == Op::mean_pool) s.scale = 1.0F / static_cast<float>(s.zoom_y * s.zoom_x);
      finish(i, s);
      return;
    }
    case Op::concat:
      forward_concat(i);
      return;
    case Op::inner:
    case Op::half_square:
      forward_product(i);
      return;
    case Op::flatten:  // the picture itself: what takes it in knows the order of the elements
    case Op::squeeze: {
      const Ref at = stored(n);
      value(i) = input(n);
      value(i).at = at;
      value(i).done = true;
      return;
    }
    case Op::affine:
    case Op::unshuffle:
    case Op::dropout:
      unknown(n, "within the network");
  }
  nn::unhandled(n.op, "engine on the CPU");
}

void Planner::forward_layer(int i) {
  const Node& n = node(i);
  const Value v = value(i) = shaped(i);
  if (v.height * v.width > 1 && input(n).height * input(n).width == 1) unknown(n, "of one pixel to several");
  Step s = step(Step::Kind::convolution, v);
  s.in = stored(n);
  s.convolution = convolution_of_[i] = forward_convolution(n, input(n), v);
  if (n.bias) s.bias = new_vector(n.name + ".bias", "", v);
  finish(i, s);
}

void Planner::forward_activation(int i) {
  const Node& n = node(i);
  Value v = input(n);
  Step s = step(Step::Kind::pointwise, v);
  s.in = stored(n);
  s.activation = n.op == Op::silu ? Activation::silu : Activation::leaky_relu;
  s.slope = static_cast<float>(n.slope);
  v.at = s.activated = new_place(v);
  if (!tells_derivative(n)) v.derivative = s.derivative = new_place(v);
  if (for_tangent_ && n.op == Op::silu) bends_[s.derivative.buffer] = {s.activated, s.bend = new_place(v)};
  v.planes = 0;
  v.done = true;
  value(i) = v;
  plan_.forward.push_back(s);
}

void Planner::forward_group_norm(int i) {
  const Node& n = node(i);
  const Value v = value(i) = shaped_like_input(i);
  if (v.lanes > 2048) unknown(n, "of more than 2048 channels");
  Step s = step(Step::Kind::group_norm, v);
  s.in = stored(n);
  s.norm = norm_of_[i] = static_cast<int>(plan_.norms.size());
  Norm norm{n.name,
            static_cast<int>(n.groups),
            static_cast<int>(n.in / n.groups) * v.height * v.width,
            new_buffer(1, 1, 2 * v.lanes),
            for_tangent_ ? new_buffer(1, 1, 2 * v.lanes) : -1,
            std::vector<int>(static_cast<std::size_t>(v.lanes), -1),
            v.lane_of_channel};
  for (std::int64_t c = 0; c < n.in; ++c)
    norm.group[static_cast<std::size_t>(v.lane_of_channel[static_cast<std::size_t>(c)])] =
        static_cast<int>(c / (n.in / n.groups));
  plan_.norms.push_back(std::move(norm));
  finish(i, s);
}

void Planner::forward_add(int i) {
  const Node& n = node(i);
  if (!stored_alike(input(n, 0), input(n, 1))) unknown(n, "of values that are stored differently");
  Value v = input(n);
  v.at = v.derivative = {};
  v.planes = 0;
  v.done = false;
  value(i) = v;
  Step s = step(Step::Kind::pointwise, v);
  s.in = stored(n, 0);
  s.add = stored(n, 1);
  finish(i, s);
}

void Planner::forward_concat(int i) {
  const Node& n = node(i);
  Value v = shaped(i);
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
}

void Planner::forward_product(int i) {
  const Node& n = node(i);
  Value v = shaped(i);
  v.at = {new_buffer(1, 1, lane_block, true), 0};
  v.done = true;
  value(i) = v;
  if (n.op == Op::inner && !stored_alike(input(n, 0), input(n, 1))) unknown(n, "of values that are stored differently");
  Step s = step(Step::Kind::inner, input(n));
  s.in = stored(n, 0);
  s.other = stored(n, n.op == Op::inner ? 1 : 0);
  if (n.op == Op::half_square) s.scale = 0.5F;
  s.out = v.at;
  plan_.forward.push_back(s);
}

void Planner::load(int i) {
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
  const auto channels = static_cast<int>(v.lane_of_channel.size());
  if (storage_ == Storage::bf16 && 2 * channels <= tile_depth && read_by_tiles(i)) {
    v.lanes = tile_depth;
    low_ = channels;
  }
  v.at = {new_buffer(v.height, v.width, v.lanes, true), 0};
  v.done = true;
  value(i) = v;
  loaded_ = i;
  Step s = step(Step::Kind::load, v);
  s.out = v.at;
  plan_.forward.push_back(s);
}

bool Planner::read_by_tiles(int i) const {
  const auto& users = consumers(i);
  return std::all_of(users.begin(), users.end(), [&](int user) {
    const Node& n = node(user);
    return n.op == Op::conv2d && n.out > 4 && shapes_[static_cast<std::size_t>(user)][1] > 1;
  });
}

int Planner::forward_convolution(const Node& n, const Value& in, const Value& out) {
  Convolution c;
  c.name = n.name;
  const bool layer = n.op == Op::linear;
  c.kernel_height = layer ? in.height : static_cast<int>(n.k);
  c.kernel_width = layer ? in.width : static_cast<int>(n.k);
  c.step = static_cast<int>(n.stride);
  const int padding = static_cast<int>(n.padding);
  const bool one = out.height * out.width == 1;
  for (int y = 0; y < c.kernel_height; ++y) {
    for (int x = 0; x < c.kernel_width; ++x) {
      const int dy = y - padding, dx = x - padding;
      // To one pixel: without what reads zeros alone.
      if (!one || (dy >= 0 && dy < in.height && dx >= 0 && dx < in.width)) c.taps.push_back({y, x, dy, dx});
    }
  }
  c.lane_of_input = in.lane_of_channel;
  c.layer_inputs = static_cast<int>(in.lane_of_channel.size());
  c.layer_outputs = static_cast<int>(n.out);
  c.read = in.lane_of_channel.back() < lane_block ? in.lane_of_channel.back() + 1 : in.lanes;
  if (low_ > 0 && n.inputs[0] == loaded_) c.low = low_, c.read = in.lanes;
  c.lanes = out.lanes;
  c.can_winograd = !layer && !one && c.kernel_height == 3 && c.step == 1 && padding == 1 && c.read % lane_block == 0;
  if (n.out <= 4) c.few = static_cast<int>(n.out), c.read = in.lanes, c.can_winograd = false;
  plan_.convolutions.push_back(std::move(c));
  return static_cast<int>(plan_.convolutions.size()) - 1;
}

void Planner::forward_label_planes(int i) {
  const Node& n = node(i);
  const Value& in = input(n);
  Value v = shaped(i);
  const int first = in.lane_of_channel.back() + 1, count = static_cast<int>(n.classes);
  v.lanes = std::max(in.lanes, padded(first + count));
  v.lane_of_channel = in.lane_of_channel;
  for (int label = 0; label < count; ++label) v.lane_of_channel.push_back(first + label);
  v.at = new_place(v);
  v.planes = count;
  v.done = true;
  value(i) = v;
  // The labels are added to the lanes of x that are zero, then to zeros in the lanes that x lacks.
  const int shared = std::clamp(in.lanes - first, 0, count);
  const auto add = [&](Step s, int lane, int from, int to) {
    s.out = {v.at.buffer, lane};
    if (from < to) {
      s.bias = static_cast<int>(plan_.vectors.size());
      Vector labels{"", "", s.lanes, std::vector<int>(static_cast<std::size_t>(to - from)), from};
      std::iota(labels.lane_of_channel.begin(), labels.lane_of_channel.end(), first + from - lane);
      plan_.vectors.push_back(std::move(labels));
    }
    plan_.forward.push_back(s);
  };
  Step s = step(Step::Kind::pointwise, in);
  s.in = stored(n);
  add(s, 0, 0, shared);
  if (v.lanes == in.lanes) return;
  s.lanes = v.lanes - in.lanes;
  s.in = {new_buffer(1, 1, s.lanes, true), 0};
  add(s, in.lanes, shared, count);
}

void Planner::forward_attention(int i) {
  const Node& n = node(i);
  const Value &queries = input(n, 0), &keys = input(n, 1), &values = input(n, 2);
  if (queries.lane_of_channel != keys.lane_of_channel) unknown(n, "to keys that are stored differently");
  Value v = shaped(i);
  v.lanes = values.lanes;
  v.lane_of_channel = values.lane_of_channel;
  value(i) = v;
  AttentionRefs a;
  a.queries = stored(n, 0);
  a.keys = stored(n, 1);
  a.values = stored(n, 2);
  a.height = keys.height;
  a.width = keys.width;
  a.tokens = v.height * v.width;
  a.depth = queries.lanes;
  a.lanes = values.lanes;
  const std::size_t depth = queries.lane_of_channel.size();
  a.multiplications = static_cast<double>(depth + v.lane_of_channel.size()) * a.tokens * keys.height * keys.width;
  a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(depth)));
  Step s = step(Step::Kind::attention, v);
  s.attention = attention_of_[i] = static_cast<int>(plan_.attentions.size());
  plan_.attentions.push_back(a);
  finish(i, s);
}

}  // namespace igebm::engine::cpu
