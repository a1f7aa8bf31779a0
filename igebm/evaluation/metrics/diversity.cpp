#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

/// Of one class, enough for a mean that is sure to a hundredth or better.
constexpr std::int64_t most = 1000;

/// Evenly among those of the class; all are one class where labels are undefined.
at::Tensor of_class(const Records& records, std::int64_t label, bool labels) {
  at::Tensor x = labels ? records.x.index_select(0, records.labels.eq(label).nonzero().squeeze(1)) : records.x;
  return x.size(0) > most ? x.index_select(0, at::arange(most).mul(x.size(0)).floor_divide(most)) : x;
}

Figure compute_diversity(const Compared& c) {
  const Records& real = c.reference.records;
  const bool labels = c.samples.labels.defined() && real.labels.defined();
  double sum = 0, counted = 0;
  for (std::int64_t label = 0; label < (labels ? c.reference.classes : 1); ++label) {
    const at::Tensor ours = of_class(c.samples, label, labels), theirs = of_class(real, label, labels);
    if (ours.size(0) < 2 || theirs.size(0) < 2) continue;
    const double expected = mean_distance(theirs);
    if (expected > 0) sum += mean_distance(ours) / expected, ++counted;
  }
  if (counted == 0)
    throw UserError("diversity: expected at least 2 samples, and 2 different records of the data, of one class");
  return {.values = {sum / counted}};
}

}  // namespace

/// The mean distance between two samples of one class over that between two records of it, their mean over classes:
/// below 1, samples are more alike than the data. Of pictures in pixels.
Metric diversity() {
  return {.name = "diversity",
          .title = "diversity",
          .needs = {.records = 2, .because = "for pairs of them"},
          .compute = compute_diversity};
}

}  // namespace igebm::evaluation
