#include "igebm/classification/refined.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::classification {
namespace {

constexpr std::int64_t chains_at_a_time = 64;

}  // namespace

void check(const RefineOptions& o) {
  if (o.steps < 0) throw UserError(fmt::format("refine: expected at least 0 steps, got {}", o.steps));
  for (const auto& [name, value] :
       {std::pair("box", o.box), std::pair("step size", o.step_size), std::pair("noise", o.noise)}) {
    if (!(value >= 0 && std::isfinite(value)))
      throw UserError(fmt::format("refine: {}: expected at least 0, got {}", name, value));
  }
  if (o.chains < 1) throw UserError("refine: expected at least one chain");
}

Refined::Refined(const Logits& inner, energy::EnergyPtr energy, c10::Device device, const RefineOptions& options)
    : inner_(inner), energy_(std::move(energy)), device_(device), options_(options) {
  check(options);
}

at::Tensor Refined::refine(const at::Tensor& x, std::uint64_t draw) const { return walk(x, draw, nullptr); }

// x_{k+1} = clamp(x_k - step_size / 2 dE/dx(x_k) + noise n_k) to the box round x_0 and [0, 1].
at::Tensor Refined::walk(const at::Tensor& x, std::uint64_t draw, Path* path) const {
  const at::NoGradGuard no_grad;
  const std::int64_t count = x.size(0), elements = x[0].numel();
  const at::Tensor low = (x - options_.box).clamp_min(0), high = (x + options_.box).clamp_max(1);
  std::vector<std::int64_t> rows(static_cast<std::size_t>(count)), steps(rows.size());
  std::iota(rows.begin(), rows.end(), static_cast<std::int64_t>(draw) << 32);
  at::Tensor now = x, noise = at::empty({count, elements}, at::kFloat);
  for (std::int64_t k = 0; k < options_.steps; ++k) {
    std::ranges::fill(steps, k);
    random_normal_rows(options_.seed, Purpose::langevin_noise, rows, steps, elements, noise.data_ptr<float>());
    at::Tensor gradient = at::empty_like(x);
    for (std::int64_t begin = 0; begin < count; begin += chains_at_a_time) {
      const std::int64_t end = std::min(count, begin + chains_at_a_time);
      const at::Tensor part = now.slice(0, begin, end).to(at::kFloat).contiguous().to(device_);
      gradient.slice(0, begin, end).copy_(energy_->energy_and_gradient(part).gradient);
    }
    const at::Tensor free = now - options_.step_size / 2 * gradient + options_.noise * noise.view(x.sizes());
    const at::Tensor next = at::minimum(at::maximum(free, low), high);
    if (path != nullptr) {
      path->before.push_back(now), path->held.push_back(free.ne(next));
      path->at_box.push_back(path->held.back().logical_and(next.gt(0)).logical_and(next.lt(1)));
    }
    now = next;
  }
  return now;
}

// With m_k what the box let move: dL/dx_k = m_k v - step_size / 2 H(x_k) m_k v for v = dL/dx_{k+1}; pixels at the box's
// edge move with x_0.
at::Tensor Refined::back(at::Tensor v, const Path& path) const {
  at::Tensor with_box = at::zeros_like(v);
  const at::NoGradGuard no_grad;
  for (std::size_t k = path.before.size(); k-- > 0;) {
    with_box = with_box + v * path.at_box[k];
    const at::Tensor moved = v.masked_fill(path.held[k], 0.0);
    std::vector<at::Tensor> products;
    for (std::int64_t begin = 0; begin < v.size(0); begin += chains_at_a_time) {
      const std::int64_t end = std::min(v.size(0), begin + chains_at_a_time);
      const at::Tensor at = path.before[k].slice(0, begin, end).to(at::kFloat).contiguous().to(device_);
      const at::Tensor along = moved.slice(0, begin, end);
      // Directions of size 1, or what is far below a float's range would come back as 0.
      const at::Tensor size = along.flatten(1).norm(2, 1).clamp_min(1e-300).view({-1, 1, 1, 1});
      const at::Tensor unit = (along / size).to(at.options());
      products.push_back(energy_->hessian_product(at, unit).to(at::kDouble).cpu() * size);
    }
    v = moved - options_.step_size / 2 * at::cat(products);
  }
  return v + with_box;
}

at::Tensor Refined::of(const at::Tensor& x) const {
  at::Tensor sum;
  for (std::int64_t i = 0; i < options_.chains; ++i) {
    const at::Tensor z = inner_.of(walk(x, draws_++, nullptr));
    sum = sum.defined() ? sum + z : z;
  }
  return sum / static_cast<double>(options_.chains);
}

Logits::Pulled Refined::pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& asked) const {
  Pulled sum;
  for (std::int64_t i = 0; i < options_.chains; ++i) {
    Path path;
    const bool exact = options_.through == Through::steps;
    Pulled one = inner_.pull(walk(x, draws_++, exact ? &path : nullptr), labels, asked);
    if (exact) one.gradient = back(one.gradient, path);
    sum.logits = i > 0 ? sum.logits + one.logits : one.logits;
    sum.gradient = i > 0 ? sum.gradient + one.gradient : one.gradient;
  }
  const auto chains = static_cast<double>(options_.chains);
  return {sum.logits / chains, sum.gradient / chains};
}

}  // namespace igebm::classification
