#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

/// How well a score tells odd inputs from usual ones. The odd ones are the positives, and have the greater scores.
namespace igebm::scoring {

/// A figure with the 2.5 % and 97.5 % quantiles of its bootstrap.
struct Interval {
  double value = 0, low = 0, high = 0;
};

/// Of a figure and draws of its bootstrap; without draws, the figure alone.
Interval quantiles(double value, std::vector<double> draws);

struct Separation {
  Interval auroc;  ///< the fraction of pairs of an odd and a usual input of which the odd one's score is greater; ties
                   ///< count half
  Interval aupr;   ///< average precision: sum over thresholds of (recall - recall before) times precision
  Interval fpr95;  ///< the fraction of usual inputs above the greatest threshold that at least 95 % of odd ones reach
};

struct BootstrapOptions {
  std::int64_t draws = 1000;  ///< of as many usual and as many odd inputs, with replacement; 0: no intervals
  std::uint64_t seed = 0;
};

/// Of scores `usual` (N) and `odd` (M), as scikit-learn's roc_auc_score, average_precision_score and roc_curve have
/// them. Throws UserError where one is empty or holds a NaN.
Separation separation(const at::Tensor& usual, const at::Tensor& odd, const BootstrapOptions& options = {});

}  // namespace igebm::scoring
