#include "igebm/nn/network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <utility>

#include "igebm/base/error.h"
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
    const auto shape = weight_shape(n);
    if (shape.empty()) continue;
    at::Tensor weight = at::empty(shape);
    const RandomPlace place{seed, Purpose::initial_weights, stream++, 0};
    const std::span<float> values(weight.data_ptr<float>(), static_cast<std::size_t>(weight.numel()));
    const double fan_in = static_cast<double>(weight.numel() / weight.size(0));
    const bool matrix_like = n.op == Op::conv2d || n.op == Op::linear;
    if (n.op == Op::group_norm) {
      weight.fill_(1);
    } else if (!matrix_like || n.init == Init::zero) {
      weight.zero_();
    } else if (n.init == Init::tiny) {
      random_normal(place, values);
      weight.mul_(1e-10);
    } else {
      random_uniform(place, values);
      weight.mul_(2).sub_(1).mul_(1 / std::sqrt(fan_in));
    }
    const std::string prefix = n.name + ".";
    parameters_[prefix + "weight"] = weight.set_requires_grad(true);
    if (n.bias || n.op == Op::group_norm) {
      parameters_[prefix + "bias"] = at::zeros({n.op == Op::group_norm ? n.in : n.out}).set_requires_grad(true);
    }
    if (n.norm != Norm::none) {
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

Tensors Network::effective_weights(const Tensors& parameters) const {
  return nn::effective_weights(graph_, parameters, buffers_);
}

at::Tensor padded_at_end(const at::Tensor& x, std::int64_t more) {
  return more == 0 ? x : at::constant_pad_nd(x, {0, more, 0, more});
}

at::Tensor evaluate(const Graph& graph, const Tensors& weights, const at::Tensor& x, const at::Tensor& labels,
                    const Dropout* dropout) {
  graph.check_labels(labels, x.size(0));
  std::vector<at::Tensor> values;
  values.reserve(graph.nodes.size());
  for (const Node& n : graph.nodes) {
    const auto in = [&](int i) -> const at::Tensor& {
      return values[static_cast<std::size_t>(n.inputs[static_cast<std::size_t>(i)])];
    };
    const auto weight = [&]() -> const at::Tensor& { return get(weights, n.name + ".weight"); };
    const auto bias = [&] { return n.bias ? get(weights, n.name + ".bias") : at::Tensor(); };
    const auto by_label = [&] {
      at::Tensor rows =
          graph.conditions > 0 ? at::matmul(labels.to(weight().dtype()), weight()) : weight().index_select(0, labels);
      while (rows.dim() < in(0).dim()) rows = rows.unsqueeze(-1);
      return rows;
    };
    const auto rows = [&](const at::Tensor& t) { return t.reshape({t.size(0), -1}); };
    switch (n.op) {
      case Op::input:
        values.push_back(x);
        break;
      case Op::affine:
        values.push_back(in(0) * n.scale + n.shift);
        break;
      case Op::conv2d:
        values.push_back(at::conv2d(padded_at_end(in(0), n.padding_end), weight(), bias(), n.stride, n.padding));
        break;
      case Op::linear:
        values.push_back(at::linear(in(0), weight(), bias()));
        break;
      case Op::group_norm:
        values.push_back(at::group_norm(in(0), n.groups, weight(), get(weights, n.name + ".bias"), 1e-5));
        break;
      case Op::leaky_relu:
        values.push_back(at::leaky_relu(in(0), n.slope));
        break;
      case Op::silu:
        values.push_back(at::silu(in(0)));
        break;
      case Op::avg_pool:
        values.push_back(at::avg_pool2d(in(0), n.k));
        break;
      case Op::upsample: {
        const at::Tensor& a = in(0);
        values.push_back(at::upsample_nearest2d(a, {a.size(2) * n.k, a.size(3) * n.k}));
        break;
      }
      case Op::unshuffle:
        values.push_back(at::pixel_unshuffle(in(0), n.k));
        break;
      case Op::add:
        values.push_back(in(0) + in(1));
        break;
      case Op::concat:
        values.push_back(at::cat({in(0), in(1)}, 1));
        break;
      case Op::sum_pool:
        values.push_back(in(0).sum({2, 3}));
        break;
      case Op::mean_pool:
        values.push_back(in(0).mean({2, 3}));
        break;
      case Op::flatten:
        values.push_back(in(0).flatten(1));
        break;
      case Op::inner:
        values.push_back((rows(in(0)) * rows(in(1))).sum(1));
        break;
      case Op::half_square:
        values.push_back(0.5 * rows(in(0)).square().sum(1));
        break;
      case Op::squeeze:
        values.push_back(in(0).squeeze(1));
        break;
      case Op::label_bias:
        values.push_back(in(0) + by_label());
        break;
      case Op::label_gain:
        values.push_back(in(0) * (1 + by_label()));
        break;
      case Op::label_planes: {
        const at::Tensor& a = in(0);
        const at::Tensor row = graph.conditions > 0 ? labels : at::one_hot(labels, graph.classes);
        const at::Tensor planes =
            row.to(a.dtype()).unsqueeze(-1).unsqueeze(-1).expand({a.size(0), n.classes, a.size(2), a.size(3)});
        values.push_back(at::cat({a, planes}, 1));
        break;
      }
      case Op::attention: {
        const at::Tensor q = in(0).flatten(2), k = in(1).flatten(2), v = in(2).flatten(2);
        const double scale = 1 / std::sqrt(static_cast<double>(q.size(1)));
        const at::Tensor share = at::softmax(at::matmul(q.transpose(1, 2), k) * scale, -1);  // (N, H W, h w)
        values.push_back(
            at::matmul(v, share.transpose(1, 2)).reshape({x.size(0), v.size(1), in(0).size(2), in(0).size(3)}));
        break;
      }
      case Op::dropout:
        values.push_back(dropout != nullptr && n.rate > 0 ? dropped(in(0), n.rate, *dropout, values.size()) : in(0));
        break;
    }
  }
  return values.back();
}

}  // namespace igebm::nn
