#pragma once

#include <array>
#include <vector>

#include "igebm/sampling/sampler.h"
#include "igebm/training/chain_end.h"
#include "igebm/training/objective.h"
#include "igebm/training/replay_buffer.h"

namespace igebm::training {

/// Contrastive divergence with a replay buffer (Du & Mordatch 2019, algorithm 1):
///   L = C(E(x+), E(x-)) + energy_l2 mean[E(x+)^2 + E(x-)^2],
/// x- = `steps` Langevin steps from the buffer; chains that start anew take `flow` first, if it has steps. C is one of
/// the forms of the paper's released code (openai/ebm_code_release, train.py, `objective`; its temperature is 1):
///   linear     mean[E(x+)] - mean[E(x-)]                                            (its "cd")
///   logsumexp  mean[E(x+)] - sum_i w_i E(x-_i),  w = softmax(-E(x-)), held constant
///   softplus   mean_i log(1 + exp(E(x+_i) - E(x-_i)))
/// logsumexp pushes up the likeliest samples most; the code adds 1e-4 to its sum of exp(-(E - min E)), which is at
/// least 1 without. softplus stops pushing at pairs that are well apart.
enum class ContrastForm { linear, logsumexp, softplus };
inline constexpr std::array contrast_form_names = {"linear", "logsumexp", "softplus"};
constexpr const auto& names_of(ContrastForm) { return contrast_form_names; }

struct ContrastiveDivergenceOptions {
  static constexpr const char* section = "contrastive_divergence";
  static constexpr Network trains = Network::energy;

  double weight = 1;
  ContrastForm form = ContrastForm::linear;
  double energy_l2 = 1;
  /// Standard deviation of normal noise on x+, then clamped as samples are (Nijkamp et al. 2019): chains that end with
  /// noise of their own are not told from data by that.
  double data_noise = 0;
  std::int64_t steps = 60;
  ChainEndOptions end;  ///< Improved contrastive divergence, added to L
  sampling::LangevinOptions langevin;
  sampling::FlowOptions flow = {.steps = 0};
  sampling::StartOptions start;
  ReplayOptions replay;

  bool takes_slopes() const { return end.kl > 0 || end.entropy > 0; }
};

void describe(io::Fields& fields, ContrastiveDivergenceOptions& options);

class ContrastiveDivergence : public Objective {
 public:
  /// graph: of the network that it trains
  ContrastiveDivergence(const ContrastiveDivergenceOptions& options, const nn::Graph& graph);
  Loss loss(const Step& step) override;
  nn::Tensors state() const override { return buffer_.state(); }
  void load(const nn::Tensors& state) override { buffer_.load(state); }

 private:
  ContrastiveDivergenceOptions options_;
  ReplayBuffer buffer_;
};

/// L for given energies (N) and (N), differentiable.
at::Tensor contrastive_divergence(ContrastForm form, const at::Tensor& positive, const at::Tensor& negative,
                                  double energy_l2);

/// dC/dE of each, (2 N), from energies (2 N), those of data first. The linear form's depend on no energy: `energies`
/// may then be of any values.
at::Tensor contrast_slopes(ContrastForm form, const at::Tensor& energies);

}  // namespace igebm::training
