// The normals of random.h with AVX-512: 64 a block, from 16 counters at once. Compiled for x86-64-v4; random.cpp calls
// it where the processor has that. Intrinsics, because compilers make the products of Philox twice as long.
#include "igebm/base/random_v4.h"

#include <immintrin.h>

#include "igebm/base/vector_math.h"

namespace igebm::detail {
namespace {

IGEBM_INLINE __m512 fma(__m512 a, __m512 b, float c) { return _mm512_fmadd_ps(a, b, _mm512_set1_ps(c)); }
IGEBM_INLINE __m512 negative_if(__m512 v, __m512i sign) {
  return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(v), _mm512_slli_epi32(sign, 31)));
}

IGEBM_INLINE __m512 uniform(__m512i word) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(word, 9)), _mm512_set1_ps(0x1p-23F),
                         _mm512_set1_ps(0x1p-24F));  // exact
}

/// ln x: x = m 2^e with m in [sqrt(1/2), sqrt(2)); a polynomial of m - 1 (Moshier's Cephes, logf), error below 1e-7.
IGEBM_INLINE __m512 natural_log(__m512 x) {
  const __m512i root = _mm512_set1_epi32(0x3F3504F3);
  const __m512i shifted = _mm512_sub_epi32(_mm512_castps_si512(x), root);
  const __m512 e = _mm512_cvtepi32_ps(_mm512_srai_epi32(shifted, 23));
  const __m512 m =
      _mm512_castsi512_ps(_mm512_add_epi32(_mm512_and_si512(shifted, _mm512_set1_epi32(0x007FFFFF)), root));
  const __m512 f = _mm512_sub_ps(m, _mm512_set1_ps(1.0F)), z = _mm512_mul_ps(f, f);
  __m512 p = fma(_mm512_set1_ps(7.0376836292e-2F), f, -1.1514610310e-1F);
  p = fma(p, f, 1.1676998740e-1F);
  p = fma(p, f, -1.2420140846e-1F);
  p = fma(p, f, 1.4249322787e-1F);
  p = fma(p, f, -1.6668057665e-1F);
  p = fma(p, f, 2.0000714765e-1F);
  p = fma(p, f, -2.4999993993e-1F);
  p = fma(p, f, 3.3333331174e-1F);
  p = _mm512_mul_ps(_mm512_mul_ps(p, f), z);
  p = _mm512_fmadd_ps(e, _mm512_set1_ps(-2.12194440e-4F), p);
  p = _mm512_fmadd_ps(z, _mm512_set1_ps(-0.5F), p);
  return _mm512_fmadd_ps(e, _mm512_set1_ps(0.693359375F), _mm512_add_ps(f, p));
}

IGEBM_INLINE void box_muller(__m512i radial, __m512i angular, __m512& even, __m512& odd) {
  const __m512 t = _mm512_mul_ps(natural_log(uniform(radial)), _mm512_set1_ps(-2.0F));
  const __m512 r = _mm512_rsqrt14_ps(t), root = _mm512_mul_ps(t, r);
  const __m512 radius = _mm512_fmadd_ps(_mm512_mul_ps(r, _mm512_set1_ps(0.5F)), _mm512_fnmadd_ps(root, root, t), root);

  const __m512 u = uniform(angular);
  const __m512i quarter = _mm512_cvttps_epi32(_mm512_fmadd_ps(u, _mm512_set1_ps(4.0F), _mm512_set1_ps(0.5F)));
  const __m512 turn = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(quarter), _mm512_set1_ps(0.25F), u);
  const __m512 angle = _mm512_mul_ps(turn, _mm512_set1_ps(6.28318531F)), z = _mm512_mul_ps(angle, angle);
  __m512 s = fma(_mm512_set1_ps(1.0F / 362880), z, -1.0F / 5040);
  s = fma(s, z, 1.0F / 120);
  s = fma(s, z, -1.0F / 6);
  s = _mm512_mul_ps(fma(s, z, 1.0F), angle);
  __m512 c = fma(_mm512_set1_ps(1.0F / 40320), z, -1.0F / 720);
  c = fma(c, z, 1.0F / 24);
  c = fma(c, z, -0.5F);
  c = fma(c, z, 1.0F);
  const __mmask16 swap = _mm512_test_epi32_mask(quarter, _mm512_set1_epi32(1));
  const __m512 cosine = _mm512_mask_blend_ps(swap, c, s), sine = _mm512_mask_blend_ps(swap, s, c);
  const __m512i half = _mm512_srli_epi32(quarter, 1);
  const __m512i next_half = _mm512_srli_epi32(_mm512_add_epi32(quarter, _mm512_set1_epi32(1)), 1);
  even = negative_if(_mm512_mul_ps(radius, cosine), next_half);
  odd = negative_if(_mm512_mul_ps(radius, sine), half);
}

/// Eight counters' words, each in the low half of 64 bits; what is in the high halves does not matter.
struct Eight {
  __m512i a, b, c, d;
};

IGEBM_INLINE void philox_round(Eight& w, __m512i k0, __m512i k1) {
  const __m512i p0 = _mm512_mul_epu32(w.a, _mm512_set1_epi64(0xD2511F53));
  const __m512i p1 = _mm512_mul_epu32(w.c, _mm512_set1_epi64(0xCD9E8D57));
  w.a = _mm512_ternarylogic_epi32(_mm512_srli_epi64(p1, 32), w.b, k0, 0x96);
  w.c = _mm512_ternarylogic_epi32(_mm512_srli_epi64(p0, 32), w.d, k1, 0x96);
  w.b = p1;
  w.d = p0;
}

/// Sixteen counters as two times eight, those of even and of odd lanes: a product of 32-bit lanes needs no shuffles so.
IGEBM_INLINE void philox_rounds(__m512i& a, __m512i& b, __m512i& c, __m512i& d, std::uint32_t k0, std::uint32_t k1) {
  const auto odd_lanes = [](__m512i v) { return _mm512_srli_epi64(v, 32); };
  const auto both = [](__m512i even, __m512i odd) {
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  };
  Eight even{a, b, c, d}, odd{odd_lanes(a), odd_lanes(b), odd_lanes(c), odd_lanes(d)};
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const __m512i key_0 = _mm512_set1_epi32(static_cast<int>(k0)), key_1 = _mm512_set1_epi32(static_cast<int>(k1));
    philox_round(even, key_0, key_1);
    philox_round(odd, key_0, key_1);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  a = both(even.a, odd.a);
  b = both(even.b, odd.b);
  c = both(even.c, odd.c);
  d = both(even.d, odd.d);
}

IGEBM_INLINE void block(__m512i a, __m512i b, __m512i c, __m512i d, std::uint32_t k0, std::uint32_t k1, float* out) {
  philox_rounds(a, b, c, d, k0, k1);
  __m512 v0, v1, v2, v3;
  box_muller(a, b, v0, v1);
  box_muller(c, d, v2, v3);
  // Element 4 l + w is lane l of v_w: a transposition by pairs, fours and quarters.
  const __m512 p0 = _mm512_unpacklo_ps(v0, v1), p1 = _mm512_unpackhi_ps(v0, v1);
  const __m512 p2 = _mm512_unpacklo_ps(v2, v3), p3 = _mm512_unpackhi_ps(v2, v3);
  const __m512 q0 = _mm512_shuffle_ps(p0, p2, 0x44), q1 = _mm512_shuffle_ps(p0, p2, 0xEE);
  const __m512 q2 = _mm512_shuffle_ps(p1, p3, 0x44), q3 = _mm512_shuffle_ps(p1, p3, 0xEE);
  const __m512 r0 = _mm512_shuffle_f32x4(q0, q1, 0x44), r1 = _mm512_shuffle_f32x4(q2, q3, 0x44);
  const __m512 r2 = _mm512_shuffle_f32x4(q0, q1, 0xEE), r3 = _mm512_shuffle_f32x4(q2, q3, 0xEE);
  _mm512_storeu_ps(out, _mm512_shuffle_f32x4(r0, r1, 0x88));
  _mm512_storeu_ps(out + 16, _mm512_shuffle_f32x4(r0, r1, 0xDD));
  _mm512_storeu_ps(out + 32, _mm512_shuffle_f32x4(r2, r3, 0x88));
  _mm512_storeu_ps(out + 48, _mm512_shuffle_f32x4(r2, r3, 0xDD));
}

}  // namespace

void normals_v4(std::uint32_t step, std::uint32_t low, std::uint32_t high, std::uint32_t key_0, std::uint32_t key_1,
                std::int64_t first_block, std::int64_t blocks, float* out) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i b = _mm512_set1_epi32(static_cast<int>(step)), c = _mm512_set1_epi32(static_cast<int>(low)),
                d = _mm512_set1_epi32(static_cast<int>(high));
  for (std::int64_t i = first_block; i < first_block + blocks; ++i, out += 64)
    block(_mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(16 * i))), b, c, d, key_0, key_1, out);
}

void normals_v4(const Counters16& from, std::uint32_t key_0, std::uint32_t key_1, float* out) {
  block(_mm512_load_si512(from.first), _mm512_load_si512(from.step), _mm512_load_si512(from.low),
        _mm512_load_si512(from.high), key_0, key_1, out);
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
    __m512i a = first, b = _mm512_i32gather_epi32(row, steps + done, 8), c = _mm512_i32gather_epi32(row, stream, 8),
            d = _mm512_i32gather_epi32(row, stream + 1, 8);
    if (elements != 2) {
      block(a, b, c, d, key_0, key_1, out);
      continue;
    }
    philox_rounds(a, b, c, d, key_0, key_1);
    __m512 even, odd;
    box_muller(a, b, even, odd);
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    _mm512_storeu_ps(out, _mm512_permutex2var_ps(even, low, odd));
    _mm512_storeu_ps(out + 16, _mm512_permutex2var_ps(even, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odd));
  }
  return done;
}

}  // namespace igebm::detail
