#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>

namespace igebm::energy {

/// Recorded sequences of device operations, by names of those who made them (sampling's CUDA graphs).
using Recordings = std::map<std::string, std::shared_ptr<void>>;

struct EnergyAndGradient {
  at::Tensor energy;    ///< (N)
  at::Tensor gradient;  ///< like x
};

/// E(x), lower is likelier: p(x) is proportional to exp(-E(x)). Labels are bound beforehand (Network::given), so
/// samplers and compositions never hear of them.
///
/// Called from one thread at a time. Energies are immutable to their users, hence const throughout.
class Energy {
 public:
  virtual ~Energy() = default;

  /// (N, ...) -> (N), differentiable by autograd in x.
  virtual at::Tensor energy(const at::Tensor& x) const = 0;

  /// E(x) and dE/dx, both detached. By autograd unless a subclass knows better.
  virtual EnergyAndGradient energy_and_gradient(const at::Tensor& x) const;

  /// The same into `out`, whose tensors are written again where they fit: for loops, which then allocate nothing.
  virtual void energy_and_gradient_into(const at::Tensor& x, EnergyAndGradient& out) const {
    out = energy_and_gradient(x);
  }

  /// E and dE/dx of `count` inputs of `elements` floats each, without tensors, for loops that cost less than making
  /// one. From several threads at once. False, and nothing done, where an energy does not offer it; count = 0 asks.
  virtual bool evaluate(const float* /*x*/, std::int64_t /*count*/, std::int64_t /*elements*/, float* /*energy*/,
                        float* /*gradient*/) const {
    return false;
  }

  /// Where recordings that hold this energy's operations are kept. Not null: energy_and_gradient never waits for the
  /// device, and for inputs of one shape always does the same operations on the same memory, as long as this map lives;
  /// weights may change in place. Null: must not be recorded.
  virtual Recordings* recordings() const { return nullptr; }
};

using EnergyPtr = std::shared_ptr<const Energy>;

}  // namespace igebm::energy
