#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {

struct Measurement {
  const Metric* metric = nullptr;
  Figure figure;
};

/// Of `count` samples, in the table's order.
struct Quality {
  std::int64_t count = 0;
  std::vector<Measurement> measurements;

  const Figure* find(std::string_view name) const;  ///< null where it was not measured
  std::vector<std::string> warnings() const;
};

/// The named metrics, and of the others those that are told always and lack nothing. Throws UserError for an unknown
/// name, and where something does not suffice for a named one.
Quality measure(const std::vector<std::string>& names, const Compared& compared);

}  // namespace igebm::evaluation
