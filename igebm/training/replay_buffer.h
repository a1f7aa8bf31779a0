#pragma once

#include "igebm/nn/network.h"
#include "igebm/sampling/chains.h"

namespace igebm::training {

/// Chains kept between parameter steps (Tieleman 2008; Du & Mordatch 2019), with their labels, streams and steps.
struct ReplayOptions {
  std::int64_t size = 10000;    ///< chains kept
  double restart_share = 0.05;  ///< of a batch that starts anew
  double data_share = 0;        ///< of a batch that starts from training data
  bool compact = false;         ///< keep pictures as 8-bit numbers over [low, high]: a quarter of the memory
};

class ReplayBuffer {
 public:
  /// Every chain starts anew when it is first taken.
  ReplayBuffer(const ReplayOptions& options, const sampling::StartOptions& start,
               const std::vector<std::int64_t>& shape);

  struct Taken {
    sampling::Chains chains;
    at::Tensor rows;   ///< (N) int64, where they go back
    at::Tensor fresh;  ///< (N) bool: started anew from noise, so that a flow may bring it near the data first
  };

  /// `data.size(0)` different chains, a function of (seed, step) and the buffer. Those that start anew take the
  /// label of the data in their place, and those that start from data also their x. data (N, ...) in the chains'
  /// domain.
  Taken take(const at::Tensor& data, const at::Tensor& labels, std::uint64_t seed, std::int64_t step);
  void put(const Taken& taken);

  nn::Tensors state() const;
  void load(const nn::Tensors& state);  ///< throws UserError where shapes differ

 private:
  at::Tensor pack(const at::Tensor& x) const;
  at::Tensor unpack(const at::Tensor& x) const;

  ReplayOptions options_;
  sampling::StartOptions start_;
  sampling::Chains chains_;  // x packed
  std::int64_t next_stream_ = 0;
};

}  // namespace igebm::training
