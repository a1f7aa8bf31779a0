#include <ATen/ATen.h>
#include <igebm/energy/energy.h>
#include <igebm/sampling/registry.h>

#include "parts.h"

namespace {

using namespace igebm;

/// Descent without noise.
class Descent : public sampling::Kernel {
 public:
  explicit Descent(double rate) : rate_(rate) {}
  sampling::StepInfo transition(const energy::Energy& energy, sampling::Chains& chains,
                                sampling::Position) const override {
    const auto here = energy.energy_and_gradient(chains.x);
    chains.x = chains.held(chains.x - rate_ * here.gradient);
    return {.energy = here.energy.mean().item<double>()};
  }

 private:
  double rate_;
};

}  // namespace

void add_kernel() {
  sampling::register_kernel({"descent", "descent", false,
                             [](const sampling::SamplerOptions& o, std::uint64_t) -> std::unique_ptr<sampling::Kernel> {
                               return std::make_unique<Descent>(o.langevin.step_size);
                             }});
}
