#pragma once

#include <cstdint>

/// The analytic energies (analytic.h) and their gradients over plain floats: x and gradient (count, D), energy (count).
namespace igebm::energy::loops {

void gaussian(const float* mean, const float* precision, std::int64_t dimensions, const float* x, std::int64_t count,
              float* energy, float* gradient);
/// In the plane; constants (components, 4): log weight less log normaliser, 1 / variance, mean.
void round_mixture(const float* constants, std::int64_t components, const float* x, std::int64_t count, float* energy,
                   float* gradient);
void double_well(float height, std::int64_t dimensions, const float* x, std::int64_t count, float* energy,
                 float* gradient);
void rings(const float* radii, std::int64_t rings, float precision, const float* x, std::int64_t count, float* energy,
           float* gradient);
void banana(float a, float b, const float* x, std::int64_t count, float* energy, float* gradient);

}  // namespace igebm::energy::loops
