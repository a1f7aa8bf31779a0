#pragma once

#include <cstdint>

#include "igebm/sampling/step_rule.h"

/// The kernels of a Langevin step, on plain device memory. Nothing waits; `stream` is a cudaStream_t.
namespace igebm::sampling::cuda {

/// What is constant over the steps of a recording, in device memory so that it can change without a new recording.
struct Settings {
  StepRule rule;
  std::uint32_t key_0, key_1;  // of the noise (philox_key)
};

/// What the latest step did to a chain, and in how many steps it was not finite.
struct ChainSums {
  double square;  // of floats: finite where they all are
  float energy;
  std::int32_t clipped, stopped, stopped_before;  // stopped: in the latest step
};

struct UpdateArguments {
  float* x;               // (chains, elements)
  float* before;          // likewise: where chains were before add_noise; null: update adds the noise
  const float* gradient;  // likewise
  const float* energy;    // (chains)
  const std::int64_t* stream;
  std::int64_t* steps;
  ChainSums* sums;
  const Settings* settings;
  const float* sigma;  // of this step; null: no noise here
  std::uint32_t chains, elements;
  const bool* fixed;  // (chains, elements): what stays; null: nothing
};

/// x <- stepped(x, gradient, sigma, n) (step_rule.h), steps <- steps + 1. A chain whose energy or gradient is not
/// finite stays where it is, or was `before`.
void update(const UpdateArguments& u, void* stream);

/// before <- x, x <- x + sigma n, with the noise of the step that comes.
void add_noise(const UpdateArguments& u, void* stream);

}  // namespace igebm::sampling::cuda
