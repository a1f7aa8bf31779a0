#include "igebm/training/muon.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"

namespace igebm::training {
namespace {

constexpr std::int64_t least_side = 5;

bool is_matrix(const at::Tensor& p) {
  return p.dim() >= 2 && p.size(0) >= least_side && p.numel() / p.size(0) >= least_side;
}

/// Those of `all` that are Muon's or those that are not; the tensors themselves.
nn::Tensors pick(const nn::Tensors& all, bool matrices) {
  nn::Tensors picked;
  for (const auto& [name, p] : all) {
    if (is_matrix(p) == matrices) picked[name] = p;
  }
  return picked;
}

}  // namespace

at::Tensor orthogonalized(const at::Tensor& matrix) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315, epsilon = 1e-7;
  constexpr int steps = 5;
  const bool tall = matrix.size(0) > matrix.size(1);
  at::Tensor x = tall ? matrix.t() : matrix;
  x = x / (x.norm() + epsilon);
  if (x.size(1) >= 2 * x.size(0)) {
    // The steps are polynomials of G = X X', which is then the smaller: X <- T X, T their product, G <- P G P.
    at::Tensor gram = at::mm(x, x.t()), product;
    for (int i = 0; i < steps; ++i) {
      at::Tensor p = at::addmm(gram, gram, gram, b, c);
      p.diagonal().add_(a);
      product = product.defined() ? at::mm(p, product) : p;
      if (i + 1 < steps) gram = at::mm(at::mm(p, gram), p);
    }
    x = at::mm(product, x);
    return tall ? x.t() : x;
  }
  for (int i = 0; i < steps; ++i) {
    const at::Tensor square = at::mm(x, x.t());
    x = at::addmm(x, at::addmm(square, square, square, b, c), x, a, 1);
  }
  return tall ? x.t() : x;
}

Muon::Muon(const nn::Tensors& parameters) : rest_(pick(parameters, false)) {
  for (const auto& [name, p] : pick(parameters, true)) momentum_[name] = at::zeros_like(p.detach());
}

double Muon::update(const OptimizerOptions& o, double rate, nn::Tensors& parameters,
                    const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> norms;
  for (const auto& g : gradients) norms.push_back(g.detach().norm());
  const double norm = at::stack(norms).norm().item<double>();
  if (!std::isfinite(norm)) return norm;
  const double scale = o.clip == Clip::norm && norm > o.clip_norm ? o.clip_norm / norm : 1;
  std::vector<at::Tensor> others;
  auto gradient = gradients.begin();
  for (auto& [name, p] : parameters) {
    const at::Tensor g = (gradient++)->detach() * scale;
    const auto found = momentum_.find(name);
    if (found == momentum_.end()) {
      others.push_back(g);
      continue;
    }
    at::Tensor& m = found->second;
    m.lerp_(g, 1 - o.momentum);
    const at::Tensor step = orthogonalized(g.lerp(m, o.momentum).reshape({p.size(0), -1}));
    const double longer = static_cast<double>(std::max(step.size(0), step.size(1)));
    p.sub_(step.reshape(p.sizes()), rate * o.factor * 0.2 * std::sqrt(longer));
  }
  OptimizerOptions clipped = o;
  if (o.clip == Clip::norm) clipped.clip = Clip::none;
  nn::Tensors rest = pick(parameters, false);
  if (!rest.empty()) rest_.update(clipped, rate, rest, others);
  return norm;
}

nn::Tensors Muon::state() const {
  nn::Tensors state = rest_.state();
  std::vector<at::Tensor> flat = {at::empty({0})};
  for (const auto& [_, m] : momentum_) flat.push_back(m.cpu().reshape({-1}));
  state["momentum"] = at::cat(flat);
  return state;
}

void Muon::load(const nn::Tensors& state) {
  const auto found = state.find("momentum");
  if (found == state.end())
    throw UserError("optimiser state: expected Muon's; optimizer.kind is not what the checkpoint was trained with");
  std::int64_t size = 0;
  for (const auto& [_, m] : momentum_) size += m.numel();
  if (found->second.numel() != size) throw UserError("optimiser state: of another network");
  nn::Tensors rest = state;
  rest.erase("momentum");
  rest_.load(rest);
  std::int64_t offset = 0;
  for (auto& [_, m] : momentum_) {
    m.copy_(found->second.narrow(0, offset, m.numel()).view(m.sizes()));
    offset += m.numel();
  }
}

}  // namespace igebm::training
