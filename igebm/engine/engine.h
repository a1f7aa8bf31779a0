#pragma once

#include <c10/core/Device.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "igebm/base/enums.h"
#include "igebm/energy/energy.h"
#include "igebm/nn/network.h"

/// A trained network as a fast frozen Energy: the K-step loops of sampling and contrastive divergence run on this.
namespace igebm::engine {

class Autotuner;

/// What computes.
enum class Kind {
  fast,       ///< gradients derived by hand where they are known, else autograd
  reference,  ///< autograd
};
inline constexpr std::array kind_names = {"fast", "reference"};
constexpr const auto& names_of(Kind) { return kind_names; }

/// Of convolutions while sampling. A CPU without bfloat16 instructions computes in f32; one with matrix tiles (AMX)
/// stores pictures within the network in bfloat16, too, for bf16 and for automatic where that is faster. Gradients of
/// parameters are in f32, but for those by tangents (sums and weights in f32). Energies that are compared want f32.
enum class Precision {
  usual,      ///< f32 on a CPU, bf16 on a CUDA device
  automatic,  ///< on a CPU the faster by measuring; on a CUDA device bf16
  bf16,       ///< factors in bfloat16, sums in float32
  f32,
};
inline constexpr std::array precision_names = {"default", "auto", "bf16", "f32"};
constexpr const auto& names_of(Precision) { return precision_names; }

struct Options {
  Kind engine = Kind::fast;
  std::string choices = {};       ///< from Prepared::choices() of the same network: nothing is measured then
  std::string instructions = {};  ///< at most "v2", "v3", "v4" (x86-64 levels), "v4-bf16" or "amx"; empty: all there is
  c10::Device device = c10::Device(c10::DeviceType::CPU);  ///< where energies are computed (base/device.h)
  Precision precision = Precision::usual;
  /// What the CPU engine measures is kept there (autotuner.h): networks prepared with one Autotuner measure what they
  /// share once, and compute alike bit for bit. Null: one for this network alone.
  std::shared_ptr<Autotuner> autotuner = {};
};

/// A step of a prepared network, of one input.
struct StepCost {
  std::string what;
  double seconds = 0, operations = 0;  ///< operations: counted as of the direct algorithm
  std::string unit = {};  ///< what multiplies: "f32", "bf16" (vectors), "tiles" (bfloat16 matrices), or empty
  double done = 0;        ///< operations that the unit did: of Winograd's algorithm a quarter
};

/// Energies and gradients of a Prepared at some inputs, and how the parameters' gradient moves with them. Good until
/// its Prepared is refreshed or gives the next tangent.
class Tangent {
 public:
  virtual ~Tangent() = default;
  at::Tensor energy, gradient;  ///< E(x) (N) and dE/dx like x

  /// Adds the gradient in the weights of sum_i <v_i, dE/dx(x_i)>, v (like x) held, to `into`, by the weights' names:
  /// the derivative of dE(x_i + s v_i)/d(weight) in s at 0, without differences.
  virtual void pull(const at::Tensor& v, nn::Tensors& into) const = 0;
};

/// A second term of the loss that Prepared::match is of: sum_i weights_i / 2 r_i^2,
///   r_i = offsets_i + <dE/dx(x_i), x_dot_i> + <dE/dlabels(x_i), labels_dot_i> + energy_rate E(x_i),
/// the derivative in s at 0 of (1 + s energy_rate) E(x_i + s x_dot_i, labels_i + s labels_dot_i), but for the offset.
struct Motion {
  at::Tensor x_dot;       ///< like x
  at::Tensor labels_dot;  ///< like labels that are numbers; undefined: they stay
  double energy_rate = 0;
  at::Tensor offsets, weights;  ///< (N)
};

/// What Prepared::match found.
struct Matched {
  at::Tensor gradient;   ///< dE/dx, like x; undefined: nothing was done
  at::Tensor residuals;  ///< r_i (N) of the Motion, or undefined
};

/// A network with its weights frozen: normalised, transformed and packed once.
///
/// Threads: a Prepared and the energies that it gave are for one caller at a time; on the CPU they use
/// at::get_num_threads() threads themselves. On the CPU several Prepareds may be used from several threads at once,
/// also where they share an Autotuner, and energies by autograd (Kind::reference) as long as nothing refreshes.
class Prepared {
 public:
  virtual ~Prepared() = default;
  /// Takes new effective weights without rebuilding. Energies given out before see them too.
  virtual void refresh(const nn::EffectiveWeights& effective_weights) = 0;
  /// Adds sum_i c_i dE(x_i)/d(weight) to `into`, by the weights' names, with c_i = coefficients[i] + slopes[i] E(x_i);
  /// coefficients (N), slopes (N) or undefined. Returns the energies (N). What contrastive divergence and energy
  /// matching need of a training step. With `dropout` a network that has any is taken as in training, by autograd;
  /// the masks go by an input's place in x. Without it, and in energies, dropout passes its input on.
  virtual at::Tensor parameter_gradient(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& coefficients,
                                        const at::Tensor& slopes, nn::Tensors& into,
                                        const nn::Dropout* dropout = nullptr) = 0;
  /// Is that done without autograd, and are differences of such gradients those of the energy that is trained? Never
  /// with dropout: E(x + s) and E(x - s) must then share their masks, as must the dE/dx that a loss is made of, so what
  /// needs derivatives of dE/dx (energy matching) takes them of nn::evaluate(..., dropout) by autograd.
  virtual bool derives_parameters() const { return false; }
  /// Null where the engine has no such tangents of this network: of one with dropout, by autograd, on a CUDA device
  /// with label gains.
  virtual std::unique_ptr<Tangent> tangent(const at::Tensor& /*x*/, const at::Tensor& /*labels*/) { return nullptr; }
  /// Adds the gradient in the weights of sum_i c_i / 2 |dE/dx(x_i) - target_i|^2 to `into`, by the weights' names;
  /// target like x, coefficients c (N). With `motion` its term is added, by the same pass. What score matching and
  /// energy matching need of a training step. Nothing is done where the engine has no such tangents of this network.
  virtual Matched match(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& target,
                        const at::Tensor& coefficients, nn::Tensors& into, const Motion* motion = nullptr);
  /// The energy under `labels`, as nn::Graph says, or undefined if the network has none. x must then have as many rows.
  virtual energy::EnergyPtr given(const at::Tensor& labels) = 0;
  /// What runs: "autograd", the CPU engine and the algorithms it chose, or the device.
  virtual std::string description() const = 0;
  /// The algorithms chosen by measuring, made at the first use and kept: JSON, empty before that or if there are none.
  virtual std::string choices() const { return {}; }
  /// Where the time of a value and gradient of x goes, step by step on one thread; empty where the engine cannot say.
  virtual std::vector<StepCost> profile(const at::Tensor& /*x*/, const at::Tensor& /*labels*/) { return {}; }
  /// Operations of a value and gradient of one input (engine/graphs.h). 0: unknown.
  virtual double operations() const { return 0; }
};

/// A network with outputs, and one that the fast engine does not know, is computed by autograd.
std::shared_ptr<Prepared> prepare(const nn::Graph& graph, const nn::EffectiveWeights& effective_weights,
                                  const Options& options);

}  // namespace igebm::engine
