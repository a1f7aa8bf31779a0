#include "igebm/evaluation/metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <numeric>

#include "igebm/base/error.h"

namespace igebm::evaluation {

// Each in the file of its name in metrics/.
Metric frechet(), kid(), inception(), precision(), recall(), density(), coverage(), two_sample(), diversity(),
    class_shares(), labels_right(), condition_errors();

namespace {

std::deque<Metric>& table() {
  static std::deque<Metric> all = {
      frechet(),  kid(),        inception(), precision(),    recall(),       density(),
      coverage(), two_sample(), diversity(), class_shares(), labels_right(), condition_errors(),
  };
  return all;
}

}  // namespace

const std::deque<Metric>& metrics() { return table(); }

void register_metric(const Metric& metric) {
  const auto names = metric_names();
  if (std::ranges::find(names, metric.name) != names.end())
    throw UserError(fmt::format("a metric \"{}\" is known already", metric.name));
  table().push_back(metric);
}

const Metric& find_metric(std::string_view name) {
  for (const Metric& metric : metrics()) {
    if (metric.name == name) return metric;
  }
  throw UserError(fmt::format("metric \"{}\": expected one of {}", name, fmt::join(metric_names(), ", ")));
}

std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const Metric& metric : metrics()) names.emplace_back(metric.name);
  return names;
}

std::vector<std::string> ranking_metric_names() {
  std::vector<std::string> names;
  for (const Metric& metric : metrics()) {
    if (metric.higher_is_better) names.emplace_back(metric.name);
  }
  return names;
}

double Figure::mean() const {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Given given_by(const Compared& c) {
  return {.told_classes = c.extracted.told_classes(),
          .classes = c.reference.classes,
          .labels = c.samples.labels.defined(),
          .asked_numbers = c.samples.conditions.defined()};
}

std::string lacks(const Metric& metric, const Given& given) {
  const Metric::Needs& needs = metric.needs;
  if ((needs.told_classes || needs.labels) && given.told_classes == 0) return "these features tell no classes";
  if (needs.labels && given.told_classes != given.classes)
    return fmt::format("these features tell {} classes, and the data have {}", given.told_classes, given.classes);
  if (needs.labels && !given.labels) return "these samples have no labels";
  if (needs.asked_numbers && !given.asked_numbers) return "these samples were not asked for conditions";
  return {};
}

void check_count(const Metric& metric, std::int64_t count, const std::string& whose) {
  if (count < metric.needs.records)
    throw UserError(fmt::format("{}: {}: expected at least {} records{}{}, got {}", whose, metric.title,
                                metric.needs.records, *metric.needs.because != '\0' ? ", " : "", metric.needs.because,
                                count));
}

void check_needs(const Metric& metric, const Given& given) {
  const std::string lack = lacks(metric, given);
  if (!lack.empty()) throw UserError(fmt::format("metric {}: {}", metric.name, lack));
}

Figure compute(const Metric& metric, const Compared& compared) {
  check_count(metric, compared.extracted.features.size(0), compared.samples.name);
  check_needs(metric, given_by(compared));
  return metric.compute(compared);
}

}  // namespace igebm::evaluation
