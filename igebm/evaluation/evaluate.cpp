#include "igebm/evaluation/evaluate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/data/collect.h"
#include "igebm/evaluation/formulas.h"

namespace igebm::evaluation {
namespace {

/// What is known of samples before they are there.
struct Expected {
  std::string name = "samples";
  std::vector<std::int64_t> shape;
  std::int64_t count = 0;
  bool labels = false;
  std::vector<std::string> numbers = {};  ///< that they are asked for
};

}  // namespace

struct Comparison::Means {
  EvaluationOptions options;
  FeaturesPtr features;
  data::Dataset reference;
  data::Dataset others;                    ///< of another split: real records to set beside the samples
  at::Tensor chosen;                       ///< of these, as many as there are samples
  data::Split split = data::Split::train;  ///< theirs
  std::vector<std::int64_t> columns;       ///< of the data's conditions, that samples are asked for
  std::uint64_t seed = 0;
  bool labels = false;  ///< samples have any
  // Once they are needed:
  Reference measured;
  std::optional<Quality> real;

  void load_real(const data::Options& data, std::uint64_t data_seed);
  Means(const Expected& samples, const EvaluationOptions& evaluation, const data::Options& data,
        std::uint64_t data_seed, std::uint64_t sampling_seed);
  Extracted extract(const char* whose, const at::Tensor& x, Observer& observer) const;
  void measure_real(Observer& observer);
};

void Comparison::Means::load_real(const data::Options& data, std::uint64_t data_seed) {
  const bool against_test = options.against == data::Split::test;
  reference = data::load(data, options.against, data_seed);
  split = against_test ? data::Split::train : data::Split::test;
  try {
    others = data::load(data, split, data_seed);
  } catch (const UserError&) {
    // A set without a test split: what training has held out is as good.
    if (against_test || data.validation == 0) throw;
    split = data::Split::validation;
    others = data::load(data, split, data_seed);
  }
}

/// Whatever can be refused is refused here, before samples are drawn.
Comparison::Means::Means(const Expected& samples, const EvaluationOptions& evaluation, const data::Options& data,
                         std::uint64_t data_seed, std::uint64_t sampling_seed)
    : options(evaluation), seed(sampling_seed), labels(samples.labels) {
  std::vector<const Metric*> asked;
  for (const std::string& name : options.metrics) asked.push_back(&find_metric(name));
  for (const Metric* metric : asked) check_count(*metric, samples.count, samples.name);
  features = features_or_usual(options.features, data, samples.shape.size() == 3);
  const Extracted one = features->extract(at::zeros(samples.shape).unsqueeze(0));
  load_real(data, data_seed);
  if (reference.shape() != samples.shape)
    throw UserError(fmt::format("samples and {} are of different shapes", data.name));
  const Given given{.told_classes = one.told_classes(),
                    .classes = reference.classes,
                    .labels = samples.labels,
                    .asked_numbers = !samples.numbers.empty()};
  const std::int64_t floor_count = std::min(samples.count, others.size());
  for (const Metric* metric : asked) {
    check_needs(*metric, given);
    check_count(*metric, floor_count, fmt::format("{}'s {} split", data.name, name_of(split)));
  }
  for (const std::string& name : options.where_enough) {
    const Metric& metric = find_metric(name);
    const std::int64_t fewest = std::min({samples.count, floor_count, reference.size()});
    if (fewest >= metric.needs.records && lacks(metric, given).empty()) options.metrics.push_back(name);
  }
  columns = reference.condition_columns(samples.numbers);
  chosen = choose(others.size(), floor_count, seed, ~std::uint64_t{0});
}

Extracted Comparison::Means::extract(const char* whose, const at::Tensor& x, Observer& observer) const {
  return extract_all(*features, x, 250, [&](std::int64_t done, std::int64_t total) {
    if (done < total) observer.progress(whose, done, total);
  });
}

void Comparison::Means::measure_real(Observer& observer) {
  if (real) return;
  Records records = records_of(others, chosen, columns);
  if (!labels) records.labels = at::Tensor();
  measured = {.records = records_of(reference, {}, columns),
              .extracted = extract("features of the data", reference.all(), observer),
              .classes = reference.classes};
  const Extracted extracted = extract("features of real pictures", records.x, observer);
  real = measure(options.metrics, {records, extracted, measured, seed});
}

Comparison::Comparison(const model::Model& model, std::int64_t count, const EvaluationOptions& options) {
  const model::ConditionSpec& spec = model.condition_spec();
  const auto data_seed = static_cast<std::uint64_t>(model.settings().seed);
  const Expected expected{
      .shape = model.space().shape, .count = count, .labels = spec.classes > 0, .numbers = spec.numbers.names};
  const at::NoGradGuard no_grad;
  means_ =
      std::make_unique<Means>(expected, options, model.settings().data, data_seed, options.seed.value_or(data_seed));
}

Comparison::Comparison(const Records& samples, const data::Options& data, const EvaluationOptions& options) {
  const Expected expected{
      .name = samples.name, .shape = samples.shape(), .count = samples.size(), .labels = samples.labels.defined()};
  const at::NoGradGuard no_grad;
  means_ = std::make_unique<Means>(expected, options, data, 0, options.seed.value_or(0));
}

Comparison::Comparison(Comparison&&) noexcept = default;
Comparison::~Comparison() = default;

std::uint64_t Comparison::seed() const { return means_->seed; }

Evaluation Comparison::of(const Records& samples, Observer& observer) {
  const at::NoGradGuard no_grad;
  Means& means = *means_;
  if (samples.labels.defined() && means.reference.classes > 0)
    data::require_labels(samples.labels, means.reference.classes, samples.name + ": labels");
  means.measure_real(observer);
  const Extracted extracted = means.extract("features of samples", samples.x, observer);
  const Reference& reference = means.measured;
  Evaluation e{.samples = measure(means.options.metrics, {samples, extracted, reference, means.seed}),
               .real = *means.real,
               .reference_count = means.reference.size(),
               .real_split = means.split,
               .real_count = means.others.size(),
               .features = means.features->description(),
               .feature_count = reference.extracted.features.size(1),
               .pictures = samples.x.dim() == 4,
               .class_names = means.reference.class_names,
               .seed = means.seed};
  for (const std::int64_t column : means.columns)
    e.condition_names.push_back(means.reference.condition_names[static_cast<std::size_t>(column)]);
  if (const std::int64_t told = reference.extracted.told_classes(); told > 0 && told == reference.classes)
    e.features_accuracy = label_accuracy(reference.extracted.probabilities, reference.records.labels);
  return e;
}

Records draw(const model::Model& model, const model::SampleRequest& request, Observer& observer) {
  model::SampleRequest told = request;
  told.energies = false;
  const std::int64_t batches = (told.count + told.batch - 1) / told.batch,
                     steps = sampling::step_count(told.sampler.value_or(model.settings().sampling),
                                                  model.condition_spec().noise.has_value());
  told.on_step = [&, done = std::int64_t{0}](auto&&...) mutable {
    observer.progress("sampling", ++done, batches * steps);
  };
  return records_of(model, model.sample(told));
}

Records records_of(const model::Model& model, const model::Samples& samples) {
  return {.x = model.space().to_unit(samples.x),
          .labels = samples.condition.classes,
          .conditions = samples.condition.values};
}

Evaluation evaluate(const model::Model& model, std::int64_t count, const EvaluationOptions& options,
                    Observer& observer) {
  Comparison comparison(model, count, options);
  return comparison.of(draw(model, {.count = count, .seed = comparison.seed()}, observer), observer);
}

Evaluation evaluate(const Records& samples, const data::Options& data, const EvaluationOptions& options,
                    Observer& observer) {
  return Comparison(samples, data, options).of(samples, observer);
}

Accuracy classifier_accuracy(const std::filesystem::path& classifier, const data::Options& data, data::Split split,
                             std::uint64_t data_seed) {
  const data::Dataset set = data::load(data, split, data_seed);
  const Extracted extracted = extract_all(*classifier_features(classifier), set.all());
  return {label_accuracy(extracted.probabilities, set.labels), set.size()};
}

}  // namespace igebm::evaluation
