#include "igebm/energy/analytic_loops.h"

#include <algorithm>

#include "igebm/base/vector_math.h"

namespace igebm::energy::loops {
namespace {

constexpr int lanes = 16;

struct Points {
  alignas(64) float x[lanes], y[lanes];
};

/// Points in the plane sixteen at a time: of(points, energies, gradients).
template <typename Of>
IGEBM_INLINE void in_plane(const float* x, std::int64_t count, float* energy, float* gradient, const Of& of) {
  Points p{}, g{};
  alignas(64) float e[lanes];
  for (std::int64_t begin = 0; begin < count; begin += lanes) {
    const auto here = static_cast<int>(std::min<std::int64_t>(lanes, count - begin));
    const float* from = x + 2 * begin;
    if (here == lanes) {
      for (int l = 0; l < lanes; ++l) p.x[l] = from[2 * l], p.y[l] = from[2 * l + 1];
    } else {
      for (int l = 0; l < here; ++l) p.x[l] = from[2 * l], p.y[l] = from[2 * l + 1];
    }
    of(p, e, g);
    float* to = gradient + 2 * begin;
    if (here == lanes) {
      for (int l = 0; l < lanes; ++l) to[2 * l] = g.x[l], to[2 * l + 1] = g.y[l], energy[begin + l] = e[l];
    } else {
      for (int l = 0; l < here; ++l) to[2 * l] = g.x[l], to[2 * l + 1] = g.y[l], energy[begin + l] = e[l];
    }
  }
}

}  // namespace

IGEBM_CLONES void gaussian(const float* mean, const float* precision, std::int64_t dimensions, const float* x,
                           std::int64_t count, float* energy, float* gradient) {
  if (dimensions == 2) {
    in_plane(
        x, count, energy, gradient, [&](const Points& p, float* e, Points& g) __attribute__((always_inline)) {
          for (int l = 0; l < lanes; ++l) {
            const float dx = p.x[l] - mean[0], dy = p.y[l] - mean[1];
            g.x[l] = precision[0] * dx + precision[2] * dy;
            g.y[l] = precision[1] * dx + precision[3] * dy;
            e[l] = 0.5F * (dx * g.x[l] + dy * g.y[l]);
          }
        });
    return;
  }
  for (std::int64_t n = 0; n < count; ++n) {
    const float* p = x + n * dimensions;
    float* g = gradient + n * dimensions;
    for (std::int64_t i = 0; i < dimensions; ++i) g[i] = 0;
    for (std::int64_t j = 0; j < dimensions; ++j) {
      const float d = p[j] - mean[j];
      const float* row = precision + j * dimensions;
      for (std::int64_t i = 0; i < dimensions; ++i) g[i] += d * row[i];
    }
    float e = 0;
#pragma omp simd reduction(+ : e)
    for (std::int64_t i = 0; i < dimensions; ++i) e += (p[i] - mean[i]) * g[i];
    energy[n] = 0.5F * e;
  }
}

IGEBM_CLONES void round_mixture(const float* constants, std::int64_t components, const float* x, std::int64_t count,
                                float* energy, float* gradient) {
  in_plane(
      x, count, energy, gradient, [&](const Points& p, float* e, Points& g) __attribute__((always_inline)) {
        alignas(64) float greatest[lanes], sum[lanes];
        const auto term = [&](std::int64_t k, int l) __attribute__((always_inline)) {
          const float* c = constants + 4 * k;
          const float dx = p.x[l] - c[2], dy = p.y[l] - c[3];
          return c[0] - 0.5F * c[1] * (dx * dx + dy * dy);
        };
        for (int l = 0; l < lanes; ++l) greatest[l] = term(0, l), sum[l] = 0, g.x[l] = 0, g.y[l] = 0;
        for (std::int64_t k = 1; k < components; ++k) {
          for (int l = 0; l < lanes; ++l) {
            const float t = term(k, l);
            greatest[l] = t > greatest[l] ? t : greatest[l];
          }
        }
        for (std::int64_t k = 0; k < components; ++k) {
          const float* c = constants + 4 * k;
          for (int l = 0; l < lanes; ++l) {
            const float weight = exponential(term(k, l) - greatest[l]);
            sum[l] += weight;
            g.x[l] += weight * c[1] * (p.x[l] - c[2]);
            g.y[l] += weight * c[1] * (p.y[l] - c[3]);
          }
        }
        for (int l = 0; l < lanes; ++l) {
          e[l] = -(greatest[l] + natural_log(sum[l]));
          g.x[l] /= sum[l];
          g.y[l] /= sum[l];
        }
      });
}

IGEBM_CLONES void double_well(float height, std::int64_t dimensions, const float* x, std::int64_t count, float* energy,
                              float* gradient) {
  if (dimensions == 2) {
    in_plane(
        x, count, energy, gradient, [&](const Points& p, float* e, Points& g) __attribute__((always_inline)) {
          for (int l = 0; l < lanes; ++l) {
            const float v = p.x[l] * p.x[l] - 1.0F, w = p.y[l] * p.y[l] - 1.0F;
            e[l] = height * (v * v + w * w);
            g.x[l] = 4.0F * height * p.x[l] * v;
            g.y[l] = 4.0F * height * p.y[l] * w;
          }
        });
    return;
  }
  for (std::int64_t n = 0; n < count; ++n) {
    const float* p = x + n * dimensions;
    float* g = gradient + n * dimensions;
    float e = 0;
#pragma omp simd reduction(+ : e)
    for (std::int64_t i = 0; i < dimensions; ++i) {
      const float w = p[i] * p[i] - 1.0F;
      e += w * w;
      g[i] = 4.0F * height * p[i] * w;
    }
    energy[n] = height * e;
  }
}

IGEBM_CLONES void rings(const float* radii, std::int64_t rings, float precision, const float* x, std::int64_t count,
                        float* energy, float* gradient) {
  in_plane(
      x, count, energy, gradient, [&](const Points& p, float* e, Points& g) __attribute__((always_inline)) {
        alignas(64) float radius[lanes], greatest[lanes], sum[lanes], slope[lanes];
        for (int l = 0; l < lanes; ++l) {
          radius[l] = square_root(p.x[l] * p.x[l] + p.y[l] * p.y[l] + 1e-12F);
          const float d = radius[l] - radii[0];
          greatest[l] = -0.5F * precision * d * d;
          sum[l] = slope[l] = 0;
        }
        for (std::int64_t k = 1; k < rings; ++k) {
          for (int l = 0; l < lanes; ++l) {
            const float d = radius[l] - radii[k], t = -0.5F * precision * d * d;
            greatest[l] = t > greatest[l] ? t : greatest[l];
          }
        }
        for (std::int64_t k = 0; k < rings; ++k) {
          for (int l = 0; l < lanes; ++l) {
            const float d = radius[l] - radii[k], weight = exponential(-0.5F * precision * d * d - greatest[l]);
            sum[l] += weight;
            slope[l] += weight * precision * d;
          }
        }
        for (int l = 0; l < lanes; ++l) {
          e[l] = -(greatest[l] + natural_log(sum[l]));
          const float along = slope[l] / (sum[l] * radius[l]);
          g.x[l] = along * p.x[l];
          g.y[l] = along * p.y[l];
        }
      });
}

IGEBM_CLONES void banana(float a, float b, const float* x, std::int64_t count, float* energy, float* gradient) {
  const float precision = 1.0F / (a * a);
  in_plane(
      x, count, energy, gradient, [&](const Points& p, float* e, Points& g) __attribute__((always_inline)) {
        for (int l = 0; l < lanes; ++l) {
          const float sheared = p.y[l] - b * (p.x[l] * p.x[l] - a * a);
          e[l] = 0.5F * (precision * p.x[l] * p.x[l] + sheared * sheared);
          g.x[l] = precision * p.x[l] - 2.0F * b * p.x[l] * sheared;
          g.y[l] = sheared;
        }
      });
}

}  // namespace igebm::energy::loops
