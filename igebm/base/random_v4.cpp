// The normals of random.h with AVX-512: 64 a block, from 16 counters at once. Compiled for x86-64-v4; random.cpp calls
// it where the processor has that. Intrinsics, because compilers make the products of Philox twice as long.
#include "igebm/base/random_v4.h"

#include <immintrin.h>

#include "igebm/base/vector_math.h"

namespace igebm::detail {
namespace {

IGEBM_INLINE __m512 fma(__m512 a, __m512 b, float c) { return _mm512_fmadd_ps(a, b, _mm512_set1_ps(c)); }
IGEBM_INLINE __m512i whole(std::uint32_t word) { return _mm512_set1_epi32(static_cast<int>(word)); }

/// Of the 32 parts of [1, 2): 1 / the middle, and -2 (ln middle - ln 2). The last is exact at 2, where ln u goes to 0.
alignas(64) constexpr float inverse_of_part[32] = {
    9.846153855e-01F, 9.552238584e-01F, 9.275362492e-01F, 9.014084339e-01F, 8.767123222e-01F, 8.533333540e-01F,
    8.311688304e-01F, 8.101266026e-01F, 7.901234627e-01F, 7.710843086e-01F, 7.529411912e-01F, 7.356321812e-01F,
    7.191011310e-01F, 7.032967210e-01F, 6.881720424e-01F, 6.736842394e-01F, 6.597937942e-01F, 6.464646459e-01F,
    6.336633563e-01F, 6.213592291e-01F, 6.095238328e-01F, 5.981308222e-01F, 5.871559381e-01F, 5.765765905e-01F,
    5.663716793e-01F, 5.565217137e-01F, 5.470085740e-01F, 5.378151536e-01F, 5.289255977e-01F, 5.203251839e-01F,
    5.120000243e-01F, 5.000000000e-01F};
alignas(64) constexpr float log_of_part[32] = {
    1.355286002e+00F, 1.294675231e+00F, 1.235847592e+00F, 1.178700686e+00F, 1.123141646e+00F, 1.069084406e+00F,
    1.016449690e+00F, 9.651648998e-01F, 9.151622057e-01F, 8.663792610e-01F, 8.187580705e-01F, 7.722442746e-01F,
    7.267878056e-01F, 6.823415756e-01F, 6.388615370e-01F, 5.963068008e-01F, 5.546385050e-01F, 5.138208270e-01F,
    4.738194644e-01F, 4.346025586e-01F, 3.961398900e-01F, 3.584027886e-01F, 3.213646710e-01F, 2.850001752e-01F,
    2.492848784e-01F, 2.141961753e-01F, 1.797127575e-01F, 1.458136439e-01F, 1.124793515e-01F, 7.969174534e-02F,
    4.743314907e-02F, 0.000000000e+00F};

IGEBM_INLINE __m512 of_part(const float* table, __m512i part) {
  return _mm512_permutex2var_ps(_mm512_load_ps(table), part, _mm512_load_ps(table + 16));
}

/// sqrt(-2 ln u), error below 5e-7: u = m 2^(e - 1) with m in [1, 2), m = (1 + f) middle, and three terms of ln(1 + f).
IGEBM_INLINE __m512 radius_of(__m512i word) {
  const __m512 twice = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(word, 9)), _mm512_set1_ps(0x1p-22F),
                                       _mm512_set1_ps(0x1p-23F));  // 2 u, exactly
  const __m512i part = _mm512_srli_epi32(_mm512_castps_si512(twice), 18);
  const __m512 m = _mm512_getmant_ps(twice, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
  const __m512 f = _mm512_fmsub_ps(m, of_part(inverse_of_part, part), _mm512_set1_ps(1.0F)), z = _mm512_mul_ps(f, f);
  __m512 t = _mm512_fmadd_ps(_mm512_getexp_ps(twice), _mm512_set1_ps(-1.38629436F), of_part(log_of_part, part));
  t = _mm512_fmadd_ps(z, fma(f, _mm512_set1_ps(-2.0F / 3), 1.0F), t);
  t = _mm512_fmadd_ps(f, _mm512_set1_ps(-2.0F), t);
  const __m512 r = _mm512_rsqrt14_ps(t), root = _mm512_mul_ps(t, r);
  return _mm512_fmadd_ps(_mm512_mul_ps(r, _mm512_set1_ps(0.5F)), _mm512_fnmadd_ps(root, root, t), root);
}

/// r cos a and r sin a: a is an angle of at most an eighth of the circle (its sine and cosine are Cephes') beside a
/// quarter turn, of which the words' upper two bits tell after an eighth has been added.
IGEBM_INLINE void box_muller(__m512i radial, __m512i angular, __m512& even, __m512& odd) {
  const __m512 radius = radius_of(radial);
  const __m512i turned = _mm512_add_epi32(angular, whole(0x20000000)),
                next = _mm512_add_epi32(turned, whole(0x40000000));
  const __m512 within = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_srli_epi32(turned, 9), whole(0x001FFFFF),
                                                                      whole(0x3F800000), 0xEA));  // (x & y) | z
  const __m512 angle = fma(_mm512_sub_ps(within, _mm512_set1_ps(1.125F)), _mm512_set1_ps(6.28318531F), 3.74507028e-7F);
  const __m512 z = _mm512_mul_ps(angle, angle);
  __m512 s = fma(_mm512_set1_ps(-1.9515295891e-4F), z, 8.3321608736e-3F);
  s = fma(s, z, -1.6666654611e-1F);
  s = _mm512_fmadd_ps(s, _mm512_mul_ps(angle, z), angle);
  __m512 c = fma(_mm512_set1_ps(2.443315711809948e-5F), z, -1.388731625493765e-3F);
  c = fma(c, z, 4.166664568298827e-2F);
  c = fma(c, z, -0.5F);
  c = fma(c, z, 1.0F);
  const __mmask16 swap = _mm512_test_epi32_mask(turned, whole(0x40000000));
  const __m512 cosine = _mm512_mask_blend_ps(swap, c, s), sine = _mm512_mask_blend_ps(swap, s, c);
  const auto negative_if = [](__m512 v, __m512i sign) {
    return _mm512_castsi512_ps(
        _mm512_ternarylogic_epi32(_mm512_castps_si512(v), sign, whole(0x80000000), 0x78));  // x ^ (y & z)
  };
  even = negative_if(_mm512_mul_ps(radius, cosine), next);
  odd = negative_if(_mm512_mul_ps(radius, sine), turned);
}

/// Eight counters' words, each in the low half of 64 bits, so that a product needs no shuffles; what is in the high
/// halves does not matter.
struct Eight {
  __m512i a, b, c, d;
};

struct Key {
  std::uint32_t k0, k1;
  IGEBM_INLINE void advance() { k0 += 0x9E3779B9, k1 += 0xBB67AE85; }
};

IGEBM_INLINE __m512i product_0(__m512i a) { return _mm512_mul_epu32(a, _mm512_set1_epi64(0xD2511F53)); }
IGEBM_INLINE __m512i product_1(__m512i c) { return _mm512_mul_epu32(c, _mm512_set1_epi64(0xCD9E8D57)); }
IGEBM_INLINE __m512i either(__m512i x, __m512i y, __m512i z) { return _mm512_ternarylogic_epi32(x, y, z, 0x96); }

IGEBM_INLINE void philox_round(Eight& w, Key& key) {
  const __m512i p0 = product_0(w.a), p1 = product_1(w.c);
  w.a = either(_mm512_srli_epi64(p1, 32), w.b, whole(key.k0));
  w.c = either(_mm512_srli_epi64(p0, 32), w.d, whole(key.k1));
  w.b = p1;
  w.d = p0;
  key.advance();
}

/// The first two rounds, of counters that differ in a alone: half of what they do is the same for all.
IGEBM_INLINE Eight two_rounds(__m512i counter, std::uint32_t b, std::uint32_t c, std::uint32_t d, Key& key) {
  const __m512i p0 = product_0(counter);
  const std::uint64_t q1 = std::uint64_t{0xCD9E8D57} * c;
  const std::uint32_t a = static_cast<std::uint32_t>(q1 >> 32) ^ b ^ key.k0;
  const std::uint64_t q0 = std::uint64_t{0xD2511F53} * a;
  const __m512i p1 = product_1(_mm512_xor_si512(_mm512_srli_epi64(p0, 32), whole(d ^ key.k1)));
  key.advance();
  const Eight w{_mm512_xor_si512(_mm512_srli_epi64(p1, 32), whole(static_cast<std::uint32_t>(q1) ^ key.k0)), p1,
                _mm512_xor_si512(p0, whole(static_cast<std::uint32_t>(q0 >> 32) ^ key.k1)),
                whole(static_cast<std::uint32_t>(q0))};
  key.advance();
  return w;
}

IGEBM_INLINE __m512i low_and_high(__m512i low, __m512i high) { return _mm512_mask_blend_epi32(0xAAAA, low, high); }
IGEBM_INLINE __m512i upwards(__m512i low) { return _mm512_slli_epi64(low, 32); }

/// 32 normals: those of the counters in even 64-bit lanes, then those in odd ones. `rounds` have been done of ten.
template <int rounds>
IGEBM_INLINE void finish(Eight w, Key key, float* out) {
#pragma GCC unroll 9
  for (int round = rounds; round < 9; ++round) philox_round(w, key);
  // The last round, whose words a and c, b and d come out side by side.
  const __m512i p0 = product_0(w.a), p1 = product_1(w.c);
  const __m512i keys = _mm512_set1_epi64(static_cast<std::int64_t>(std::uint64_t{key.k1} << 32 | key.k0));
  const __m512i radial = either(low_and_high(_mm512_srli_epi64(p1, 32), p0), low_and_high(w.b, upwards(w.d)), keys);
  __m512 even, odd;
  box_muller(radial, low_and_high(p1, upwards(p0)), even, odd);
  _mm512_storeu_ps(out, _mm512_unpacklo_ps(even, odd));
  _mm512_storeu_ps(out + 16, _mm512_unpackhi_ps(even, odd));
}

/// Which of 16 counters the 64-bit lanes take, so that normals come out in order: 0 4 1 5 2 6 3 7, and 8 more.
IGEBM_INLINE __m512i in_lanes(int first) {
  return _mm512_add_epi64(_mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), _mm512_set1_epi64(first));
}

IGEBM_INLINE Eight taken(__m512i which, __m512i a, __m512i b, __m512i c, __m512i d) {
  return {_mm512_permutexvar_epi32(which, a), _mm512_permutexvar_epi32(which, b), _mm512_permutexvar_epi32(which, c),
          _mm512_permutexvar_epi32(which, d)};
}

/// 64 normals of any 16 counters.
IGEBM_INLINE void block(__m512i a, __m512i b, __m512i c, __m512i d, Key key, float* out) {
  finish<0>(taken(in_lanes(0), a, b, c, d), key, out);
  finish<0>(taken(in_lanes(8), a, b, c, d), key, out + 32);
}

/// The first two normals alone of each of 16 counters.
IGEBM_INLINE void pairs(__m512i a, __m512i b, __m512i c, __m512i d, Key key, float* out) {
  const __m512i even_rows = _mm512_set_epi64(14, 6, 12, 4, 10, 2, 8, 0);
  Eight first = taken(even_rows, a, b, c, d),
        second = taken(_mm512_add_epi64(even_rows, _mm512_set1_epi64(1)), a, b, c, d);
  Key same = key;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) philox_round(first, key), philox_round(second, same);
  __m512 even, odd;
  box_muller(low_and_high(first.a, upwards(second.a)), low_and_high(first.b, upwards(second.b)), even, odd);
  _mm512_storeu_ps(out, _mm512_unpacklo_ps(even, odd));
  _mm512_storeu_ps(out + 16, _mm512_unpackhi_ps(even, odd));
}

}  // namespace

void normals_v4(std::uint32_t step, std::uint32_t low, std::uint32_t high, std::uint32_t key_0, std::uint32_t key_1,
                std::int64_t first_block, std::int64_t blocks, float* out) {
  for (std::int64_t i = first_block; i < first_block + blocks; ++i) {
    const __m512i first = whole(static_cast<std::uint32_t>(16 * i));
    for (int half = 0; half < 16; half += 8, out += 32) {
      Key key{key_0, key_1};
      const Eight begun = two_rounds(_mm512_add_epi32(first, in_lanes(half)), step, low, high, key);
      finish<2>(begun, key, out);
    }
  }
}

void normals_v4(const Counters16& from, std::uint32_t key_0, std::uint32_t key_1, float* out) {
  block(_mm512_load_si512(from.first), _mm512_load_si512(from.step), _mm512_load_si512(from.low),
        _mm512_load_si512(from.high), {key_0, key_1}, out);
}

std::int64_t rows_v4(const std::int64_t* streams, const std::int64_t* steps, std::int64_t rows, std::int64_t elements,
                     std::uint32_t key_0, std::uint32_t key_1, float* out) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const int counters = elements == 2 ? 1 : static_cast<int>(elements / 4);
  const int shift = __builtin_ctz(static_cast<unsigned>(counters)), rows_a_block = 16 >> shift;
  const __m512i row = _mm512_srli_epi32(lanes, static_cast<unsigned>(shift));
  const __m512i first = _mm512_and_si512(lanes, _mm512_set1_epi32(counters - 1));
  std::int64_t done = 0;
  for (; done + rows_a_block <= rows; done += rows_a_block, out += rows_a_block * elements) {
    const auto* stream = reinterpret_cast<const int*>(streams + done);
    const __m512i a = first, b = _mm512_i32gather_epi32(row, steps + done, 8),
                  c = _mm512_i32gather_epi32(row, stream, 8), d = _mm512_i32gather_epi32(row, stream + 1, 8);
    elements == 2 ? pairs(a, b, c, d, {key_0, key_1}, out) : block(a, b, c, d, {key_0, key_1}, out);
  }
  return done;
}

}  // namespace igebm::detail
