#include "igebm/training/muon.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "igebm/base/error.h"
#include "igebm/base/recording.h"

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

/// beta c + alpha a b
at::Tensor add_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, double beta, double alpha) {
  return c.dim() == 2 ? at::addmm(c, a, b, beta, alpha) : at::baddbmm(c, a, b, beta, alpha);
}

/// The longer side of a weight seen as a matrix.
double longer_side(const at::Tensor& w) { return static_cast<double>(std::max(w.size(0), w.numel() / w.size(0))); }

}  // namespace

std::vector<at::Tensor> orthogonal_steps(const std::vector<at::Tensor>& weights) {
  std::map<std::vector<std::int64_t>, std::vector<std::size_t>> by_size;
  for (std::size_t i = 0; i < weights.size(); ++i)
    by_size[{weights[i].size(0), weights[i].numel() / weights[i].size(0)}].push_back(i);
  std::vector<at::Tensor> out(weights.size());
  for (const auto& [_, which] : by_size) {
    std::vector<at::Tensor> group;
    for (const std::size_t i : which) group.push_back(weights[i].flatten(1));
    const at::Tensor steps = orthogonalized(at::stack(group)) * (0.2 * std::sqrt(longer_side(group[0])));
    for (std::size_t k = 0; k < which.size(); ++k)
      out[which[k]] = steps[static_cast<std::int64_t>(k)].reshape(weights[which[k]].sizes());
  }
  return out;
}

at::Tensor orthogonalized(const at::Tensor& matrix) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315, epsilon = 1e-7;
  constexpr int steps = 5;
  const bool tall = matrix.size(-2) > matrix.size(-1);
  const auto turned = [](const at::Tensor& t) { return t.transpose(-2, -1); };
  at::Tensor x = tall ? turned(matrix) : matrix;
  x = x / ((x.dim() == 2 ? x.norm() : x.flatten(1).norm(2, 1).view({-1, 1, 1})) + epsilon);
  if (x.size(-1) >= 2 * x.size(-2)) {
    // The steps are polynomials of G = X X', which is then the smaller: X <- T X, T their product, G <- P G P.
    at::Tensor gram = at::matmul(x, turned(x)), product;
    for (int i = 0; i < steps; ++i) {
      at::Tensor p = add_product(gram, gram, gram, b, c);
      p.diagonal(0, -2, -1).add_(a);
      product = product.defined() ? at::matmul(p, product) : p;
      if (i + 1 < steps) gram = at::matmul(at::matmul(p, gram), p);
    }
    x = at::matmul(product, x);
    return tall ? turned(x) : x;
  }
  for (int i = 0; i < steps; ++i) {
    const at::Tensor square = at::matmul(x, turned(x));
    x = add_product(x, add_product(square, square, square, b, c), x, a, 1);
  }
  return tall ? turned(x) : x;
}

Muon::Muon(const nn::Tensors& parameters) : rest_(pick(parameters, false)) {
  for (const auto& [name, p] : pick(parameters, true)) momentum_[name] = at::zeros_like(p.detach());
}

Muon::~Muon() = default;

void Muon::move(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& by, double length) {
  const c10::Device device = weights[0].device();
  if (device.is_cpu()) {
    for (std::size_t i = 0; i < weights.size(); ++i)
      weights[i].sub_(orthogonalized(by[i].flatten(1)).reshape(weights[i].sizes()),
                      length * 0.2 * std::sqrt(longer_side(weights[i])));
    return;
  }
  // Hundreds of small operations, recorded where the device can, for it would wait for each.
  if (!recorded_) {
    from_.clear();
    for (const auto& w : weights) from_.push_back(at::zeros_like(w));
    const auto run = [&] { steps_ = orthogonal_steps(from_); };
    recorded_ = record(device, run, run);
  }
  at::_foreach_copy_(from_, by);
  recorded_->play();
  at::_foreach_sub_(weights, steps_, length);
}

double Muon::update(const OptimizerOptions& o, double rate, nn::Tensors& parameters,
                    const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> all, others, weights, momenta, gradients_of;
  for (const auto& g : gradients) all.push_back(g.detach());
  const double norm = at::stack(at::_foreach_norm(all)).norm().item<double>();
  if (!std::isfinite(norm)) return norm;
  const double scale = o.clip == Clip::norm && norm > o.clip_norm ? o.clip_norm / norm : 1;
  all = at::_foreach_mul(all, scale);
  auto gradient = all.begin();
  for (auto& [name, p] : parameters) {
    const at::Tensor& g = *gradient++;
    const auto found = momentum_.find(name);
    if (found == momentum_.end()) {
      others.push_back(g);
      continue;
    }
    weights.push_back(p);
    momenta.push_back(found->second);
    gradients_of.push_back(g);
  }
  if (!weights.empty()) {
    at::_foreach_lerp_(momenta, gradients_of, 1 - o.momentum);
    move(weights, at::_foreach_lerp(gradients_of, momenta, o.momentum), rate * o.factor);
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
