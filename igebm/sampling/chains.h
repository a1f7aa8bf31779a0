#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace igebm::sampling {

/// The state of N Markov chains. Goes into a sampler and comes out moved; whoever keeps it can go on later.
struct Chains {
  at::Tensor x;       ///< (N, ...) float
  at::Tensor labels;  ///< (N) int64 classes or (N, F) float conditions, undefined without labels
  at::Tensor stream;  ///< (N) int64: each chain's own stream of random numbers
  at::Tensor steps;   ///< (N) int64: how often each chain has moved, its place in that stream

  std::int64_t size() const { return stream.defined() ? stream.size(0) : 0; }
  Chains slice(std::int64_t begin, std::int64_t end) const;    ///< views
  Chains select(const at::Tensor& rows) const;                 ///< copies
  Chains to(c10::Device device) const;                         ///< itself where it is there already
  void put(const at::Tensor& rows, const Chains& from) const;  ///< overwrites rows
  static Chains join(const std::vector<Chains>& parts);
};

/// Where new chains start.
struct StartOptions {
  std::string start = "uniform";  ///< "uniform" in [low, high], or "normal" (standard normal)
  double low = 0, high = 1;
};

/// Chains with streams first_stream, first_stream + 1, …, one for each of `count`; x is (count, shape...).
/// labels: of `count` chains, or undefined.
Chains start_chains(const StartOptions&, const std::vector<std::int64_t>& shape, std::int64_t count,
                    std::int64_t first_stream, const at::Tensor& labels, std::uint64_t seed);

}  // namespace igebm::sampling
