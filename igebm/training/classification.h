#pragma once

#include "igebm/training/objective.h"

namespace igebm::training {

/// Training of a classifier, whose features and classes quality is measured in (evaluation/):
///   L = cross entropy of softmax(logits) to the data's labels.
struct ClassificationOptions {
  static constexpr const char* section = "classification";
  static constexpr Network trains = Network::classifier;

  double label_smoothing = 0;  ///< targets (1 - s) one-hot + s / classes
};

void describe(io::Fields& fields, ClassificationOptions& options);

class Classification : public Objective {
 public:
  explicit Classification(const ClassificationOptions& options) : options_(options) {}
  Loss loss(const Step& step) override;

 private:
  ClassificationOptions options_;
};

/// The share of data whose greatest logit is their label's. x (N, ...) in the data's range, labels (N).
double accuracy(const nn::Graph& graph, const nn::EffectiveWeights& weights, const at::Tensor& x,
                const at::Tensor& labels);

}  // namespace igebm::training
