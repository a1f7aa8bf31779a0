#include "igebm/generation/particles.h"

#include <ATen/ATen.h>

#include "igebm/base/random.h"

namespace igebm::generation {
namespace {

/// Below this share of a group's chains that count, by 1 / sum of squared shares, it is drawn anew.
constexpr double least_effective = 0.5;

}  // namespace

at::Tensor Particles::shares() const { return log_weights_.softmax(1); }

void Particles::at_level(double sigma, const std::vector<energy::EnergyPtr>& parts, const std::vector<double>& weights,
                         sampling::Chains& chains) {
  const std::int64_t groups = chains.size() / each_;
  if (!log_weights_.defined()) log_weights_ = at::zeros({groups, each_}, at::kDouble);
  if (levels_++ > 0) {
    at::Tensor sum = at::zeros_like(chains.x), squares = at::zeros({chains.size()}, chains.x.options());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const at::Tensor g = parts[i]->energy_and_gradient(chains.x).gradient;
      sum.add_(g, weights[i]);
      squares.add_(g.square().flatten(1).sum(1), weights[i]);
    }
    const at::Tensor gained = (sum.square().flatten(1).sum(1) - squares) * ((sigma_ * sigma_ - sigma * sigma) / 2);
    log_weights_.add_(gained.cpu().to(at::kDouble).nan_to_num(-1e6, -1e6, -1e6).view({groups, each_}));
  }
  sigma_ = sigma;
  const at::Tensor w = shares(), effective = w.square().sum(1).reciprocal();
  at::Tensor from = at::arange(chains.size(), at::kLong);
  bool any = false;
  for (std::int64_t g = 0; g < groups; ++g) {
    if (effective[g].item<double>() >= least_effective * static_cast<double>(each_)) continue;
    any = true;
    // Systematic resampling: one uniform number for the group.
    const at::Tensor reached = w[g].cumsum(0);
    const auto* share = reached.const_data_ptr<double>();
    const auto stream = static_cast<std::uint64_t>(chains.stream[g * each_].item<std::int64_t>());
    const double u = random_uniform({seed_, Purpose::resample, stream, levels_});
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

at::Tensor Particles::chosen(const sampling::Chains& chains) const {
  const std::int64_t groups = chains.size() / each_;
  at::Tensor rows = at::empty({groups}, at::kLong);
  const at::Tensor reached = shares().cumsum(1);
  for (std::int64_t g = 0; g < groups; ++g) {
    const auto stream = static_cast<std::uint64_t>(chains.stream[g * each_].item<std::int64_t>());
    const double u = random_uniform({seed_, Purpose::resample, stream, 0});
    rows[g] = g * each_ + std::min(each_ - 1, reached[g].lt(u).sum().item<std::int64_t>());
  }
  return rows;
}

}  // namespace igebm::generation
