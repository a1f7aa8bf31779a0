#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/evaluation/quality.h"
#include "igebm/model/model.h"

/// Quality of samples beside that of as many real records.
namespace igebm::evaluation {

/// Samples of the model as records, with what they were asked for.
Records records_of(const model::Model& model, const model::Samples& samples);

/// Samples that the model draws, as records; their energies are not computed. `observer` is told of each step as
/// progress of "sampling"; it may throw to end the work.
Records draw(const model::Model& model, const model::SampleRequest& request, Observer& observer);

struct EvaluationOptions {
  std::vector<std::string> metrics = {"frechet"};  ///< of the table; others of it are told where they can be
  std::vector<std::string> where_enough = {};      ///< likewise, of as many records as they need
  std::string features = {};                       ///< load_features; empty: the usual ones
  data::Split against = data::Split::test;         ///< that samples are compared with: test or train
  /// Of samples that are drawn, of KID's subsets, and of which real records are chosen; empty: the recipe's, or 0.
  std::optional<std::uint64_t> seed = {};
};

struct Evaluation {
  Quality samples;
  Quality real;  ///< of real records of another split, as many where there are: what a perfect model would reach
  std::int64_t reference_count = 0;             ///< records that both are compared with
  data::Split real_split = data::Split::train;  ///< validation where there is no test split
  std::int64_t real_count = 0;                  ///< records in that split, of which some are chosen
  std::string features;                         ///< what they are, in words
  std::int64_t feature_count = 0;
  std::optional<double> features_accuracy = {};  ///< fraction of the reference whose class they tell right
  bool pictures = false;                         ///< or points
  std::vector<std::string> class_names, condition_names;
  std::uint64_t seed = 0;
};

/// All that samples are compared with, read once for any number of them.
class Comparison {
 public:
  /// For `count` samples of the model. Throws UserError for whatever is missing.
  Comparison(const model::Model& model, std::int64_t count, const EvaluationOptions& options);
  /// For such samples, of those data.
  Comparison(const Records& samples, const data::Options& data, const EvaluationOptions& options);
  Comparison(Comparison&&) noexcept;
  ~Comparison();

  /// Of as many samples. The first takes the features of real records, too.
  Evaluation of(const Records& samples, Observer& observer);
  std::uint64_t seed() const;  ///< of the options, or the recipe's

 private:
  struct Means;
  std::unique_ptr<Means> means_;
};

/// Of `count` samples that the model draws by its settings, compared with its data. What is missing is said before they
/// are drawn. `observer` is told of progress; it may throw to end the work. Throws UserError.
Evaluation evaluate(const model::Model& model, std::int64_t count, const EvaluationOptions& options,
                    Observer& observer);

/// Of samples that are there, compared with those data.
Evaluation evaluate(const Records& samples, const data::Options& data, const EvaluationOptions& options,
                    Observer& observer);

struct Accuracy {
  double fraction = 0;  ///< of records whose class is told right
  std::int64_t count = 0;
};

/// Of the classifier in a run's or checkpoint's folder or a .safetensors file.
Accuracy classifier_accuracy(const std::filesystem::path& classifier, const data::Options& data, data::Split split,
                             std::uint64_t data_seed);

}  // namespace igebm::evaluation
