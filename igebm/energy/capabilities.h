#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "igebm/energy/energy.h"

/// What an energy may offer beside Energy, for speed. A class that has a capability derives from it too. Ask by the
/// functions at the end, not by a cast: a composition has a capability only where all its parts have it.
namespace igebm::energy {

/// Writes its results where earlier ones were: for loops, which then allocate nothing.
class InPlace {
 public:
  virtual ~InPlace() = default;
  /// energy_and_gradient, bit for bit, into `out`, whose tensors are written again where they fit. From one thread at a
  /// time.
  virtual void energy_and_gradient_into(const at::Tensor& x, EnergyAndGradient& out) const = 0;
};

/// Needs no tensors: for loops that cost less than making one.
class PlainLoop {
 public:
  virtual ~PlainLoop() = default;
  /// Can it take inputs of `elements` floats each?
  virtual bool takes(std::int64_t elements) const = 0;
  /// E and dE/dx of `count` inputs of `elements` floats each, which it takes; an input's do not depend on those beside
  /// it. May be called from several threads at once.
  virtual void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                        float* gradient) const = 0;
};

/// Recorded sequences of device operations, by names of those who made them (CUDA graphs of sampling's steps and of an
/// engine's gradients).
using Recordings = std::map<std::string, std::shared_ptr<void>>;

/// May be recorded on a device and played again.
class Recordable {
 public:
  virtual ~Recordable() = default;
  /// Where recordings that hold this energy's operations are kept. Not null: energy_and_gradient never waits for the
  /// device, and for inputs of one shape always does the same operations on the same memory, as long as this map lives;
  /// weights may change in place. Null: must not be recorded.
  virtual Recordings* recordings() const = 0;
};

/// Into `out`, in place where the energy can; else `out` becomes what energy_and_gradient returns. `out` is to be fresh
/// or from this energy: another's may be memory that it holds on to.
void energy_and_gradient_into(const Energy& energy, const at::Tensor& x, EnergyAndGradient& out);

/// The loop for inputs of `elements` floats each, or null.
const PlainLoop* plain_loop(const Energy& energy, std::int64_t elements);

/// Null where the energy must not be recorded.
Recordings* recordings(const Energy& energy);

}  // namespace igebm::energy
