#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "igebm/engine/cpu/planner.h"

namespace igebm::engine::cpu {

void Planner::give(int i, Ref gradient) {
  if (wanted(i)) contributions_[static_cast<std::size_t>(i)].refs.push_back(gradient);
}

void Planner::give(int i, std::vector<Step> steps) {
  if (wanted(i)) contributions_[static_cast<std::size_t>(i)].steps.push_back(std::move(steps));
}

Ref Planner::gradient(int i) {
  auto& [refs, steps] = contributions_[static_cast<std::size_t>(i)];
  const Value& v = value(i);
  const bool told = tells_derivative(node(i));
  const Ref derivative = told ? v.at : is_activation(node(i)) ? v.derivative : Ref{};
  const auto multiply = [&](Step& s) {
    s.multiply = derivative;
    if (told) s.multiply_slope = static_cast<float>(node(i).slope);
  };
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
      if (k + 1 == steps.size()) multiply(s);
      plan_.backward.push_back(s);
    }
    sum = out;
  }
  if (steps.empty() && derivative && sum) {
    Step s = step(Step::Kind::pointwise, v);
    s.in = sum;
    multiply(s);
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

int Planner::new_sink(const std::string& name, const Value& v, std::int64_t labels) {
  plan_.sinks.push_back(
      {name, static_cast<int>(std::max<std::int64_t>(1, labels)), v.lanes, labels > 0, v.lane_of_channel});
  return static_cast<int>(plan_.sinks.size()) - 1;
}

void Planner::sum_lanes(const std::string& name, const Value& v, Ref g, Ref factor, std::int64_t labels) {
  Step s = step(Step::Kind::lane_sums, v);
  s.in = g;
  s.other = factor;
  s.sink = new_sink(name, v, labels);
  plan_.backward.push_back(s);
}

void Planner::label_slope(Vector vector, const Value& v, Ref g, Ref gained) {
  if (!joint_ || graph_.conditions == 0) return;
  vector.along = Vector::Along::labels;
  Step s = step(Step::Kind::label_slope, v);
  s.factor = static_cast<int>(plan_.vectors.size());
  s.lanes = vector.lanes;
  plan_.vectors.push_back(std::move(vector));
  if (gained) {
    Step product = s;
    product.kind = Step::Kind::pointwise;
    product.in = gained;
    product.out = s.other = new_place(v);
    s.factor = -1;
    plan_.backward.push_back(product);
  }
  s.in = g;
  plan_.backward.push_back(s);
}

void Planner::product_gradient(int i, const Value& v, Ref other) {
  if (!joint_) return give(i, other);
  Step s = step(Step::Kind::pointwise, v);
  s.in = other;
  s.scaled = true;
  give(i, {s});
}

void Planner::backward(int i) {
  if (!wanted(i) || i < loaded_) return;
  const Ref g = gradient(i);
  if (!g) return;  // nothing depends on it
  const Value& v = value(i);
  if (i == loaded_) {
    Step s = step(Step::Kind::store, v);
    s.in = g;
    plan_.backward.push_back(s);
    stored_ = true;
    return;
  }
  differentiate(i, g);
  if (for_parameters_) differentiated_.push_back(i);
}

void Planner::differentiate(int i, Ref g) {
  const Node& n = node(i);
  const Value& v = value(i);
  switch (n.op) {
    case Op::conv2d:
    case Op::linear:
      layer_gradient(i, g);
      return;
    case Op::label_planes:  // its first lanes are its input's
      label_slope({"", "", v.lanes, {v.lane_of_channel.end() - v.planes, v.lane_of_channel.end()}, 0}, v, g);
      give(n.inputs[0], g);
      return;
    case Op::label_bias:
      if (for_parameters_) sum_lanes(n.name + ".weight", v, g, {}, n.classes);
      label_slope({"", n.name + ".weight", v.lanes, v.lane_of_channel}, v, g);
      [[fallthrough]];
    case Op::leaky_relu:
    case Op::silu:
    case Op::squeeze:
    case Op::flatten:
      give(n.inputs[0], g);  // an activation's derivative is in g already
      return;
    case Op::label_gain: {
      if (for_parameters_) sum_lanes(n.name + ".weight", v, g, stored(n), n.classes);
      label_slope({"", n.name + ".weight", v.lanes, v.lane_of_channel}, v, g, for_parameters_ ? stored(n) : Ref{});
      Step s = step(Step::Kind::pointwise, v);
      s.in = g;
      s.gain = new_vector("", n.name + ".weight", v);
      give(n.inputs[0], {s});
      return;
    }
    case Op::group_norm:
      group_norm_gradient(i, g);
      return;
    case Op::attention:
      attention_gradient(i, g);
      return;
    case Op::add:
      give(n.inputs[0], g);
      give(n.inputs[1], g);
      return;
    case Op::avg_pool:
    case Op::upsample: {
      const Value& in = input(n);
      Step s = step(n.op == Op::avg_pool ? Step::Kind::pointwise : Step::Kind::pool, in);
      s.in = g;
      s.zoom_y = s.zoom_x = static_cast<int>(n.k);
      if (n.op == Op::avg_pool) s.scale = 1.0F / static_cast<float>(n.k * n.k);
      give(n.inputs[0], {s});
      return;
    }
    case Op::sum_pool:
      give(n.inputs[0], g);
      return;
    case Op::mean_pool: {
      Step s = step(Step::Kind::pointwise, v);
      s.in = g;
      s.scale = 1.0F / static_cast<float>(input(n).height * input(n).width);
      s.out = new_place(v);
      plan_.backward.push_back(s);
      give(n.inputs[0], s.out);
      return;
    }
    case Op::concat:
      give(n.inputs[0], Ref{g.buffer, g.lane});
      give(n.inputs[1], Ref{g.buffer, g.lane + input(n, 0).lanes});
      return;
    case Op::inner:
      if (g.buffer != plan_.ones) unknown(n, "within a product");
      product_gradient(n.inputs[0], input(n, 0), input(n, 1).at);
      product_gradient(n.inputs[1], input(n, 1), input(n, 0).at);
      return;
    case Op::half_square:
      if (g.buffer != plan_.ones) unknown(n, "within a product");
      product_gradient(n.inputs[0], input(n), input(n).at);
      return;
    case Op::input:
    case Op::affine:
    case Op::unshuffle:
    case Op::dropout:
      unknown(n, "within the network");
  }
  nn::unhandled(n.op, "engine on the CPU", "gradient of the ");
}

void Planner::layer_gradient(int i, Ref g) {
  const Node& n = node(i);
  if (for_parameters_) {
    Step s = step(Step::Kind::weight_gradient, value(i));
    s.in = stored(n);
    s.other = g;
    s.convolution = convolution_of_.at(i);
    plan_.backward.push_back(s);
    if (n.bias) sum_lanes(n.name + ".bias", value(i), g);
  }
  if (wanted(n.inputs[0])) give(n.inputs[0], convolution_gradient(i, g));
}

void Planner::group_norm_gradient(int i, Ref g) {
  const Node& n = node(i);
  Step s = step(Step::Kind::group_norm_gradient, value(i));
  s.in = input(n).at;
  s.other = g;
  s.norm = norm_of_.at(i);
  if (for_parameters_) {
    s.sink = new_sink(n.name + ".weight", value(i));
    new_sink(n.name + ".bias", value(i));
  }
  if (wanted(n.inputs[0])) {
    give(n.inputs[0], {s});
  } else {
    plan_.backward.push_back(s);  // for the parameters alone
  }
}

void Planner::require_parameters() const {
  std::set<std::string> made;
  for (const Step& s : plan_.backward) {
    const auto sink = [&](int index) { made.insert(plan_.sinks[static_cast<std::size_t>(index)].name); };
    if (s.kind == Step::Kind::weight_gradient)
      made.insert(plan_.convolutions[static_cast<std::size_t>(s.convolution)].name + ".weight");
    if (s.sink >= 0) sink(s.sink);
    if (s.sink >= 0 && s.kind == Step::Kind::group_norm_gradient) sink(s.sink + 1);
  }
  for (const int i : differentiated_) {
    for (const nn::Parameter& p : nn::operation(node(i).op).parameters(node(i))) {
      const std::string name = node(i).name + "." + p.name;
      if (!made.contains(name)) throw Unknown{fmt::format("{}'s gradient of {}", nn::name(node(i).op), name)};
    }
  }
}

std::vector<Step> Planner::convolution_gradient(int i, Ref g) {
  const Node& n = node(i);
  const Value &out = value(i), &in = input(n);
  Convolution all = plan_.convolutions[static_cast<std::size_t>(convolution_of_.at(i))];
  all.gradient = true;
  all.taps.clear();
  all.step = 1;
  if (!joint_) all.lane_of_input.resize(in.lane_of_channel.size() - static_cast<std::size_t>(in.planes));
  all.read = n.out < lane_block ? static_cast<int>(n.out) : out.lanes;
  all.lanes = in.lanes;
  const auto inputs = static_cast<int>(all.lane_of_input.size());
  const bool few = inputs <= 4 && all.lane_of_input.back() == inputs - 1;  // the first lanes and no others
  const bool by_tiles = few && storage_ == Storage::bf16 && out.lanes % tile_depth == 0 && out.height * out.width > 1;
  all.few = few && !by_tiles ? inputs : 0;
  all.low = 0;
  if (few) all.read = out.lanes;
  if (by_tiles) all.lanes = lane_block;

  const int stride = static_cast<int>(n.stride), padding = static_cast<int>(n.padding);
  const bool one = out.height * out.width == 1;
  const int down = one ? in.height : stride, across = one ? in.width : stride;
  all.can_winograd =
      !few && !one && n.op == Op::conv2d && n.k == 3 && stride == 1 && padding == 1 && all.read % lane_block == 0;
  std::vector<Step> steps;
  for (int py = 0; py < std::min(down, in.height); ++py) {
    for (int px = 0; px < std::min(across, in.width); ++px) {
      Convolution c = all;
      c.out_step = one ? 1 : stride;
      c.out_y = py;
      c.out_x = px;
      // Input pixel stride * i + p meets kernel element k at output pixel i + (p + padding - k) / stride.
      for (int ky = c.kernel_height - 1; ky >= 0; --ky) {
        for (int kx = c.kernel_width - 1; kx >= 0; --kx) {
          const int y = py + padding - ky, x = px + padding - kx;
          if (one ? y == 0 && x == 0 : y % stride == 0 && x % stride == 0)
            c.taps.push_back({ky, kx, y / stride, x / stride});
        }
      }
      Step s = step(Step::Kind::convolution, in);
      s.height = (in.height - py + down - 1) / down;
      s.width = (in.width - px + across - 1) / across;
      s.in = g;
      s.lanes = all.lanes;
      s.convolution = static_cast<int>(plan_.convolutions.size());
      plan_.convolutions.push_back(std::move(c));
      steps.push_back(s);
    }
  }
  return steps;
}

void Planner::attention_gradient(int i, Ref g) {
  const Node& n = node(i);
  AttentionRefs a = plan_.attentions[static_cast<std::size_t>(attention_of_.at(i))];
  a.gradient = g;
  a.to_queries = new_place(input(n, 0));
  a.to_keys = new_place(input(n, 1));
  a.to_values = new_place(input(n, 2));
  Step s = step(Step::Kind::attention_gradient, value(i));
  s.attention = static_cast<int>(plan_.attentions.size());
  plan_.attentions.push_back(a);
  plan_.backward.push_back(s);
  give(n.inputs[0], a.to_queries);
  give(n.inputs[1], a.to_keys);
  give(n.inputs[2], a.to_values);
}

}  // namespace igebm::engine::cpu
