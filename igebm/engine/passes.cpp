#include "igebm/engine/passes.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "igebm/engine/graphs.h"
#include "igebm/engine/operations.h"

namespace igebm::engine {

using fused::Activation;
using nn::Node;
using nn::Op;

namespace {

/// cuDNN chooses its algorithms by measuring them, here alone: the setting is the whole program's.
class MeasureConvolutions {
 public:
  MeasureConvolutions() { at::globalContext().setBenchmarkCuDNN(true); }
  ~MeasureConvolutions() { at::globalContext().setBenchmarkCuDNN(before_); }
  MeasureConvolutions(const MeasureConvolutions&) = delete;
  MeasureConvolutions& operator=(const MeasureConvolutions&) = delete;

 private:
  bool before_ = at::globalContext().benchmarkCuDNN();
};

}  // namespace

Passes::Passes(const nn::Graph& graph, const nn::Tensors& exact, const nn::Tensors& packed, at::ScalarType compute,
               at::ScalarType exact_type)
    : graph_(without_dropout(graph)),
      steps_(Steps(graph_).steps),
      exact_weights_(exact),
      exact_(exact_type),
      heads_(graph_, exact, packed, compute, exact_type),
      drops_(has_dropout(graph)) {}

void Passes::evaluate(const at::Tensor& x, const at::Tensor& labels, Pass& pass, at::Tensor& energies,
                      at::Tensor* gradient, bool keep) const {
  const at::NoGradGuard no_grad;
  const MeasureConvolutions measure;
  graph_.check_labels(labels, x.size(0));
  put_input(x.detach(), pass.values);
  for (std::size_t i = 0; i < steps_.size(); ++i) forward(steps_[i], labels, pass.values, pass.kept[i]);
  energies = pass.values.back().to(exact_);
  if (gradient == nullptr) return;
  pass.sums.add(static_cast<int>(pass.values.size()) - 1, at::ones_like(energies));
  for (std::size_t i = steps_.size(); i-- > 0;) backward(steps_[i], labels, pass.values, pass.kept[i], pass.sums, keep);
  *gradient = of_input(pass, x);
}

at::Tensor Passes::of_input(const Pass& pass, const at::Tensor& x) const {
  at::Tensor gradient = at::zeros_like(x, at::MemoryFormat::Contiguous);
  for (std::size_t i = 0; i < pass.values.size(); ++i) {
    if (graph_.nodes[i].op != Op::input) continue;
    const at::Tensor total = pass.sums.total(static_cast<int>(i));
    if (total.defined()) gradient.copy_(total);
  }
  return gradient;
}

at::Tensor Passes::label_slope(const Pass& pass, const at::Tensor& labels_dot) const {
  at::Tensor slope = at::zeros({labels_dot.size(0)}, labels_dot.options().dtype(exact_));
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Step& s = steps_[i];
    const bool planes = s.head >= 0 && head(s).op == Op::label_planes;
    if (!pass.kept[i].gradient.defined() || (s.label_bias.empty() && !planes)) continue;
    const at::Tensor rows = label_rows(pass.kept[i].gradient);
    if (!s.label_bias.empty()) slope = slope + (rows * by_label(s.label_bias, labels_dot)).sum(1);
    if (planes)
      slope = slope + (rows.narrow(1, rows.size(1) - labels_dot.size(1), labels_dot.size(1)) * labels_dot).sum(1);
  }
  return slope;
}

void Passes::pull(const Pass& pass, const at::Tensor& labels, const Direction& along, nn::Tensors& into) const {
  tangents(pass, labels, along, &into);
}

at::Tensor Passes::hessian_product(const Pass& pass, const at::Tensor& labels, const at::Tensor& v) const {
  return of_input(tangents(pass, labels, {.v = v}, nullptr), v);
}

Passes::Pass Passes::tangents(const Pass& pass, const at::Tensor& labels, const Direction& along,
                              nn::Tensors* into) const {
  const at::NoGradGuard no_grad;
  const MeasureConvolutions measure;
  Pass dot = begin();
  put_input(along.v.detach(), dot.values);
  for (std::size_t i = 0; i < steps_.size(); ++i)
    forward_tangent(steps_[i], labels, along.labels_dot, pass, pass.kept[i], dot, dot.kept[i]);
  if (along.scale.defined()) dot.sums.add(static_cast<int>(dot.values.size()) - 1, along.scale);
  for (std::size_t i = steps_.size(); i-- > 0;)
    backward_tangent(steps_[i], labels, along.labels_dot, pass, pass.kept[i], dot, dot.kept[i], into);
  return dot;
}

at::Tensor Passes::label_rows(const at::Tensor& g) const {
  return g.dim() == 4 ? at::sum(g, {2, 3}, /*keepdim=*/false, exact_) : g.to(exact_);
}

at::Tensor Passes::by_label(const std::string& name, const at::Tensor& labels) const {
  if (name.empty()) return {};
  return graph_.conditions > 0 ? at::matmul(labels, exact(name)) : exact(name).index_select(0, labels);
}

void Passes::put_input(const at::Tensor& x, std::vector<at::Tensor>& values) const {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (graph_.nodes[i].op == Op::input) values[i] = x;
  }
}

bool Passes::silu_in_norm(const Step& s) {
  return s.activation == Activation::silu && s.label_bias.empty() && s.label_gain.empty() && s.add < 0;
}

fused::GroupNorm Passes::norm(const Step& s) const {
  const Node& n = head(s);
  return {n.groups, exact(n.name + ".weight"), exact(n.name + ".bias"), silu_in_norm(s)};
}

void Passes::forward(const Step& s, const at::Tensor& labels, std::vector<at::Tensor>& values, Kept& kept) const {
  const at::Tensor& in = values[static_cast<std::size_t>(s.input)];
  at::Tensor& out = values[static_cast<std::size_t>(s.value)];
  if (is_norm(s)) {
    at::Tensor y;
    norm_forward(norm(s), in, y, kept.mean, kept.reciprocal);
    out = y;
    if (silu_in_norm(s)) return;
  } else {
    out = s.head < 0 ? in : heads_.value(head(s), in, labels, values, kept);
  }
  if (!s.elementwise()) return;
  fused::Epilogue e{.label_bias = by_label(s.label_bias, labels),
                    .label_gain = by_label(s.label_gain, labels),
                    .activation = s.activation,
                    .slope = s.slope};
  if (!s.bias.empty()) e.bias = exact(s.bias);
  if (s.add >= 0) e.add = values[static_cast<std::size_t>(s.add)];
  at::Tensor z, y;
  finish(e, out, z, y);
  out = y;
  if (s.activation != Activation::none) kept.before = s.keeps_after() ? y : z;
}

void Passes::backward(const Step& s, const at::Tensor& labels, const std::vector<at::Tensor>& values, Kept& kept,
                      Sums& sums, bool keep) const {
  const auto& [first, other] = sums.terms(s.value);
  if (!first.defined()) return;  // the energy does not depend on it
  const at::Tensor& in = values[static_cast<std::size_t>(s.input)];
  if (is_norm(s) && silu_in_norm(s)) {
    sums.add(s.input, norm_backward(norm(s), in, kept.mean, kept.reciprocal, first, other));
    return;
  }
  at::Tensor g = s.activation == Activation::none
                     ? sums.total(s.value)
                     : activation_backward(s.activation, s.slope, kept.before, first, other);
  if (keep) kept.gradient = g;
  if (s.add >= 0) sums.add(s.add, g);
  if (!s.label_gain.empty()) g = (g * (1 + like_channels(by_label(s.label_gain, labels), g.dim()))).to(g.scalar_type());
  if (is_norm(s)) {
    sums.add(s.input, norm_backward(norm(s), in, kept.mean, kept.reciprocal, g, {}));
  } else if (s.head < 0) {
    sums.add(s.input, g);
  } else {
    heads_.gradient(head(s), in, g, values, kept, sums);
  }
}

bool Passes::have_tangents() const {
  return !drops_ &&
         std::none_of(graph_.nodes.begin(), graph_.nodes.end(), [](const Node& n) { return n.op == Op::label_gain; });
}

void Passes::forward_tangent(const Step& s, const at::Tensor& labels, const at::Tensor& labels_dot, const Pass& pass,
                             const Kept& kept, Pass& dot, Kept& kept_dot) const {
  const at::Tensor& in = dot.values[static_cast<std::size_t>(s.input)];
  at::Tensor& out = dot.values[static_cast<std::size_t>(s.value)];
  if (is_norm(s)) {
    fused::GroupNormTangent t = norm_tangent_of(s, pass, kept, dot, kept_dot);
    out = norm_tangent(norm(s), t);
    kept_dot.mean = t.mean_dot;
    kept_dot.reciprocal = t.product;
    if (silu_in_norm(s)) return;
  } else {
    out = s.head < 0 ? in : heads_.tangent(head(s), in, labels, labels_dot, pass.values, dot.values, kept, kept_dot);
  }
  if (!s.label_bias.empty() && labels_dot.defined())
    out = (out + like_channels(by_label(s.label_bias, labels_dot), out.dim())).to(out.scalar_type());
  if (s.add >= 0) out = out + dot.values[static_cast<std::size_t>(s.add)];
  if (s.activation == Activation::none) return;
  kept_dot.before = out;
  out = activation_backward(s.activation, s.slope, kept.before, out, {});
}

void Passes::backward_tangent(const Step& s, const at::Tensor& labels, const at::Tensor& labels_dot, const Pass& pass,
                              const Kept& kept, Pass& dot, const Kept& kept_dot, nn::Tensors* into) const {
  const auto& [first, second] = pass.sums.terms(s.value);
  if (!first.defined()) return;
  if (is_norm(s) && silu_in_norm(s)) {
    const auto& [first_dot, second_dot] = dot.sums.terms(s.value);
    pull_norm(s, pass, kept, dot, kept_dot, {first, second, first_dot, second_dot}, into);
    return;
  }
  at::Tensor g_dot = dot.sums.total(s.value);
  if (s.activation != Activation::none)
    g_dot = activation_backward_tangent(s.activation, s.slope, kept.before, kept_dot.before, pass.sums.total(s.value),
                                        g_dot);
  if (s.add >= 0 && g_dot.defined()) dot.sums.add(s.add, g_dot);
  if (into != nullptr && g_dot.defined() && !(s.bias.empty() && s.label_bias.empty())) {
    const at::Tensor rows = label_rows(g_dot);
    if (!s.bias.empty()) nn::add_to(*into, s.bias, rows.sum(0));
    if (!s.label_bias.empty()) nn::add_to(*into, s.label_bias, of_label_rows(s.label_bias, labels, rows));
  }
  if (into != nullptr && !s.label_bias.empty() && labels_dot.defined())
    nn::add_to(*into, s.label_bias, of_label_rows(s.label_bias, labels_dot, label_rows(kept.gradient)));
  if (is_norm(s)) {
    pull_norm(s, pass, kept, dot, kept_dot, {kept.gradient, {}, g_dot, {}}, into);
  } else if (s.head < 0) {
    if (g_dot.defined()) dot.sums.add(s.input, g_dot);
  } else {
    pull_head(s, pass, kept, dot, kept_dot, g_dot, into);
  }
}

at::Tensor Passes::of_label_rows(const std::string& name, const at::Tensor& labels, const at::Tensor& rows) const {
  if (graph_.conditions > 0) return at::matmul(labels.to(exact_).t(), rows);
  return at::zeros_like(exact(name)).index_add_(0, labels, rows);
}

fused::GroupNormTangent Passes::norm_tangent_of(const Step& s, const Pass& pass, const Kept& kept, const Pass& dot,
                                                const Kept& kept_dot) {
  const auto i = static_cast<std::size_t>(s.input);
  return {pass.values[i], kept.mean, kept.reciprocal, dot.values[i], kept_dot.mean, kept_dot.reciprocal};
}

void Passes::pull_norm(const Step& s, const Pass& pass, const Kept& kept, Pass& dot, const Kept& kept_dot,
                       const fused::GroupNormPull& pull, nn::Tensors* into) const {
  at::Tensor of_weight, of_bias;
  dot.sums.add(s.input,
               norm_backward_tangent(norm(s), norm_tangent_of(s, pass, kept, dot, kept_dot), pull, of_weight, of_bias));
  if (into == nullptr) return;
  nn::add_to(*into, head(s).name + ".weight", of_weight.sum(0));
  nn::add_to(*into, head(s).name + ".bias", of_bias.sum(0));
}

void Passes::pull_head(const Step& s, const Pass& pass, const Kept& kept, Pass& dot, const Kept& kept_dot,
                       const at::Tensor& g_dot, nn::Tensors* into) const {
  const Node& n = head(s);
  heads_.gradient_tangent(n, kept.gradient, g_dot, pass.values, dot.values, kept, kept_dot, dot.sums);
  if (into == nullptr || (n.op != Op::conv2d && n.op != Op::linear)) return;
  const bool layer = n.op == Op::linear;
  const auto i = static_cast<std::size_t>(s.input);
  const std::string name = n.name + ".weight";
  nn::add_to(*into, name, heads_.weight_gradient(n, layer ? dot.values[i] : kept_dot.input, kept.gradient));
  if (g_dot.defined()) nn::add_to(*into, name, heads_.weight_gradient(n, layer ? pass.values[i] : kept.input, g_dot));
}

}  // namespace igebm::engine
