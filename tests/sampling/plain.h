#pragma once

#include "igebm/energy/energy.h"

namespace igebm::sampling {

/// The same energy without its loop over plain floats.
class Plain : public energy::Energy {
 public:
  explicit Plain(const energy::Energy& whole) : whole_(whole) {}
  at::Tensor energy(const at::Tensor& x) const override { return whole_.energy(x); }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    return whole_.energy_and_gradient(x);
  }

 private:
  const energy::Energy& whole_;
};

}  // namespace igebm::sampling
