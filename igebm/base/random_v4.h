#pragma once

#include <cstdint>

namespace igebm::detail {

/// 64 * blocks normals, from element 64 * first_block on: element i from word i % 4 of philox({i / 4, step, low, high},
/// key). Only where the processor has AVX-512 F and DQ.
void normals_v4(std::uint32_t step, std::uint32_t low, std::uint32_t high, std::uint32_t key_0, std::uint32_t key_1,
                std::int64_t first_block, std::int64_t blocks, float* out);

/// Sixteen counters of any places.
struct alignas(64) Counters16 {
  std::uint32_t first[16] = {}, step[16] = {}, low[16] = {}, high[16] = {};
};

/// 64 normals: elements 4 l to 4 l + 3 from counter l.
void normals_v4(const Counters16& counters, std::uint32_t key_0, std::uint32_t key_1, float* out);

/// Rows of 2, 4, 8, 16 or 32 normals (random_normal_rows), as many whole blocks as there are; returns the rows done.
std::int64_t rows_v4(const std::int64_t* streams, const std::int64_t* steps, std::int64_t rows, std::int64_t elements,
                     std::uint32_t key_0, std::uint32_t key_1, float* out);

}  // namespace igebm::detail
