#pragma once

#include <cstdint>

/// Functions of one float without branches or library calls, so that loops over them become vectors.

// IGEBM_CLONES before a function: its source is compiled for several instruction sets and the best one taken when the
// program starts.
#if defined(IGEBM_X86_LEVELS) && defined(__GNUC__) && !defined(__clang__)
#define IGEBM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define IGEBM_CLONES
#endif
#define IGEBM_INLINE inline __attribute__((always_inline))

namespace igebm {

/// ln x for normal positive x, error below 1e-7 max(|ln x|, 1): x = m 2^e with m in [sqrt(1/2), sqrt(2)),
/// ln m = 2 atanh s with s = (m - 1) / (m + 1).
IGEBM_INLINE float natural_log(float x) {
  const auto shifted = __builtin_bit_cast(std::uint32_t, x) - 0x3F3504F3U;  // sqrt(1/2)
  const auto exponent = static_cast<std::int32_t>(shifted) >> 23;
  const auto m = __builtin_bit_cast(float, (shifted & 0x007FFFFFU) + 0x3F3504F3U);
  const float s = (m - 1.0F) / (m + 1.0F), z = s * s;
  const float series = 2.0F * s * (1.0F + z * (1.0F / 3 + z * (1.0F / 5 + z * (1.0F / 7 + z * (1.0F / 9)))));
  return static_cast<float>(exponent) * 0.693147181F + series;
}

/// sqrt x for 0 <= x < 1e37, to the last bit or the one before: two Newton steps for 1 / sqrt x and one for the root.
/// The library's would set errno, and so keep the loop from becoming vectors.
IGEBM_INLINE float square_root(float x) {
  float r = __builtin_bit_cast(float, 0x5F375A86U - (__builtin_bit_cast(std::uint32_t, x) >> 1));
  r *= 1.5F - 0.5F * x * r * r;
  r *= 1.5F - 0.5F * x * r * r;
  const float root = x * r;
  return root + 0.5F * r * (x - root * root);
}

/// exp x, relative error below 3e-7; x beyond +-87 as if it were there.
IGEBM_INLINE float exponential(float x) {
  x = x > 87.0F ? 87.0F : x;
  x = x < -87.0F ? -87.0F : x;
  const float shifted = x * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the sum's low bits are the rounded integer
  const auto n = static_cast<std::int32_t>(__builtin_bit_cast(std::uint32_t, shifted) << 23);
  const float whole = shifted - 12582912.0F;
  const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  const float p = ((((1.9875691500e-4F * r + 1.3981999507e-3F) * r + 8.3334519073e-3F) * r + 4.1665795894e-2F) * r +
                   1.6666665459e-1F) *
                      r +
                  5.0000001201e-1F;
  return __builtin_bit_cast(float,
                            static_cast<std::int32_t>(__builtin_bit_cast(std::uint32_t, p * r * r + r + 1.0F)) + n);
}

}  // namespace igebm
