#pragma once

#include <cmath>
#include <cstdint>

/// The words and normals of random.h for one counter at a time, in plain C++ that the host's and the device's compilers
/// read alike: what a CUDA kernel draws is what random_bits gives, and random_normal's numbers up to rounding.
#ifdef __CUDACC__
#define IGEBM_HOST_DEVICE __host__ __device__ inline
#else
#define IGEBM_HOST_DEVICE inline
#endif

namespace igebm {

struct PhiloxWords {
  std::uint32_t a, b, c, d;
};

/// A stream with this bit has the normal numbers of the stream without it, negated: antithetic variates (Hammersley &
/// Morton 1956), whose mean errs less than that of numbers of their own. Words and uniform numbers know nothing of it.
inline constexpr std::int64_t negated_stream = std::int64_t{1} << 62;

/// The ten rounds of Philox4x32 (Salmon et al. 2011) on counter (a, b, c, d) under the key (key_0, key_1).
IGEBM_HOST_DEVICE PhiloxWords philox_words(PhiloxWords w, std::uint32_t key_0, std::uint32_t key_1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * w.a, p1 = std::uint64_t{0xCD9E8D57} * w.c;
    w = {static_cast<std::uint32_t>(p1 >> 32) ^ w.b ^ key_0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ w.d ^ key_1, static_cast<std::uint32_t>(p0)};
    key_0 += 0x9E3779B9;
    key_1 += 0xBB67AE85;
  }
  return w;
}

/// Elements 4 counter to 4 counter + 3 of a chain's words at a step: random.h's layout of the counter.
IGEBM_HOST_DEVICE PhiloxWords philox_at(std::uint32_t counter, std::int64_t stream, std::int64_t step,
                                        std::uint32_t key_0, std::uint32_t key_1) {
  const auto id = static_cast<std::uint64_t>(stream);
  return philox_words(
      {counter, static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(id), static_cast<std::uint32_t>(id >> 32)},
      key_0, key_1);
}

/// ((word >> 9) + 1/2) 2^-23, exactly.
IGEBM_HOST_DEVICE float philox_uniform(std::uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5F) * (1.0F / 8388608.0F);
}

/// Box-Muller on two words: r cos a and r sin a. The angle is reduced to an eighth of the circle on either side of a
/// quarter turn, as in random.cpp: no slow path, and the same result with any mathematical library.
IGEBM_HOST_DEVICE void philox_normals(std::uint32_t radial, std::uint32_t angular, float& even, float& odd) {
  const float radius = std::sqrt(-2.0F * std::log(philox_uniform(radial))), u = philox_uniform(angular);
  const int quarter = static_cast<int>(u * 4.0F + 0.5F);
  const float angle = (u - static_cast<float>(quarter) * 0.25F) * 6.28318531F, z = angle * angle;
  const float s = angle * (1.0F + z * (-1.0F / 6 + z * (1.0F / 120 + z * (-1.0F / 5040 + z * (1.0F / 362880)))));
  const float c = 1.0F + z * (-0.5F + z * (1.0F / 24 + z * (-1.0F / 720 + z * (1.0F / 40320))));
  const bool swap = (quarter & 1) != 0;
  const float first = swap ? s : c, second = swap ? c : s;
  even = radius * (((quarter + 1) & 2) != 0 ? -first : first);
  odd = radius * ((quarter & 2) != 0 ? -second : second);
}

}  // namespace igebm
