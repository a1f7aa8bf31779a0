#include <ATen/ATen.h>

#include <cmath>

#include "igebm/engine/heads.h"

/// How the values and gradients of heads.cpp move with the input: along the value's tangent and the gradient's.
/// Operations that are linear do to a tangent what they do to a value.
namespace igebm::engine {

using nn::Node;
using nn::Op;

namespace {

/// Is a head's value linear in its inputs, but for what it adds?
bool is_linear(Op op) {
  switch (op) {
    case Op::inner:
    case Op::half_square:
    case Op::attention:
      return false;
    case Op::affine:
    case Op::label_planes:
    case Op::conv2d:
    case Op::linear:
    case Op::avg_pool:
    case Op::upsample:
    case Op::unshuffle:
    case Op::add:
    case Op::concat:
    case Op::sum_pool:
    case Op::mean_pool:
    case Op::flatten:
    case Op::squeeze:
      return true;
    case Op::label_bias:
    case Op::label_gain:
    case Op::leaky_relu:
    case Op::silu:
    case Op::group_norm:
    case Op::dropout:
    case Op::input:
      break;
  }
  nn::unhandled(op, backend, "tangent of the ");
}

}  // namespace

at::Tensor Heads::tangent(const Node& n, const at::Tensor& dot, const at::Tensor& labels, const at::Tensor& labels_dot,
                          const std::vector<at::Tensor>& values, const std::vector<at::Tensor>& dots, const Kept& kept,
                          Kept& kept_dot) const {
  const auto value_of = [&](std::size_t i) { return values[static_cast<std::size_t>(n.inputs[i])]; };
  const auto dot_of = [&](std::size_t i) { return dots[static_cast<std::size_t>(n.inputs[i])]; };
  const auto product = [&](const at::Tensor& a, const at::Tensor& b) {
    return (a.to(exact_) * b.to(exact_)).flatten(1).sum(1);
  };
  if (n.op == Op::affine) return dot * n.scale;
  if (n.op == Op::label_planes)
    return at::cat({dot, labels_dot.defined() ? planes(labels_dot, dot) : at::zeros_like(planes(labels, dot))}, 1);
  if (is_linear(n.op)) return value(n, dot, labels, dots, kept_dot);
  if (n.op == Op::inner) return product(dot, value_of(1)) + product(value_of(0), dot_of(1));
  if (n.op == Op::half_square) return product(dot, value_of(0));
  if (n.op != Op::attention) nn::unhandled(n.op, backend, "tangent of the ");
  const at::Tensor q = tokens(value_of(0)), k = tokens(value_of(1)), v = tokens(value_of(2)), q_dot = tokens(dot),
                   k_dot = tokens(dot_of(1)), v_dot = tokens(dot_of(2));
  const at::Tensor scores =
      (product_of(q_dot, k.transpose(1, 2)) + product_of(q, k_dot.transpose(1, 2))) * score_scale(value_of(0));
  kept_dot.share = kept.share * (scores - (kept.share * scores).sum(-1, true));
  return picture(product_of(kept_dot.share, v) + product_of(kept.share, v_dot), value_of(0)).to(dot.scalar_type());
}

void Heads::gradient_tangent(const Node& n, const at::Tensor& g, const at::Tensor& g_dot,
                             const std::vector<at::Tensor>& values, const std::vector<at::Tensor>& dots,
                             const Kept& kept, const Kept& kept_dot, Sums& sums) const {
  const auto value_of = [&](std::size_t i) { return values[static_cast<std::size_t>(n.inputs[i])]; };
  const auto dot_of = [&](std::size_t i) { return dots[static_cast<std::size_t>(n.inputs[i])]; };
  const auto give = [&](std::size_t i, const at::Tensor& t) { sums.add(n.inputs[i], t); };
  const auto over = [&](const at::Tensor& rows, const at::Tensor& like) {
    at::Tensor out = rows.to(exact_);
    while (out.dim() < like.dim()) out = out.unsqueeze(-1);
    return out;
  };
  // g_dot a + g a_dot
  const auto both = [&](const at::Tensor& a, const at::Tensor& a_dot) {
    const at::Tensor moved = over(g, a) * a_dot.to(exact_);
    return g_dot.defined() ? moved + over(g_dot, a) * a.to(exact_) : moved;
  };
  if (is_linear(n.op)) {
    if (g_dot.defined()) gradient(n, value_of(0), g_dot, values, kept, sums);
    return;
  }
  if (n.op == Op::inner) {
    give(0, both(value_of(1), dot_of(1)));
    give(1, both(value_of(0), dot_of(0)));
    return;
  }
  if (n.op == Op::half_square) return give(0, both(value_of(0), dot_of(0)));
  if (n.op != Op::attention) nn::unhandled(n.op, backend, "tangent of the gradient of the ");
  const at::Tensor q = tokens(value_of(0)), k = tokens(value_of(1)), v = tokens(value_of(2)), q_dot = tokens(dot_of(0)),
                   k_dot = tokens(dot_of(1)), v_dot = tokens(dot_of(2));
  const at::Tensor up = tokens(g), up_dot = g_dot.defined() ? tokens(g_dot) : at::zeros_like(up);
  const at::Tensor &p = kept.share, &p_dot = kept_dot.share;
  const at::Tensor of_share = product_of(up, v.transpose(1, 2)),
                   of_share_dot = product_of(up_dot, v.transpose(1, 2)) + product_of(up, v_dot.transpose(1, 2));
  const at::Tensor centred = of_share - (p * of_share).sum(-1, true),
                   centred_dot = of_share_dot - (p_dot * of_share + p * of_share_dot).sum(-1, true);
  const double scale = score_scale(value_of(0));
  const at::Tensor s = p * centred * scale, s_dot = (p_dot * centred + p * centred_dot) * scale;
  const auto to = [&](const at::Tensor& rows, std::size_t i) {
    return picture(rows, value_of(i)).to(value_of(i).scalar_type());
  };
  give(0, to(product_of(s_dot, k) + product_of(s, k_dot), 0));
  give(1, to(product_of(s_dot.transpose(1, 2), q) + product_of(s.transpose(1, 2), q_dot), 1));
  give(2, to(product_of(p_dot.transpose(1, 2), up) + product_of(p.transpose(1, 2), up_dot), 2));
}

at::Tensor Heads::weight_gradient(const Node& n, const at::Tensor& in, const at::Tensor& g) const {
  const at::Tensor& weight = layer(n);
  if (n.op == Op::linear) return at::matmul(g.to(weight.scalar_type()).t(), in.to(weight.scalar_type())).to(exact_);
  return std::get<1>(of_convolution(n, g, in, {false, true, false})).to(exact_);
}

at::Tensor Heads::product_of(const at::Tensor& a, const at::Tensor& b) const {
  return at::matmul(a.to(compute_), b.to(compute_)).to(exact_);
}

}  // namespace igebm::engine
