#include "igebm/base/random.h"

#include <algorithm>

#include "igebm/base/philox.h"
#include "igebm/base/random_v4.h"
#include "igebm/base/vector_math.h"

namespace igebm {
namespace {

constexpr std::uint32_t multiplier_0 = 0xD2511F53, multiplier_1 = 0xCD9E8D57;
constexpr std::uint32_t weyl_0 = 0x9E3779B9, weyl_1 = 0xBB67AE85;

constexpr int lanes = 16;  // counters a block; four words each

template <typename T>
struct alignas(64) Lanes {
  T at[lanes];
};

/// Words of 16 successive counters, from philox({first + lane, step, low, high}, key).
struct Words {
  Lanes<std::uint32_t> w0, w1, w2, w3;
};

/// Where a block begins.
struct Counters {
  std::uint32_t first, step, low, high;
  PhiloxKey key;
};

IGEBM_INLINE void philox_block(Counters counters, Words& out) {
  alignas(64) std::uint32_t a[lanes], b[lanes], c[lanes], d[lanes];
  for (int l = 0; l < lanes; ++l) {
    a[l] = counters.first + static_cast<std::uint32_t>(l);
    b[l] = counters.step;
    c[l] = counters.low;
    d[l] = counters.high;
  }
  std::uint32_t key_0 = counters.key[0], key_1 = counters.key[1];
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < lanes; ++l) {
      const std::uint64_t p0 = std::uint64_t{multiplier_0} * a[l], p1 = std::uint64_t{multiplier_1} * c[l];
      const std::uint32_t next_a = static_cast<std::uint32_t>(p1 >> 32) ^ b[l] ^ key_0;
      const std::uint32_t next_c = static_cast<std::uint32_t>(p0 >> 32) ^ d[l] ^ key_1;
      b[l] = static_cast<std::uint32_t>(p1);
      d[l] = static_cast<std::uint32_t>(p0);
      a[l] = next_a;
      c[l] = next_c;
    }
    key_0 += weyl_0;
    key_1 += weyl_1;
  }
  for (int l = 0; l < lanes; ++l) {
    out.w0.at[l] = a[l];
    out.w1.at[l] = b[l];
    out.w2.at[l] = c[l];
    out.w3.at[l] = d[l];
  }
}

// 23 bits and the half are exact in a float; as signed integers they convert in one instruction.
IGEBM_INLINE float to_uniform(std::uint32_t word) {
  return (static_cast<float>(static_cast<std::int32_t>(word >> 9)) + 0.5F) * 0x1p-23F;
}

/// cos and sin of 2 pi u for u in (0, 1), error below 3e-7: reduced to an eighth of the circle on either side of a
/// quarter turn.
IGEBM_INLINE void circle(float u, float& cosine, float& sine) {
  const auto quarter = static_cast<std::int32_t>(u * 4.0F + 0.5F);
  const float angle = (u - static_cast<float>(quarter) * 0.25F) * 6.28318531F, z = angle * angle;
  const float s = angle * (1.0F + z * (-1.0F / 6 + z * (1.0F / 120 + z * (-1.0F / 5040 + z * (1.0F / 362880)))));
  const float c = 1.0F + z * (-0.5F + z * (1.0F / 24 + z * (-1.0F / 720 + z * (1.0F / 40320))));
  const bool swap = (quarter & 1) != 0;
  const auto first = __builtin_bit_cast(std::uint32_t, swap ? s : c);
  const auto second = __builtin_bit_cast(std::uint32_t, swap ? c : s);
  cosine = __builtin_bit_cast(float, first ^ (static_cast<std::uint32_t>((quarter + 1) & 2) << 30));
  sine = __builtin_bit_cast(float, second ^ (static_cast<std::uint32_t>(quarter & 2) << 30));
}

IGEBM_INLINE void box_muller(const Lanes<std::uint32_t>& radial, const Lanes<std::uint32_t>& angular,
                             Lanes<float>& even, Lanes<float>& odd) {
  for (int l = 0; l < lanes; ++l) {
    const float radius = square_root(-2.0F * natural_log(to_uniform(radial.at[l])));
    float cosine = 0, sine = 0;
    circle(to_uniform(angular.at[l]), cosine, sine);
    even.at[l] = radius * cosine;
    odd.at[l] = radius * sine;
  }
}

/// 64 normals: element 4 l + w from word w of counter l, in pairs (0, 1) and (2, 3).
IGEBM_CLONES void normal_block(Counters counters, float* out) {
  Words words;
  philox_block(counters, words);
  Lanes<float> v0, v1, v2, v3;
  box_muller(words.w0, words.w1, v0, v1);
  box_muller(words.w2, words.w3, v2, v3);
  for (int l = 0; l < lanes; ++l) {
    out[4 * l] = v0.at[l];
    out[4 * l + 1] = v1.at[l];
    out[4 * l + 2] = v2.at[l];
    out[4 * l + 3] = v3.at[l];
  }
}

IGEBM_CLONES void uniform_block(Counters counters, float* out) {
  Words words;
  philox_block(counters, words);
  for (int l = 0; l < lanes; ++l) {
    out[4 * l] = to_uniform(words.w0.at[l]);
    out[4 * l + 1] = to_uniform(words.w1.at[l]);
    out[4 * l + 2] = to_uniform(words.w2.at[l]);
    out[4 * l + 3] = to_uniform(words.w3.at[l]);
  }
}

IGEBM_CLONES void bits_block(Counters counters, std::uint32_t* out) {
  Words words;
  philox_block(counters, words);
  for (int l = 0; l < lanes; ++l) {
    out[4 * l] = words.w0.at[l];
    out[4 * l + 1] = words.w1.at[l];
    out[4 * l + 2] = words.w2.at[l];
    out[4 * l + 3] = words.w3.at[l];
  }
}

Counters start(const RandomPlace& place) {
  return {0, place.step, static_cast<std::uint32_t>(place.stream), static_cast<std::uint32_t>(place.stream >> 32),
          philox_key(place.seed, place.purpose)};
}

/// Every element comes from a whole block, the last ones too: the length of the span changes nothing.
template <typename T, typename BlockFunction>
void fill(Counters counters, std::span<T> out, const BlockFunction& block) {
  constexpr std::size_t size = 4 * lanes;
  std::size_t done = 0;
  for (; done + size <= out.size(); done += size) {
    block(counters, out.data() + done);
    counters.first += lanes;
  }
  if (done < out.size()) {
    alignas(64) T rest[size];
    block(counters, rest);
    std::copy(rest, rest + (out.size() - done), out.data() + done);
  }
}

}  // namespace

PhiloxCounter philox(PhiloxCounter c, PhiloxKey key) {
  const PhiloxWords w = philox_words({c[0], c[1], c[2], c[3]}, key[0], key[1]);
  return {w.a, w.b, w.c, w.d};
}

PhiloxKey philox_key(std::uint64_t seed, Purpose purpose) {
  const PhiloxCounter mixed = philox({static_cast<std::uint32_t>(purpose), 0, 0, 0},
                                     {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return {mixed[0], mixed[1]};
}

void random_bits(const RandomPlace& place, std::span<std::uint32_t> out) { fill(start(place), out, bits_block); }
void random_uniform(const RandomPlace& place, std::span<float> out) { fill(start(place), out, uniform_block); }
namespace {

bool wide() {
#if defined(IGEBM_X86_LEVELS)
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  return has;
#else
  return false;
#endif
}

bool is_negated(std::int64_t stream) { return (stream & negated_stream) != 0; }

/// A row of normals; `key` is philox_key of its seed and purpose.
void normal_row(PhiloxKey key, std::uint64_t stream, std::uint32_t step, std::span<float> out) {
  if (is_negated(static_cast<std::int64_t>(stream))) {
    normal_row(key, stream & ~static_cast<std::uint64_t>(negated_stream), step, out);
    for (float& n : out) n = -n;
    return;
  }
  const auto low = static_cast<std::uint32_t>(stream), high = static_cast<std::uint32_t>(stream >> 32);
  if (!wide()) return fill({0, step, low, high, key}, out, normal_block);
  constexpr std::size_t size = 4 * lanes;
  const std::size_t whole = out.size() / size, rest = out.size() % size;
  detail::normals_v4(step, low, high, key[0], key[1], 0, static_cast<std::int64_t>(whole), out.data());
  if (rest == 0) return;
  alignas(64) float last[size];
  detail::normals_v4(step, low, high, key[0], key[1], static_cast<std::int64_t>(whole), 1, last);
  std::copy(last, last + rest, out.data() + whole * size);
}

}  // namespace

void random_normal(const RandomPlace& place, std::span<float> out) {
  normal_row(philox_key(place.seed, place.purpose), place.stream, place.step, out);
}

void random_normal_rows(std::uint64_t seed, Purpose purpose, std::span<const std::int64_t> streams,
                        std::span<const std::int64_t> steps, std::int64_t elements, float* out) {
  constexpr std::int64_t block = std::int64_t{4} * lanes;
  const std::int64_t counters = (elements + 3) / 4;  // of a row
  const PhiloxKey key = philox_key(seed, purpose);
  if (!wide() || elements >= block || std::ranges::any_of(streams, is_negated)) {
    for (std::size_t r = 0; r < streams.size(); ++r) {
      normal_row(key, static_cast<std::uint64_t>(streams[r]), static_cast<std::uint32_t>(steps[r]),
                 {out + static_cast<std::int64_t>(r) * elements, static_cast<std::size_t>(elements)});
    }
    return;
  }
  if (elements == 2 || elements == 4 || elements == 8 || elements == 16 || elements == 32) {
    const auto done = detail::rows_v4(streams.data(), steps.data(), static_cast<std::int64_t>(streams.size()), elements,
                                      key[0], key[1], out);
    streams = streams.subspan(static_cast<std::size_t>(done));
    steps = steps.subspan(static_cast<std::size_t>(done));
    out += done * elements;
  }
  detail::Counters16 c;
  alignas(64) float normals[block];
  const auto rows = static_cast<std::int64_t>(streams.size()), total = rows * counters;
  for (std::int64_t begin = 0, row = 0, counter = 0; begin < total; begin += lanes) {
    const auto here = static_cast<int>(std::min<std::int64_t>(lanes, total - begin));
    const std::int64_t first_row = row, first_counter = counter;
    for (int l = 0; l < here; ++l) {
      const auto stream = static_cast<std::uint64_t>(streams[static_cast<std::size_t>(row)]);
      c.first[l] = static_cast<std::uint32_t>(counter);
      c.step[l] = static_cast<std::uint32_t>(steps[static_cast<std::size_t>(row)]);
      c.low[l] = static_cast<std::uint32_t>(stream);
      c.high[l] = static_cast<std::uint32_t>(stream >> 32);
      if (++counter == counters) counter = 0, ++row;
    }
    if (elements % 4 == 0 && here == lanes) {  // rows follow one another without gaps
      detail::normals_v4(c, key[0], key[1], out + 4 * begin);
      continue;
    }
    detail::normals_v4(c, key[0], key[1], normals);
    std::int64_t to_row = first_row, to = first_counter;
    for (int l = 0; l < here; ++l) {
      const std::int64_t wanted = std::min<std::int64_t>(4, elements - 4 * to);
      for (std::int64_t w = 0; w < wanted; ++w) out[to_row * elements + 4 * to + w] = normals[4 * l + w];
      if (++to == counters) to = 0, ++to_row;
    }
  }
}

double random_uniform(const RandomPlace& place) {
  const PhiloxCounter words =
      philox({0, place.step, static_cast<std::uint32_t>(place.stream), static_cast<std::uint32_t>(place.stream >> 32)},
             philox_key(place.seed, place.purpose));
  const std::uint64_t bits = (static_cast<std::uint64_t>(words[0]) << 20) ^ words[1];
  return (static_cast<double>(bits & ((std::uint64_t{1} << 52) - 1)) + 0.5) * 0x1p-52;
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
