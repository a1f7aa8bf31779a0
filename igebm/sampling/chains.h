#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "igebm/base/enums.h"
#include "igebm/base/random.h"
#include "igebm/sampling/energy_cache.h"

namespace igebm::sampling {

/// What kernels keep beside the chains, such as step sizes, by names that begin with the kernel's: each (N, ...), a row
/// for each chain. Zeros are where every kernel starts, and chains that come without a name have zeros.
using KernelState = std::map<std::string, at::Tensor>;

/// The state of N Markov chains. Goes into a sampler and comes out moved; whoever keeps it can go on later.
struct Chains {
  at::Tensor x;             ///< (N, ...) float
  at::Tensor labels;        ///< (N) int64 classes or (N, F) float conditions, undefined without labels
  at::Tensor stream;        ///< (N) int64: each chain's own stream of random numbers
  at::Tensor steps;         ///< (N) int64: how often each chain has moved, its place in that stream
  at::Tensor fixed = {};    ///< bool, of x's shape or broadcast to it: elements that no kernel moves; undefined: none
  KernelState state = {};   ///< goes with the chains; part of what is saved
  EnergyCache energy = {};  ///< does not: parts and copies of chains know nothing yet

  std::int64_t size() const { return stream.defined() ? stream.size(0) : 0; }
  Chains slice(std::int64_t begin, std::int64_t end) const;  ///< views
  Chains select(const at::Tensor& rows) const;               ///< copies
  Chains to(c10::Device device) const;                       ///< itself where it is there already
  void put(const at::Tensor& rows, const Chains& from);      ///< overwrites rows
  static Chains join(const std::vector<Chains>& parts);

  /// `fixed` for each element of x, contiguous (N, ...) bool; undefined without. Throws UserError where it is not bool
  /// or cannot be broadcast.
  at::Tensor fixed_elements() const;
  /// `moved`, with x in the place of what is fixed.
  at::Tensor held(const at::Tensor& moved) const;
  /// To be called by who has written to x's memory by a pointer.
  void touch() const;
};

/// Standard normal numbers of x's shape, on its device: of each chain's stream, at its place in it or `ahead` of that.
at::Tensor normals_of(const Chains& chains, std::uint64_t seed, Purpose purpose, std::int64_t ahead = 0);

enum class Start {
  uniform,  ///< in [low, high]
  normal,   ///< standard normal
};
inline constexpr std::array start_names = {"uniform", "normal"};
constexpr const auto& names_of(Start) { return start_names; }

/// Where new chains start.
struct StartOptions {
  Start start = Start::uniform;
  double low = 0, high = 1;
};

/// Chains with streams first_stream, first_stream + 1, …, one for each of `count`; x is (count, shape...).
/// labels: of `count` chains, or undefined.
Chains start_chains(const StartOptions&, const std::vector<std::int64_t>& shape, std::int64_t count,
                    std::int64_t first_stream, const at::Tensor& labels, std::uint64_t seed);
/// The same with streams (count) int64 that are given.
Chains start_chains(const StartOptions&, const std::vector<std::int64_t>& shape, const at::Tensor& streams,
                    const at::Tensor& labels, std::uint64_t seed);

}  // namespace igebm::sampling
