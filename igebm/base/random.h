#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "igebm/base/philox.h"

/// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
///
/// Every number is a function of (seed, purpose, stream, step, element) and of nothing else, so that a chain gets
/// the same noise alone or in any batch, on one thread or many, before and after a resume.
namespace igebm {

/// What random numbers are for. Two purposes never share a number.
enum class Purpose : std::uint32_t {
  initial_weights = 1,
  langevin_noise = 2,
  chain_start = 3,
  data_order = 4,
  dequantize = 5,
  flow_time = 6,
  flow_noise = 7,
  replay = 8,
  synthetic_data = 9,
  labels = 10,
  augment = 11,
  accept = 12,
  momentum = 13,
  exact_sample = 14,
  dropout = 15,
  noise_level = 16,
  score_noise = 17,
  label_dropout = 18,
  data_noise = 19,  // on data that contrastive divergence compares with samples
  evaluation = 20,
  known_noise = 21,  // of what inpainting knows
  mask = 22,
  resample = 23,        // of groups of chains
  damage = 24,          // done to pictures that are to be restored
  directions = 25,      // that eigenvectors are looked for from
  averaged_noise = 26,  // of Langevin steps, each with the next one's
  attack = 27,          // starts and proposals of attacks on classifiers
  telling = 28,         // under which energies tell classes
};

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

/// The ten rounds of Philox4x32: four random words for each (counter, key).
PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key);

/// The key of all numbers drawn for `purpose` under `seed`.
PhiloxKey philox_key(std::uint64_t seed, Purpose purpose);

/// A place in the stream of numbers: element i of it is word i % 4 of philox({i / 4, step, stream low, stream high},
/// key).
struct RandomPlace {
  std::uint64_t seed = 0;
  Purpose purpose = Purpose::langevin_noise;
  std::uint64_t stream = 0;  ///< the chain's id, or the index of a data record
  std::uint32_t step = 0;    ///< how often the chain has moved
};

/// Raw words; out.size() up to 2^34.
void random_bits(const RandomPlace& place, std::span<std::uint32_t> out);

/// Uniform in the open interval (0, 1): ((word >> 9) + 1/2) * 2^-23, exactly.
void random_uniform(const RandomPlace& place, std::span<float> out);

/// Standard normal by Box-Muller on pairs of words (2j, 2j + 1): elements 2j and 2j + 1 are
/// r cos a and r sin a with r = sqrt(-2 ln u_2j), a = 2 pi u_2j+1. Element i does not depend on out.size(). A stream
/// with the bit negated_stream (philox.h) has the numbers of the stream without it, negated.
void random_normal(const RandomPlace& place, std::span<float> out);

/// random_normal for many streams at once: row r of out (streams.size(), elements) is that of {seed, purpose,
/// streams[r], steps[r]}. Much faster for short rows.
void random_normal_rows(std::uint64_t seed, Purpose purpose, std::span<const std::int64_t> streams,
                        std::span<const std::int64_t> steps, std::int64_t elements, float* out);

/// One uniform number in (0, 1), and one integer in [0, bound) (bound >= 1), for decisions that are not bulk.
double random_uniform(const RandomPlace& place);
std::int64_t random_index(const RandomPlace& place, std::int64_t bound);

}  // namespace igebm
