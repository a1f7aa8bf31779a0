#include "igebm/classification/class_energies.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/evaluation/formulas.h"
#include "igebm/generation/normaliser.h"

namespace igebm::classification {
namespace {

constexpr std::int64_t tests_at_a_time = 128;

}  // namespace

ClassEnergy::ClassEnergy(const model::Model& model, const at::Tensor& records, const ClassEnergyOptions& options)
    : device_(model.device()), space_(model.space()), dequantised_(model.settings().data.dequantize) {
  const auto& spec = model.condition_spec();
  if (!spec.noise)
    throw UserError("class energies: the recipe's network takes no noise levels (network.noise_features)");
  if (spec.classes > 0 || spec.values > 0)
    throw UserError(
        "class energies: each network sees one class, so network.labels and network.conditions must be off");
  if (options.sigmas.empty()) throw UserError("class energies: expected a noise level");
  const at::NoGradGuard no_grad;
  const auto energy_at = [&](double sigma) { return model.energy({}, sigma); };
  const std::int64_t count = std::min(options.calibrated, records.size(0));
  const at::Tensor some = records.index_select(0, evaluation::choose(records.size(0), count, options.seed, 3));
  const auto z = generation::normaliser_of_samples(
      energy_at, {*std::ranges::min_element(options.sigmas), spec.noise->sigma_max},
      evaluation::into_model(some, space_, dequantised_).to(device_), options.levels, options.seed);
  for (const double sigma : options.sigmas) {
    auto noise = scoring::level_noise(space_.shape, sigma, {.draws = options.draws, .seed = options.seed});
    for (at::Tensor& one : noise) one = one.to(device_);
    energies_.push_back(scoring::averaged(energy_at(sigma), std::move(noise)));
    log_z_.push_back(z.at(sigma));
  }
}

at::Tensor ClassEnergy::log_densities(const at::Tensor& x, const Progress& progress) const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> all;
  for (std::int64_t begin = 0; begin < x.size(0); begin += tests_at_a_time) {
    const at::Tensor part = evaluation::into_model(x.slice(0, begin, begin + tests_at_a_time), space_, dequantised_)
                                .contiguous()
                                .to(device_);
    std::vector<at::Tensor> each;
    for (std::size_t l = 0; l < energies_.size(); ++l) each.push_back(-energies_[l]->energy(part).cpu() - log_z_[l]);
    all.push_back(at::stack(each, 1));
    if (progress) progress(std::min(begin + tests_at_a_time, x.size(0)), x.size(0));
  }
  return at::cat(all);
}

}  // namespace igebm::classification
