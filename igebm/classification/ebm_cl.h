#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "igebm/classification/task_learner.h"

/// EBM-CL (Li et al. 2020, "Energy-based models for continual learning", arXiv 2011.12216).
namespace igebm::classification {

/// E(x, y) = w . relu(h (1 + e_y)), h = W x + b, e_y the label's embedding divided by its length.
struct LabelEnergy {
  at::Tensor body, offset, embedding, weights;  ///< (d, h), (h), (K, h), (h)
  std::vector<at::Tensor> parameters() const { return {body, offset, embedding, weights}; }
  /// As LibTorch begins linear layers and embeddings, from numbers of the seed.
  static LabelEnergy begin(std::int64_t elements, std::int64_t hidden, std::int64_t classes, std::uint64_t seed);
};

at::Tensor body_of(const LabelEnergy& e, const at::Tensor& x);  ///< h: (n, h)
/// Of h (n, h) and labels (n): (n).
at::Tensor energy_of(const LabelEnergy& e, const at::Tensor& h, const at::Tensor& labels);
/// The batch's mean of E(x, y) + log(exp(-E(x, y)) + exp(-E(x, y'))), y the label and y' the other one.
at::Tensor contrast_loss(const LabelEnergy& e, const at::Tensor& x, const at::Tensor& labels, const at::Tensor& others);
/// For each record a class of the batch that is not its own, each as likely; its own where there is no other. `step`
/// numbers the batch.
at::Tensor other_labels(const at::Tensor& labels, std::uint64_t seed, std::uint32_t step);

/// Steps of Adam down contrast_loss.
class EnergySteps {
 public:
  EnergySteps(LabelEnergy energy, double learning_rate, std::uint64_t seed);
  void learn(const at::Tensor& x, const at::Tensor& labels);
  const LabelEnergy& energy() const { return energy_; }

 private:
  LabelEnergy energy_;
  TaskAdam adam_;
  std::uint64_t seed_;
  std::uint32_t steps_ = 0;
};

std::unique_ptr<TaskLearner> make_ebm_cl(std::int64_t elements, std::int64_t classes, const LearnerOptions& options,
                                         const LearnerKind& kind);

}  // namespace igebm::classification
