#include "igebm/training/sample_metric.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "igebm/base/error.h"
#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::training {

SampleMetric sample_metric(const Recipe& recipe) {
  const auto seed = static_cast<std::uint64_t>(recipe.seed);
  const data::Dataset training = data::load(recipe.data, data::Split::train, seed);
  const evaluation::Metric& metric = evaluation::find_metric(recipe.evaluate.metric);
  evaluation::check_count(metric, recipe.evaluate.count, "evaluate.count");
  const auto features =
      evaluation::features_or_usual(recipe.evaluate.features, recipe.data, training.shape().size() == 3);
  const std::int64_t total = training.size();
  const at::Tensor rows = evaluation::choose(total, std::min<std::int64_t>(total, 10000), seed, ~std::uint64_t{0});
  const auto reference = std::make_shared<evaluation::Reference>();
  reference->records = evaluation::records_of(training, rows, training.condition_columns(recipe.network.conditions));
  reference->extracted = evaluation::extract_all(*features, reference->records.x);
  reference->classes = training.classes;
  const std::string lack = evaluation::lacks(metric, {.told_classes = reference->extracted.told_classes(),
                                                      .classes = training.classes,
                                                      .labels = recipe.network.labels,
                                                      .asked_numbers = !recipe.network.conditions.empty()});
  if (!lack.empty()) throw UserError(fmt::format("evaluate.metric: {}: {}", metric.name, lack));
  return [features, reference, seed, &metric](const evaluation::Records& samples) {
    const evaluation::Extracted extracted = evaluation::extract_all(*features, samples.x);
    return evaluation::compute(metric, {samples, extracted, *reference, seed}).mean();
  };
}

}  // namespace igebm::training
