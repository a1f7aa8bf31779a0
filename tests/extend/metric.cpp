#include <ATen/ATen.h>
#include <igebm/evaluation/metrics.h>

#include "parts.h"

namespace {

/// Of the samples' means and the data's, the distance.
igebm::evaluation::Figure distance_of_means(const igebm::evaluation::Compared& c) {
  const at::Tensor apart = c.samples.x.mean(0) - c.reference.records.x.mean(0);
  return {.values = {apart.norm().item<double>()}};
}

}  // namespace

void add_metric() {
  igebm::evaluation::register_metric(
      {.name = "means", .title = "distance of means", .higher_is_better = false, .compute = distance_of_means});
}
