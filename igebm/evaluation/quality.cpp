#include "igebm/evaluation/quality.h"

#include <algorithm>

namespace igebm::evaluation {

const Figure* Quality::find(std::string_view name) const {
  for (const Measurement& m : measurements) {
    if (m.metric->name == name) return &m.figure;
  }
  return nullptr;
}

std::vector<std::string> Quality::warnings() const {
  std::vector<std::string> all;
  for (const Measurement& m : measurements) all.insert(all.end(), m.figure.warnings.begin(), m.figure.warnings.end());
  return all;
}

Quality measure(const std::vector<std::string>& names, const Compared& compared) {
  for (const std::string& name : names) find_metric(name);
  const Given given = given_by(compared);
  Quality q{.count = compared.extracted.features.size(0)};
  for (const Metric& metric : metrics()) {
    const bool named = std::find(names.begin(), names.end(), metric.name) != names.end();
    if (named || (metric.always && lacks(metric, given).empty()))
      q.measurements.push_back({&metric, compute(metric, compared)});
  }
  return q;
}

}  // namespace igebm::evaluation
