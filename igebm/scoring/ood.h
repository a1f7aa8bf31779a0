#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/scoring/ood_sets.h"
#include "igebm/scoring/scorer.h"
#include "igebm/scoring/separation.h"

/// Does a model tell pictures of other sets from those like its own?
namespace igebm::scoring {

/// What is compared. The greater, the odder.
struct OodScore {
  const char* name;
  const char* about;
  bool baseline = false;  ///< needs no network
};
/// "anomaly", the default, is the first.
const std::vector<OodScore>& ood_scores();

struct OodOptions {
  std::vector<std::string> sets = {};  ///< load_set; empty: usual_sets
  std::int64_t count = 1000;           ///< pictures of each set, and of the test split
  std::int64_t usual = 2000;           ///< training pictures, held out if there are such, that scores are fitted on
  std::int64_t pixels = 5000;          ///< training pictures that the Gaussian over pixels is fitted on
  std::int64_t refine = 10;            ///< steps
  ScorerOptions scorer = {};
  const model::Model* background = nullptr;  ///< of the likelihood ratio; null: the Gaussian over pixels
  std::int64_t draws = 1000;                 ///< of the bootstrap
  std::optional<std::uint64_t> seed = {};    ///< of which pictures are taken, of sets that are made, and of draws; 0
};

struct OodSet {
  std::string name, made;
  bool near = false;
  std::int64_t count = 0;
  std::vector<at::Tensor> scores;       ///< (count) each, in ood_scores' order
  std::vector<Separation> separations;  ///< from the test split, likewise
};

struct Ood {
  std::string usual;  ///< which training pictures
  std::int64_t usual_count = 0, test_count = 0;
  std::vector<at::Tensor> test;  ///< scores
  std::vector<OodSet> sets;
  std::vector<std::string> missing;  ///< sets that are not there, and why
  std::uint64_t seed = 0;

  /// The mean AUROC over far or near sets of a score by its place; nothing where there are no such sets.
  std::optional<double> mean_auroc(std::size_t score, bool near) const;
};

/// Scores are fitted on training pictures alone, never on the test split or on other sets. What is missing is said
/// before the work; a set that is not there is named and left out. Throws UserError, also where the model's records
/// are no pictures or none of the sets is there. `observer` is told of progress; it may throw to end the work.
Ood out_of_distribution(const model::Model& model, const OodOptions& options, Observer& observer);

/// Histograms of a score, uint8 (H, W, 3): a row for each set; the test split grey, the set in colour.
at::Tensor histograms(const Ood& ood, std::size_t score);

}  // namespace igebm::scoring
