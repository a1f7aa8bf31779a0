#include "igebm/nn/network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <utility>

#include "igebm/base/random.h"
#include "igebm/nn/weights.h"

namespace igebm::nn {
namespace {

at::Tensor unit(const at::Tensor& vector) { return vector / (vector.norm() + 1e-12); }

/// Dropout at node `node`.
at::Tensor dropped(const at::Tensor& x, double rate, const Dropout& dropout, std::size_t node) {
  at::Tensor keep = at::empty(x.sizes(), at::kFloat);
  const std::int64_t elements = keep.numel() / keep.size(0);
  for (std::int64_t i = 0; i < keep.size(0); ++i) {
    const auto stream = (static_cast<std::uint64_t>(node) << 32) + static_cast<std::uint64_t>(i);
    random_uniform({dropout.seed, Purpose::dropout, stream, static_cast<std::uint32_t>(dropout.step)},
                   {keep.data_ptr<float>() + i * elements, static_cast<std::size_t>(elements)});
  }
  return x * keep.ge_(rate).div_(1 - rate).to(x.device(), x.dtype());
}

/// A parameter at its start.
at::Tensor started(const Node& n, const Parameter& p, const RandomPlace& place) {
  at::Tensor t = at::zeros(p.shape);
  const std::span<float> values(t.data_ptr<float>(), static_cast<std::size_t>(t.numel()));
  switch (p.start) {
    case Start::zeros:
      return t;
    case Start::ones:
      return t.fill_(1);
    case Start::init:
      break;
  }
  switch (n.init) {
    case Init::zero:
      break;
    case Init::tiny:
      random_normal(place, values);
      t.mul_(1e-10);
      break;
    case Init::he:
      random_uniform(place, values);
      t.mul_(2).sub_(1).mul_(1 / std::sqrt(static_cast<double>(t.numel() / t.size(0))));
      break;
  }
  return t;
}

/// What a node's value is made of beside its inputs.
struct Evaluation {
  const Graph& graph;
  const EffectiveWeights& weights;
  const at::Tensor &x, &labels;
  const Dropout* dropout;

  using Values = std::vector<at::Tensor>;

  const at::Tensor& weight(const Node& n) const { return get(weights, n.name + ".weight"); }
  at::Tensor bias(const Node& n) const { return n.bias ? get(weights, n.name + ".bias") : at::Tensor(); }

  /// l W for each input, beside `a`.
  at::Tensor by_label(const Node& n, const at::Tensor& a) const {
    at::Tensor rows =
        graph.conditions > 0 ? at::matmul(labels.to(weight(n).dtype()), weight(n)) : weight(n).index_select(0, labels);
    while (rows.dim() < a.dim()) rows = rows.unsqueeze(-1);
    return rows;
  }

  at::Tensor with_planes(const Node& n, const at::Tensor& a) const {
    const at::Tensor row = graph.conditions > 0 ? labels : at::one_hot(labels, graph.classes);
    const at::Tensor planes =
        row.to(a.dtype()).unsqueeze(-1).unsqueeze(-1).expand({a.size(0), n.classes, a.size(2), a.size(3)});
    return at::cat({a, planes}, 1);
  }

  static at::Tensor attention(const Values& in) {
    const at::Tensor q = in[0].flatten(2), k = in[1].flatten(2), v = in[2].flatten(2);
    const double scale = 1 / std::sqrt(static_cast<double>(q.size(1)));
    const at::Tensor share = at::softmax(at::matmul(q.transpose(1, 2), k) * scale, -1);  // (N, H W, h w)
    return at::matmul(v, share.transpose(1, 2)).reshape({v.size(0), v.size(1), in[0].size(2), in[0].size(3)});
  }

  /// The value of node `index`, from those of its inputs.
  at::Tensor value(const Node& n, std::size_t index, const Values& in) const {
    const auto rows = [](const at::Tensor& t) { return t.reshape({t.size(0), -1}); };
    switch (n.op) {
      case Op::input:
        return x;
      case Op::affine:
        return in[0] * n.scale + n.shift;
      case Op::conv2d:
        return at::conv2d(padded_at_end(in[0], n.padding_end), weight(n), bias(n), n.stride, n.padding);
      case Op::linear:
        return at::linear(in[0], weight(n), bias(n));
      case Op::group_norm:
        return at::group_norm(in[0], n.groups, weight(n), get(weights, n.name + ".bias"), 1e-5);
      case Op::leaky_relu:
        return at::leaky_relu(in[0], n.slope);
      case Op::silu:
        return at::silu(in[0]);
      case Op::avg_pool:
        return at::avg_pool2d(in[0], n.k);
      case Op::upsample:
        return at::upsample_nearest2d(in[0], {in[0].size(2) * n.k, in[0].size(3) * n.k});
      case Op::unshuffle:
        return at::pixel_unshuffle(in[0], n.k);
      case Op::add:
        return in[0] + in[1];
      case Op::concat:
        return at::cat({in[0], in[1]}, 1);
      case Op::sum_pool:
        return in[0].sum({2, 3});
      case Op::mean_pool:
        return in[0].mean({2, 3});
      case Op::flatten:
        return in[0].flatten(1);
      case Op::inner:
        return (rows(in[0]) * rows(in[1])).sum(1);
      case Op::half_square:
        return 0.5 * rows(in[0]).square().sum(1);
      case Op::squeeze:
        return in[0].squeeze(1);
      case Op::label_bias:
        return in[0] + by_label(n, in[0]);
      case Op::label_gain:
        return in[0] * (1 + by_label(n, in[0]));
      case Op::label_planes:
        return with_planes(n, in[0]);
      case Op::attention:
        return attention(in);
      case Op::dropout:
        return dropout != nullptr && n.rate > 0 ? dropped(in[0], n.rate, *dropout, index) : in[0];
    }
    unhandled(n.op, "autograd");
  }
};

}  // namespace

void add_to(Tensors& into, const std::string& name, const at::Tensor& t) {
  at::Tensor& sum = into[name];
  if (sum.defined()) {
    sum.add_(t);
  } else {
    sum = t.contiguous();
  }
}

void add_gradients(const at::Tensor& output, const at::Tensor& pull, const Tensors& leaves, Tensors& into) {
  if (!output.requires_grad()) return;  // it depends on none of them
  std::vector<at::Tensor> inputs;
  for (const auto& [_, leaf] : leaves) inputs.push_back(leaf);
  const auto gradients = torch::autograd::grad({output}, inputs, {pull}, {}, false, /*allow_unused=*/true);
  std::size_t i = 0;
  for (const auto& [name, _] : leaves) {
    const at::Tensor& g = gradients[i++];
    if (g.defined()) add_to(into, name, g);
  }
}

Network::Network(Graph graph, std::uint64_t seed) : graph_(std::move(graph)) {
  shapes(graph_);
  std::uint64_t stream = 0;
  for (const Node& n : graph_.nodes) {
    const auto parameters = operation(n.op).parameters(n);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Parameter& p = parameters[i];
      // A node's first parameter has a stream of its own, whether it draws from it or not, others where they draw.
      const bool streams = i == 0 || p.start == Start::init;
      const RandomPlace place{seed, Purpose::initial_weights, streams ? stream++ : stream, 0};
      parameters_[n.name + "." + p.name] = started(n, p, place).set_requires_grad(true);
    }
    if (n.norm != Norm::none) {
      const std::string prefix = n.name + ".";
      const at::Tensor& weight = parameters_.at(prefix + "weight");
      at::Tensor u = at::empty({weight.size(0)});
      random_normal({seed, Purpose::initial_weights, stream++, 0},
                    {u.data_ptr<float>(), static_cast<std::size_t>(u.numel())});
      buffers_[prefix + "weight.u"] = unit(u);
      buffers_[prefix + "weight.v"] = at::zeros({weight.numel() / weight.size(0)});
    }
  }
  for (int i = 0; i < 10; ++i) advance_spectral_norm();  // a first estimate worth dividing by
}

std::int64_t Network::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& [_, p] : parameters_) count += p.numel();
  return count;
}

// Miyato et al. 2018, algorithm 1: v <- W'u / |W'u|, u <- Wv / |Wv|.
void Network::advance_spectral_norm() {
  const at::NoGradGuard no_grad;
  for (const Node& n : graph_.nodes) {
    if (n.norm == Norm::none) continue;
    const std::string name = n.name + ".weight";
    const at::Tensor w = matrix(get(parameters_, name));
    at::Tensor &u = buffers_.at(name + ".u"), &v = buffers_.at(name + ".v");
    const at::Tensor next_v = at::mv(w.t(), u);
    if (next_v.norm().item<double>() < 1e-30) continue;  // weights of zero have no direction
    v.copy_(next_v / next_v.norm());
    const at::Tensor next_u = at::mv(w, v);
    u.copy_(next_u / next_u.norm());
  }
}

EffectiveWeights Network::effective_weights(const Tensors& parameters) const {
  return nn::effective_weights(graph_, parameters, buffers_);
}

at::Tensor padded_at_end(const at::Tensor& x, std::int64_t more) {
  return more == 0 ? x : at::constant_pad_nd(x, {0, more, 0, more});
}

at::Tensor evaluate(const Graph& graph, const EffectiveWeights& weights, const at::Tensor& x, const at::Tensor& labels,
                    const Dropout* dropout) {
  graph.check_labels(labels, x.size(0));
  const Evaluation evaluation{graph, weights, x, labels, dropout};
  std::vector<at::Tensor> values;
  values.reserve(graph.nodes.size());
  for (const Node& n : graph.nodes) {
    std::vector<at::Tensor> in;
    for (const int input : n.inputs) in.push_back(values[static_cast<std::size_t>(input)]);
    values.push_back(evaluation.value(n, values.size(), in));
  }
  return values.back();
}

}  // namespace igebm::nn
