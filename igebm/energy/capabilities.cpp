#include "igebm/energy/capabilities.h"

namespace igebm::energy {

void energy_and_gradient_into(const Energy& energy, const at::Tensor& x, EnergyAndGradient& out) {
  const auto* in_place = dynamic_cast<const InPlace*>(&energy);
  if (in_place != nullptr) {
    in_place->energy_and_gradient_into(x, out);
  } else {
    out = energy.energy_and_gradient(x);
  }
}

const PlainLoop* plain_loop(const Energy& energy, std::int64_t elements) {
  const auto* loop = dynamic_cast<const PlainLoop*>(&energy);
  return loop != nullptr && loop->takes(elements) ? loop : nullptr;
}

Recordings* recordings(const Energy& energy) {
  const auto* recordable = dynamic_cast<const Recordable*>(&energy);
  return recordable != nullptr ? recordable->recordings() : nullptr;
}

}  // namespace igebm::energy
