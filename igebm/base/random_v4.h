#pragma once

#include <cstdint>

namespace igebm::detail {

/// Was random_v4.cpp compiled for a processor with AVX-512?
bool has_v4();

/// 64 * blocks normals, from element 64 * first_block on: element i from word i % 4 of philox({i / 4, step, low, high},
/// key). Only where the processor has AVX-512 F and DQ.
void normals_v4(std::uint32_t step, std::uint32_t low, std::uint32_t high, std::uint32_t key_0, std::uint32_t key_1,
                std::int64_t first_block, std::int64_t blocks, float* out);

}  // namespace igebm::detail
