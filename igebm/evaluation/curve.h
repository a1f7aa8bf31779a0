#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "igebm/evaluation/evaluate.h"

/// Quality, diversity and time against the gradients that a sample may cost.
namespace igebm::evaluation {

struct CurveOptions {
  std::vector<std::int64_t> budgets = {10, 30, 100, 300};  ///< gradients a sample (sampling/budget.h)
  std::int64_t count = 500;                                ///< samples of each
  std::string features = {};                               ///< load_features; empty: the usual ones
  std::optional<std::uint64_t> seed = {};                  ///< of all samples; empty: the recipe's
};

struct CurvePoint {
  std::int64_t budget = 0;
  std::int64_t gradients = 0;  ///< that its steps take: at most the budget
  double seconds = 0;          ///< a sample, with all chains of a batch moved together
  Records samples;
  Evaluation evaluation;  ///< against the test split: frechet, diversity, and what is told always
};

/// A point for each budget, in the order given. Chains start alike at all of them, and are asked for the same
/// conditions. What the engine measures before its first steps is not in the times. Throws UserError
/// before samples are drawn; `observer` is told of progress; it may throw sampling::Stop: then the points are those
/// that were finished.
std::vector<CurvePoint> curve(const model::Model& model, const CurveOptions& options, Observer& observer);

/// A row of the first `count` samples for each point, uint8 (H, W, C): the same chains. REQUIRES: io::has_picture of
/// pictures, not points.
at::Tensor picture_of(const std::vector<CurvePoint>& points, std::int64_t count);

}  // namespace igebm::evaluation
