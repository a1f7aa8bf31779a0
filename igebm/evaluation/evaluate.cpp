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

/// All that samples are measured with.
struct Means {
  FeaturesPtr features;
  data::Dataset reference;
  data::Dataset others;                    ///< of another split: real records to set beside the samples
  at::Tensor chosen;                       ///< of these, as many as there are samples
  data::Split split = data::Split::train;  ///< theirs
  std::vector<std::int64_t> columns;       ///< of the data's conditions, that samples are asked for
};

void load_real(Means& means, const EvaluationOptions& options, const data::Options& data, std::uint64_t data_seed) {
  const bool against_test = options.against == data::Split::test;
  means.reference = data::load(data, options.against, data_seed);
  means.split = against_test ? data::Split::train : data::Split::test;
  try {
    means.others = data::load(data, means.split, data_seed);
  } catch (const UserError&) {
    // A set without a test split: what training has held out is as good.
    if (against_test || data.validation == 0) throw;
    means.split = data::Split::validation;
    means.others = data::load(data, means.split, data_seed);
  }
}

/// Whatever can be refused is refused here, before samples are drawn.
Means prepare(const Expected& samples, const EvaluationOptions& options, const data::Options& data,
              std::uint64_t data_seed, std::uint64_t seed) {
  std::vector<const Metric*> asked;
  for (const std::string& name : options.metrics) asked.push_back(&find_metric(name));
  for (const Metric* metric : asked) check_count(*metric, samples.count, samples.name);
  Means means;
  means.features = features_or_usual(options.features, data, samples.shape.size() == 3);
  const Extracted one = means.features->extract(at::zeros(samples.shape).unsqueeze(0));
  load_real(means, options, data, data_seed);
  if (means.reference.shape() != samples.shape)
    throw UserError(fmt::format("samples and {} are of different shapes", data.name));
  const Given given{.told_classes = one.told_classes(),
                    .classes = means.reference.classes,
                    .labels = samples.labels,
                    .asked_numbers = !samples.numbers.empty()};
  const std::int64_t floor_count = std::min(samples.count, means.others.size());
  for (const Metric* metric : asked) {
    check_needs(*metric, given);
    check_count(*metric, floor_count, fmt::format("{}'s {} split", data.name, name_of(means.split)));
  }
  means.columns = means.reference.condition_columns(samples.numbers);
  means.chosen = choose(means.others.size(), floor_count, seed, ~std::uint64_t{0});
  return means;
}

Evaluation measure_both(const Records& samples, const Means& means, const EvaluationOptions& options,
                        std::uint64_t seed, Observer& observer) {
  const auto extract = [&](const char* whose, const at::Tensor& x) {
    return extract_all(*means.features, x, 250, [&](std::int64_t done, std::int64_t total) {
      if (done < total) observer.progress(whose, done, total);
    });
  };
  Records real = records_of(means.others, means.chosen, means.columns);
  if (!samples.labels.defined()) real.labels = at::Tensor();
  const Reference reference{.records = records_of(means.reference, {}, means.columns),
                            .extracted = extract("features of the data", means.reference.all()),
                            .classes = means.reference.classes};
  const Extracted of_samples = extract("features of samples", samples.x);
  const Extracted of_real = extract("features of real pictures", real.x);
  Evaluation e{.samples = measure(options.metrics, {samples, of_samples, reference, seed}),
               .real = measure(options.metrics, {real, of_real, reference, seed}),
               .reference_count = means.reference.size(),
               .real_split = means.split,
               .real_count = means.others.size(),
               .features = means.features->description(),
               .feature_count = reference.extracted.features.size(1),
               .pictures = samples.x.dim() == 4,
               .class_names = means.reference.class_names,
               .seed = seed};
  for (const std::int64_t column : means.columns)
    e.condition_names.push_back(means.reference.condition_names[static_cast<std::size_t>(column)]);
  if (const std::int64_t told = reference.extracted.told_classes(); told > 0 && told == reference.classes)
    e.features_accuracy = label_accuracy(reference.extracted.probabilities, reference.records.labels);
  return e;
}

Records draw(const model::Model& model, std::int64_t count, std::uint64_t seed, Observer& observer) {
  model::SampleRequest request{.count = count, .seed = seed, .energies = false};
  const std::int64_t batches = (count + request.batch - 1) / request.batch;
  const std::int64_t steps = sampling::step_count(model.settings().sampling, model.condition_spec().noise.has_value());
  request.on_step = [&, done = std::int64_t{0}](auto&&...) mutable {
    observer.progress("sampling", ++done, batches * steps);
  };
  return records_of(model, model.sample(request));
}

}  // namespace

Records records_of(const model::Model& model, const model::Samples& samples) {
  return {.x = model.space().to_unit(samples.x),
          .labels = samples.condition.classes,
          .conditions = samples.condition.values};
}

Evaluation evaluate(const model::Model& model, std::int64_t count, const EvaluationOptions& options,
                    Observer& observer) {
  const at::NoGradGuard no_grad;
  const model::ConditionSpec& spec = model.condition_spec();
  const auto data_seed = static_cast<std::uint64_t>(model.settings().seed);
  const std::uint64_t seed = options.seed.value_or(data_seed);
  const Expected expected{
      .shape = model.space().shape, .count = count, .labels = spec.classes > 0, .numbers = spec.numbers.names};
  const Means means = prepare(expected, options, model.settings().data, data_seed, seed);
  return measure_both(draw(model, count, seed, observer), means, options, seed, observer);
}

Evaluation evaluate(const Records& samples, const data::Options& data, const EvaluationOptions& options,
                    Observer& observer) {
  const at::NoGradGuard no_grad;
  const std::uint64_t seed = options.seed.value_or(0);
  const Expected expected{
      .name = samples.name, .shape = samples.shape(), .count = samples.size(), .labels = samples.labels.defined()};
  const Means means = prepare(expected, options, data, 0, seed);
  if (samples.labels.defined() && means.reference.classes > 0)
    data::require_labels(samples.labels, means.reference.classes, samples.name + ": labels");
  return measure_both(samples, means, options, seed, observer);
}

Accuracy classifier_accuracy(const std::filesystem::path& classifier, const data::Options& data, data::Split split,
                             std::uint64_t data_seed) {
  const data::Dataset set = data::load(data, split, data_seed);
  const Extracted extracted = extract_all(*classifier_features(classifier), set.all());
  return {label_accuracy(extracted.probabilities, set.labels), set.size()};
}

}  // namespace igebm::evaluation
