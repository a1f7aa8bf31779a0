#pragma once

#include "igebm/base/philox.h"

/// A step's arithmetic on one number, in plain C++ that the host's and the device's compilers read alike.
namespace igebm::sampling {

struct StepRule {
  float step_size, clip, low, high;
};

IGEBM_HOST_DEVICE float clipped(const StepRule& r, float gradient) {
  const float g = gradient < -r.clip ? -r.clip : gradient;
  return g > r.clip ? r.clip : g;
}

IGEBM_HOST_DEVICE float bounded(const StepRule& r, float x) {
  const float above = x < r.low ? r.low : x;
  return above > r.high ? r.high : above;
}

/// clamp(x - step_size clip(dE/dx))
IGEBM_HOST_DEVICE float stepped(const StepRule& r, float x, float gradient) {
  return bounded(r, x - r.step_size * clipped(r, gradient));
}

/// clamp(x - step_size clip(dE/dx) + sigma n)
IGEBM_HOST_DEVICE float stepped(const StepRule& r, float x, float gradient, float sigma, float n) {
  return bounded(r, x - r.step_size * clipped(r, gradient) + sigma * n);
}

}  // namespace igebm::sampling
