#pragma once

#include <memory>
#include <string>

#include "igebm/energy/energy.h"
#include "igebm/nn/network.h"

/// A trained network as a fast frozen Energy: the K-step loops of sampling and contrastive divergence run on this.
namespace igebm::engine {

struct Options {
  std::string engine = "fast";  ///< "fast": hand-derived gradients where known, else autograd; "reference": autograd
};

/// A network with its weights frozen: normalised, transformed and packed once.
class Prepared {
 public:
  virtual ~Prepared() = default;
  /// Takes new effective weights without rebuilding. Energies given out before see them too.
  virtual void refresh(const nn::Tensors& effective_weights) = 0;
  /// The energy under `labels` (N) int64; undefined labels if the network has none. x must then have N rows.
  virtual energy::EnergyPtr given(const at::Tensor& labels) = 0;
  /// What runs: "autograd", or the CPU engine and the algorithms it chose.
  virtual std::string description() const = 0;
};

std::shared_ptr<Prepared> prepare(const nn::Graph& graph, const nn::Tensors& effective_weights, const Options& options);

}  // namespace igebm::engine
