#include "igebm/base/random.h"

#include <algorithm>
#include <bit>
#include <cmath>

// The same source is compiled for several instruction sets and the best one taken when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define IGEBM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define IGEBM_CLONES
#endif

namespace igebm {
namespace {

constexpr std::uint32_t multiplier_0 = 0xD2511F53, multiplier_1 = 0xCD9E8D57;
constexpr std::uint32_t weyl_0 = 0x9E3779B9, weyl_1 = 0xBB67AE85;

constexpr int lanes = 16;  // counters a block; four words each

/// Words of 16 successive counters: out[w][l] is word w of counter first + l.
struct Block {
  alignas(64) std::uint32_t word[4][lanes];
};

inline __attribute__((always_inline)) void philox_block(std::uint32_t first, std::uint32_t step, std::uint32_t low,
                                                        std::uint32_t high, PhiloxKey key, Block& out) {
  alignas(64) std::uint32_t a[lanes], b[lanes], c[lanes], d[lanes];
  for (int l = 0; l < lanes; ++l) {
    a[l] = first + static_cast<std::uint32_t>(l);
    b[l] = step;
    c[l] = low;
    d[l] = high;
  }
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < lanes; ++l) {
      const std::uint64_t p0 = static_cast<std::uint64_t>(multiplier_0) * a[l],
                          p1 = static_cast<std::uint64_t>(multiplier_1) * c[l];
      const std::uint32_t next_a = static_cast<std::uint32_t>(p1 >> 32) ^ b[l] ^ key[0];
      const std::uint32_t next_c = static_cast<std::uint32_t>(p0 >> 32) ^ d[l] ^ key[1];
      b[l] = static_cast<std::uint32_t>(p1);
      d[l] = static_cast<std::uint32_t>(p0);
      a[l] = next_a;
      c[l] = next_c;
    }
    key[0] += weyl_0;
    key[1] += weyl_1;
  }
  for (int l = 0; l < lanes; ++l) {
    out.word[0][l] = a[l];
    out.word[1][l] = b[l];
    out.word[2][l] = c[l];
    out.word[3][l] = d[l];
  }
}

inline __attribute__((always_inline)) float to_uniform(std::uint32_t word) {
  return (static_cast<float>(word >> 8) + 0.5F) * 0x1p-24F;
}

/// ln x for normal positive x, error below 1e-7 relative to max(|ln x|, 1): x = m 2^e with m in [sqrt(1/2), sqrt(2)),
/// ln m = 2 atanh s with s = (m - 1) / (m + 1).
inline __attribute__((always_inline)) float natural_log(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t shifted = bits - 0x3F3504F3U;  // sqrt(1/2)
  const auto exponent = static_cast<std::int32_t>(shifted) >> 23;
  const auto m = std::bit_cast<float>((shifted & 0x007FFFFFU) + 0x3F3504F3U);
  const float s = (m - 1.0F) / (m + 1.0F), z = s * s;
  const float series = 2.0F * s * (1.0F + z * (1.0F / 3 + z * (1.0F / 5 + z * (1.0F / 7 + z * (1.0F / 9)))));
  return static_cast<float>(exponent) * 0.693147181F + series;
}

/// cos and sin of 2 pi u for u in (0, 1), error below 3e-7: reduced to an eighth of the circle on either side of a
/// quarter turn.
inline __attribute__((always_inline)) void circle(float u, float& cosine, float& sine) {
  const auto quarter = static_cast<std::int32_t>(u * 4.0F + 0.5F);
  const float angle = (u - static_cast<float>(quarter) * 0.25F) * 6.28318531F, z = angle * angle;
  const float s = angle * (1.0F + z * (-1.0F / 6 + z * (1.0F / 120 + z * (-1.0F / 5040 + z * (1.0F / 362880)))));
  const float c = 1.0F + z * (-0.5F + z * (1.0F / 24 + z * (-1.0F / 720 + z * (1.0F / 40320))));
  const bool swap = (quarter & 1) != 0;
  const float first = swap ? s : c, second = swap ? c : s;
  cosine = ((quarter + 1) & 2) != 0 ? -first : first;
  sine = (quarter & 2) != 0 ? -second : second;
}

/// 64 normals: element 4 l + w from word w of counter l, in pairs (0, 1) and (2, 3).
IGEBM_CLONES void normal_block(std::uint32_t first, std::uint32_t step, std::uint32_t low, std::uint32_t high,
                               PhiloxKey key, float* out) {
  Block block;
  philox_block(first, step, low, high, key, block);
  alignas(64) float value[4][lanes];
  for (int pair = 0; pair < 4; pair += 2) {
    for (int l = 0; l < lanes; ++l) {
      const float radius = std::sqrt(-2.0F * natural_log(to_uniform(block.word[pair][l])));
      float cosine = 0, sine = 0;
      circle(to_uniform(block.word[pair + 1][l]), cosine, sine);
      value[pair][l] = radius * cosine;
      value[pair + 1][l] = radius * sine;
    }
  }
  for (int l = 0; l < lanes; ++l) {
    for (int w = 0; w < 4; ++w) out[4 * l + w] = value[w][l];
  }
}

IGEBM_CLONES void uniform_block(std::uint32_t first, std::uint32_t step, std::uint32_t low, std::uint32_t high,
                                PhiloxKey key, float* out) {
  Block block;
  philox_block(first, step, low, high, key, block);
  for (int l = 0; l < lanes; ++l) {
    for (int w = 0; w < 4; ++w) out[4 * l + w] = to_uniform(block.word[w][l]);
  }
}

IGEBM_CLONES void bits_block(std::uint32_t first, std::uint32_t step, std::uint32_t low, std::uint32_t high,
                             PhiloxKey key, std::uint32_t* out) {
  Block block;
  philox_block(first, step, low, high, key, block);
  for (int l = 0; l < lanes; ++l) {
    for (int w = 0; w < 4; ++w) out[4 * l + w] = block.word[w][l];
  }
}

/// Every element comes from a whole block, the last ones too: the length of the span changes nothing.
template <typename T, typename BlockFunction>
void fill(const RandomPlace& place, std::span<T> out, const BlockFunction& block) {
  constexpr std::size_t size = 4 * lanes;
  const PhiloxKey key = philox_key(place.seed, place.purpose);
  const auto low = static_cast<std::uint32_t>(place.stream), high = static_cast<std::uint32_t>(place.stream >> 32);
  std::size_t done = 0;
  for (; done + size <= out.size(); done += size) {
    block(static_cast<std::uint32_t>(done / 4), place.step, low, high, key, out.data() + done);
  }
  if (done < out.size()) {
    alignas(64) T rest[size];
    block(static_cast<std::uint32_t>(done / 4), place.step, low, high, key, rest);
    std::copy(rest, rest + (out.size() - done), out.data() + done);
  }
}

}  // namespace

PhiloxCounter philox(PhiloxCounter c, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = static_cast<std::uint64_t>(multiplier_0) * c[0],
                        p1 = static_cast<std::uint64_t>(multiplier_1) * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += weyl_0;
    key[1] += weyl_1;
  }
  return c;
}

PhiloxKey philox_key(std::uint64_t seed, Purpose purpose) {
  const PhiloxCounter mixed = philox({static_cast<std::uint32_t>(purpose), 0, 0, 0},
                                     {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return {mixed[0], mixed[1]};
}

void random_bits(const RandomPlace& place, std::span<std::uint32_t> out) { fill(place, out, bits_block); }
void random_uniform(const RandomPlace& place, std::span<float> out) { fill(place, out, uniform_block); }
void random_normal(const RandomPlace& place, std::span<float> out) { fill(place, out, normal_block); }

double random_uniform(const RandomPlace& place) {
  const PhiloxCounter words =
      philox({0, place.step, static_cast<std::uint32_t>(place.stream), static_cast<std::uint32_t>(place.stream >> 32)},
             philox_key(place.seed, place.purpose));
  const std::uint64_t bits = (static_cast<std::uint64_t>(words[0]) << 21) ^ words[1];
  return (static_cast<double>(bits & ((std::uint64_t{1} << 53) - 1)) + 0.5) * 0x1p-53;
}

// Lemire 2019: the high word of a 64-bit product, redrawn where it would be biased.
std::int64_t random_index(const RandomPlace& place, std::int64_t bound) {
  const auto n = static_cast<std::uint64_t>(bound);
  const std::uint64_t threshold = (0 - n) % n;
  const PhiloxKey key = philox_key(place.seed, place.purpose);
  for (std::uint32_t attempt = 1;; ++attempt) {
    const PhiloxCounter words = philox(
        {attempt, place.step, static_cast<std::uint32_t>(place.stream), static_cast<std::uint32_t>(place.stream >> 32)},
        key);
    const std::uint64_t bits = (static_cast<std::uint64_t>(words[1]) << 32) | words[0];
    const auto product = static_cast<unsigned __int128>(bits) * n;
    if (static_cast<std::uint64_t>(product) >= threshold) return static_cast<std::int64_t>(product >> 64);
  }
}

}  // namespace igebm
