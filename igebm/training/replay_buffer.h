#pragma once

#include "igebm/io/recipe.h"
#include "igebm/nn/network.h"
#include "igebm/sampling/chains.h"

namespace igebm::training {

/// What pictures taken from the buffer go through before Langevin dynamics goes on with them: transitions to other
/// modes of the data that Langevin dynamics does not find (Du, Li, Tenenbaum & Mordatch 2021, section 3.3). The
/// released code does it to all of CIFAR-10's with area 0.08, flip and colour changes of 0.8, for some sets with a blur
/// of 2.
struct ReplayAugmentation {
  double share = 0;   ///< of the pictures that it is done to
  bool flip = false;  ///< mirrored with probability 1/2
  double area = 1;    ///< least share of the area that a resized crop keeps (data/augment.h); 1: none
  double brightness = 0, contrast = 0, saturation = 0;  ///< in [0, 1]
  double blur = 0;                                      ///< greatest standard deviation, pixels, at least 0.1; 0: none
};

void describe(io::Fields& fields, ReplayAugmentation& options);

/// Chains kept between parameter steps (Tieleman 2008; Du & Mordatch 2019), with their labels, streams and steps
/// and what kernels keep beside them.
struct ReplayOptions {
  std::int64_t size = 10000;    ///< chains kept
  double restart_share = 0.05;  ///< of a batch that starts anew
  double data_share = 0;        ///< of a batch that starts from training data
  bool compact = false;         ///< keep pictures as 8-bit numbers over [low, high]: a quarter of the memory
  ReplayAugmentation augment;
};

class ReplayBuffer {
 public:
  /// Every chain starts anew when it is first taken. labels: some, of the chains' type and shape, or undefined. low and
  /// high are black and white, for augmentation and `compact`; throws UserError where one of them is asked for and
  /// these are not finite, or chains to be augmented are no pictures.
  ReplayBuffer(const ReplayOptions& options, const sampling::StartOptions& start,
               const std::vector<std::int64_t>& shape, const at::Tensor& labels = {}, double low = 0, double high = 1);

  /// Bytes of memory for each of the chains, of that shape, and for the order in which they are taken.
  static double bytes_per_chain(const ReplayOptions& options, const std::vector<std::int64_t>& shape);

  struct Taken {
    sampling::Chains chains;
    at::Tensor rows;   ///< (N) int64, where they go back
    at::Tensor fresh;  ///< (N) bool: started anew from noise, so that a flow may bring it near the data first
  };

  /// `data.size(0)` different chains, a function of (seed, step) and the buffer. Those that start anew take the
  /// label of the data in their place and its random stream, first_stream and those that follow (Step::first_chain);
  /// those that start from data also their x. data (N, ...) in the chains' domain.
  Taken take(const at::Tensor& data, const at::Tensor& labels, std::uint64_t seed, std::int64_t step,
             std::int64_t first_stream);
  void put(const Taken& taken);
  /// x of up to `count` chains that are kept beside those taken, at random by (seed, step); may have no rows.
  at::Tensor others(const Taken& taken, std::int64_t count, std::uint64_t seed, std::int64_t step) const;

  nn::Tensors state() const;
  /// Throws UserError where shapes differ. What kernels keep may be missing, as in checkpoints of kernels without any.
  void load(const nn::Tensors& state);

 private:
  at::Tensor pack(const at::Tensor& x) const;
  at::Tensor unpack(const at::Tensor& x) const;
  void augment(const at::Tensor& x, const std::vector<std::int64_t>& rows, std::uint64_t seed, std::int64_t step) const;

  ReplayOptions options_;
  sampling::StartOptions start_;
  double low_, high_;
  sampling::Chains chains_;  // x packed
};

}  // namespace igebm::training
