#include "igebm/sampling/predictor.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

namespace igebm::sampling {
namespace {

/// The energy of a level, with a gradient that leads to D + share (D - D') and keeps D for the next one.
class Extrapolated final : public energy::Energy {
 public:
  Extrapolated(energy::EnergyPtr energy, double scale, double share, std::shared_ptr<at::Tensor> before)
      : energy_(std::move(energy)), scale_(scale), share_(share), before_(std::move(before)) {}

  at::Tensor energy(const at::Tensor& x) const override { return energy_->energy(x); }

  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    energy::EnergyAndGradient result = energy_->energy_and_gradient(x);
    at::Tensor denoised = x - scale_ * result.gradient.to(x.scalar_type());
    if (before_->defined() && share_ > 0) {
      const at::Tensor change = (denoised - *before_).nan_to_num_(0, 0, 0);
      result.gradient = result.gradient.to(x.scalar_type()) - share_ / scale_ * change;
    }
    *before_ = std::move(denoised);
    return result;
  }

 private:
  energy::EnergyPtr energy_;
  double scale_, share_;  // D = x - scale dE/dx
  std::shared_ptr<at::Tensor> before_;
};

}  // namespace

std::vector<energy::EnergyPtr> Predictor::at(const NoiseLevel& level, const std::vector<energy::EnergyPtr>& energies) {
  if (order_ < 2 || level.mixing_steps + level.fine_steps > 0) return energies;
  const double step = level.next > 0 ? std::log(level.sigma / level.next) : 0;
  const double share = last_ > 0 ? step / (2 * last_) : 0;
  last_ = step;
  std::vector<energy::EnergyPtr> extrapolated;
  for (const energy::EnergyPtr& energy : energies) {
    extrapolated.push_back(std::make_shared<Extrapolated>(energy, level.sigma * level.sigma / weight_, share, before_));
  }
  return extrapolated;
}

}  // namespace igebm::sampling
