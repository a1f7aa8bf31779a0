#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "igebm/scoring/separation.h"

/// Probabilities of classes that are true to how often they are right.
namespace igebm::classification {

/// logit_y = bias_y - sum_l weights_l E_l(y)
struct Calibration {
  at::Tensor weights;    ///< (L) double; undefined: 1
  at::Tensor bias = {};  ///< (K) double, of mean 0; undefined: 0

  /// energies (N, L, K) -> logits (N, K)
  at::Tensor logits(const at::Tensor& energies) const;
};

/// The most likely one for labels (N) int64 of energies (N, L, K) double: a logistic regression, by Newton's method.
/// offsets: whether classes have a bias; else the weights, temperatures' inverses, are all that is fitted. A prior
/// N(0, 1 / ridge) on each parameter, with energies in units of their spread over classes, keeps it finite where
/// classes are told without error. Throws UserError where the shapes do not fit.
Calibration calibrate(const at::Tensor& energies, const at::Tensor& labels, bool offsets = true, double ridge = 1e-2);

/// -log of the softmax at labels, (N) double: exact also where it is far below what doubles tell from 0.
at::Tensor cross_entropies(const at::Tensor& logits, const at::Tensor& labels);

/// Expected calibration error (Naeini et al. 2015; Guo et al. 2017): inputs in `bins` bins of equal width by their
/// greatest probability; the mean over inputs of |accuracy - mean greatest probability| of their bin.
double calibration_error(const at::Tensor& probabilities, const at::Tensor& labels, std::int64_t bins = 15);

/// A fraction with Wilson's interval of 95 % (Wilson 1927). Throws UserError unless 0 <= right <= count, count >= 1.
scoring::Interval fraction_right(std::int64_t right, std::int64_t count);
/// The same of a fraction that is worth `count` independent inputs.
scoring::Interval wilson(double fraction, std::int64_t count);

}  // namespace igebm::classification
