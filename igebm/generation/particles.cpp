#include "igebm/generation/particles.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "igebm/base/random.h"

namespace igebm::generation {

void WeighedChains::gain(const at::Tensor& log_weights) {
  const at::Tensor more = log_weights.cpu().to(at::kDouble).nan_to_num(-1e6, -1e6, -1e6).view({-1, each_});
  log_weights_ = log_weights_.defined() ? log_weights_ + more : more;
}

void WeighedChains::draw_anew(sampling::Chains& chains, double least) {
  ++draws_;
  if (!log_weights_.defined()) return;
  const at::Tensor w = shares(), effective = w.square().sum(1).reciprocal();
  at::Tensor from = at::arange(chains.size(), at::kLong);
  bool any = false;
  for (std::int64_t g = 0; g < w.size(0); ++g) {
    if (effective[g].item<double>() >= least * static_cast<double>(each_)) continue;
    any = true;
    // Systematic resampling: one uniform number for the group.
    const at::Tensor reached = w[g].cumsum(0);
    const auto* share = reached.const_data_ptr<double>();
    const auto stream = static_cast<std::uint64_t>(chains.stream[g * each_].item<std::int64_t>());
    const double u = random_uniform({seed_, Purpose::resample, stream, draws_});
    std::int64_t k = 0;
    for (std::int64_t j = 0; j < each_; ++j) {
      const double at = (static_cast<double>(j) + u) / static_cast<double>(each_);
      while (k + 1 < each_ && share[k] < at) ++k;
      from[g * each_ + j] = g * each_ + k;
    }
    log_weights_[g].zero_();
  }
  if (!any) return;
  chains.x = chains.x.index_select(0, from.to(chains.x.device()));
  chains.energy.forget();
}

at::Tensor WeighedChains::chosen(const sampling::Chains& chains) const {
  const std::int64_t groups = chains.size() / each_;
  if (!log_weights_.defined()) return at::arange(groups, at::kLong) * each_;
  at::Tensor rows = at::empty({groups}, at::kLong);
  const at::Tensor reached = shares().cumsum(1);
  for (std::int64_t g = 0; g < groups; ++g) {
    const auto stream = static_cast<std::uint64_t>(chains.stream[g * each_].item<std::int64_t>());
    const double u = random_uniform({seed_, Purpose::resample, stream, 0});
    rows[g] = g * each_ + std::min(each_ - 1, reached[g].lt(u).sum().item<std::int64_t>());
  }
  return rows;
}

void Particles::at_level(double sigma, const std::vector<energy::EnergyPtr>& parts, const std::vector<double>& weights,
                         sampling::Chains& chains) {
  if (sigma_ > 0) {
    at::Tensor sum = at::zeros_like(chains.x), squares = at::zeros({chains.size()}, chains.x.options());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const at::Tensor g = parts[i]->energy_and_gradient(chains.x).gradient;
      sum.add_(g, weights[i]);
      squares.add_(g.square().flatten(1).sum(1), weights[i]);
    }
    chains_.gain((sum.square().flatten(1).sum(1) - squares) * ((sigma_ * sigma_ - sigma * sigma) / 2));
  }
  sigma_ = sigma;
  chains_.draw_anew(chains);
}

Population::Moved Population::moved(double sigma, double weight, const at::Tensor& x) const {
  const std::int64_t count = x.size(0), dimensions = x[0].numel();
  if (way_ == Way::shrinking) {
    const at::Tensor groups = x.reshape({-1, chains_.each(), dimensions}), middle = groups.mean(1, /*keepdim=*/true),
                     off = groups - middle;
    const double noise = sigma_ * sigma_ / weight, next = sigma * sigma / weight;
    const at::Tensor data = (off.square().mean({1, 2}, /*keepdim=*/true) - noise).clamp_min(0);
    return {energy_->energy(x), (middle + off * ((data + next) / (data + noise)).sqrt()).view(x.sizes()),
            at::zeros({count}, at::kDouble)};
  }
  const double step = (sigma_ - sigma) * sigma_ / weight;
  const auto before = energy_->energy_and_gradient(x);
  std::vector<at::Tensor> rows;
  for (std::int64_t k = 0; k < dimensions; ++k) {
    at::Tensor axis = at::zeros({dimensions}, x.options());
    axis[k] = 1;
    const at::Tensor along = axis.view(x[0].sizes()).expand_as(x).contiguous();
    rows.push_back(energy_->hessian_product(x, along).view({count, dimensions}));
  }
  const at::Tensor jacobian = at::eye(dimensions, x.options().dtype(at::kDouble)) - step * at::stack(rows, 1);
  return {before.energy, (x - step * before.gradient).contiguous(), std::get<1>(at::linalg_slogdet(jacobian)).cpu()};
}

void Population::at_level(double sigma, double weight, bool last, const energy::EnergyPtr& energy,
                          sampling::Chains& chains) {
  if (energy_) {
    const Moved to = moved(sigma, weight, chains.x);
    const at::Tensor fallen = to.energy_before.to(at::kDouble) - energy->energy(to.x).to(at::kDouble);
    chains_.gain(fallen.cpu() / temperature_ + to.log_jacobian);
    chains.x = to.x;
    chains.energy.forget();
  }
  sigma_ = sigma, energy_ = energy;
  chains_.draw_anew(chains, last ? 2.0 : 0.5);  // at the last, all of them
}

}  // namespace igebm::generation
