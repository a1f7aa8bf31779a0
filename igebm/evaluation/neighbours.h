#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/evaluation/features.h"
#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/records.h"
#include "igebm/model/model.h"

/// Are samples copies of training pictures? The nearest ones of each, and how near to them real pictures are that
/// training has not seen.
namespace igebm::evaluation {

struct Nearest {
  at::Tensor distances;  ///< (N, K) double, ascending: roots of sums of squared differences
  at::Tensor records;    ///< (N, K) int64; of equally near ones, any
  at::Tensor views;      ///< (N, K) int64: in which of their views they are so near
};

/// The `count` records that are nearest to each row of x (N, ...). Each of `views` is (M, ...), and its row i shows
/// record i (as it is, mirrored); a record's distance is the least of its views'. All bytes, which are divided by 255,
/// or all floating point. Every pair is computed, in double, a part at a time; `progress` hears of rows of x. Throws
/// UserError where rows differ in size, or `count` is not from 1 to M.
Nearest nearest_records(const at::Tensor& x, const std::vector<at::Tensor>& views, std::int64_t count,
                        const Progress& progress = {});

struct NeighbourOptions {
  std::int64_t samples = 200;  ///< drawn, of a model; of held-out pictures as many, where there are: 20 at least
  std::int64_t nearest = 5;    ///< training pictures for each
  std::string features = {};   ///< load_features; empty: pixels alone
  data::Split held_out = data::Split::test;  ///< test, or validation
  std::optional<std::uint64_t> seed = {};    ///< of samples and of which pictures are taken; empty: the recipe's, or 0
};

/// How near samples and held-out pictures are to training pictures, in pixels or in features.
struct Nearness {
  std::string in;                                  ///< "pixels" or the features' description
  Nearest samples, held_out;                       ///< K >= 2
  double samples_median = 0, held_out_median = 0;  ///< of distances to the nearest
  RankTest test = {};                              ///< that samples are nearer: p is small where they are
  double quantile = 0;                             ///< of held-out pictures' distances, 1 %
  double below = 0;                                ///< fraction of samples nearer than that
  /// Fractions whose nearest picture is within a third of the distance of the second nearest: copies, by the measure of
  /// Yoon et al. 2023 (as in Gu et al. 2023, arXiv:2310.02664).
  double copies = 0, held_out_copies = 0;
};

struct Neighbours {
  Records samples;                        ///< as bytes
  at::Tensor training;                    ///< uint8 (M, C, H, W)
  bool mirrored = false;                  ///< training pictures count mirrored as well
  data::Split split = data::Split::test;  ///< of the held-out pictures: validation where there is no test split
  std::int64_t held_out = 0;              ///< how many
  std::int64_t nearest = 0;               ///< asked for
  std::uint64_t seed = 0;
  std::vector<Nearness> in;  ///< pixels, then features if given
};

/// Of samples that the model draws by its settings. Training pictures are those of its data, less those held out for
/// validation, mirrored too where `data.flip` is on. Held-out pictures have the samples' classes where both have any.
/// What is missing is said before samples are drawn. `observer` is told of progress; it may throw to end the work.
/// Throws UserError, also where the records are no pictures.
Neighbours neighbours(const model::Model& model, const NeighbourOptions& options, Observer& observer);

/// Of samples that are there, and those data.
Neighbours neighbours(const Records& samples, const data::Options& data, const NeighbourOptions& options,
                      Observer& observer);

/// The first `count` samples as rows of a picture, uint8 (H, W, C): the sample and its nearest training pictures, as
/// they are so near; in pixels, and beside that in features.
at::Tensor picture_of(const Neighbours& neighbours, std::int64_t count);

}  // namespace igebm::evaluation
