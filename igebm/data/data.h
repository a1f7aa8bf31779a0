#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "igebm/io/recipe.h"

namespace igebm::data {

/// Records as they are stored: pixels are bytes until a batch is made of them.
struct Dataset {
  at::Tensor x;       ///< pictures: uint8 (N, C, H, W); points: float (N, D)
  at::Tensor labels;  ///< (N) int64, undefined if there are none
  std::int64_t classes = 0;
  std::vector<std::string> class_names;
};

struct Options {
  std::string name = "fashion-mnist";  ///< see sets()
  std::string path;                    ///< its folder; empty: where it is usually installed
  double low = 0, high = 1;            ///< what black and white become
  bool dequantize = true;              ///< (pixel + u) / 256 with u uniform, else pixel / 255
  bool flip = false;                   ///< each picture mirrored with probability 1/2
  double validation = 0.05;            ///< share of the training records held out
  std::int64_t count = 0;              ///< of records used; 0: all (2-D sets: 20,000)
  double noise = 0.05;                 ///< of 2-D sets, standard deviation
};

enum class Split { train, validation, test };

void describe(io::Fields& fields, Options& options);

/// Throws UserError that names a field out of its range.
void check(const Options& options);

/// Throws UserError: unknown name (with the nearest), missing or damaged files (with what was expected where).
Dataset load(const Options& options, Split split, std::uint64_t seed);

/// One line in the table of known sets; adding a set is a file with a loader, and such a line in sets.cpp.
struct Set {
  const char* name;
  const char* about;
  /// The whole official split; validation is cut from training by load().
  std::function<Dataset(const Options&, bool test, std::uint64_t seed)> read;
};
const std::vector<Set>& sets();

struct Batch {
  at::Tensor x;       ///< float (N, ...), pictures in [low, high]
  at::Tensor labels;  ///< (N) int64 or undefined
  at::Tensor index;   ///< (N) int64, which records
};

/// Shuffled batches without state: the batch of a step is a function of (seed, step), so a resume needs nothing.
/// Used from one thread at a time.
class Batches {
 public:
  Batches(Dataset dataset, const Options& options, std::uint64_t seed);

  /// The `size` records of step `step` >= 0. Every epoch is a permutation of all records; a batch may reach into the
  /// next epoch. Pixels stay inside their own level's bin. Sizes must not change between steps that are to be epochs
  /// together.
  Batch at(std::int64_t step, std::int64_t size) const;
  /// Records as they come, with dequantisation of epoch 0.
  Batch first(std::int64_t count) const;

  std::vector<std::int64_t> shape() const;  ///< of one record
  std::int64_t size() const;
  double extent() const;  ///< greatest |x| of points; max(|low|, |high|) of pictures

 private:
  Batch make(const std::vector<std::int64_t>& records, const std::vector<std::int64_t>& epochs) const;
  const std::vector<std::int64_t>& order(std::int64_t epoch) const;

  Dataset dataset_;
  Options options_;
  std::uint64_t seed_;
  mutable std::int64_t cached_epoch_[2] = {-1, -1};  // of the two orders at hand
  mutable std::vector<std::int64_t> cached_order_[2];
};

}  // namespace igebm::data
