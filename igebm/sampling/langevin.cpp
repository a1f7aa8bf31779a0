#include "igebm/sampling/langevin.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/base/vector_math.h"
#include "igebm/sampling/on_device.h"
#include "igebm/sampling/schedule.h"

namespace igebm::sampling {
namespace {

/// Is every number finite? x * 0 is 0 for those alone.
IGEBM_CLONES bool all_finite(const float* x, std::int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += x[i] * 0.0F;
  return sum == 0.0F;
}

/// What moves numbers in a row, of one chain or of several.
struct Push {
  const float* gradient;
  const float* noise;                     // null: none
  const bool* fixed;                      // null: none
  Push from(std::int64_t number) const {  // that of the numbers from there on
    return {gradient + number, noise != nullptr ? noise + number : nullptr,
            fixed != nullptr ? fixed + number : nullptr};
  }
};

template <bool noisy, bool masked>
IGEBM_INLINE void move_each(const StepRule& rule, float sigma, const Push& push, std::int64_t count, float* x) {
  const float *gradient = push.gradient, *noise = push.noise;
  for (std::int64_t i = 0; i < count; ++i) {
    float moved;
    if constexpr (noisy) {
      moved = stepped(rule, x[i], gradient[i], sigma, noise[i]);
    } else {
      moved = stepped(rule, x[i], gradient[i]);
    }
    if constexpr (masked) moved = push.fixed[i] ? x[i] : moved;
    x[i] = moved;
  }
}

/// The step, for numbers that are finite.
IGEBM_CLONES void move_all(const StepRule& rule, float sigma, const Push& push, std::int64_t count, float* x) {
  if (push.fixed == nullptr) {
    push.noise != nullptr ? move_each<true, false>(rule, sigma, push, count, x)
                          : move_each<false, false>(rule, sigma, push, count, x);
  } else {
    push.noise != nullptr ? move_each<true, true>(rule, sigma, push, count, x)
                          : move_each<false, true>(rule, sigma, push, count, x);
  }
}

/// The same for one chain, with its figures; a chain with a number that is not finite stays. Which chains these are
/// must not depend on who asks, so it is said of each number (as all_finite does), never of a sum that may overflow.
IGEBM_CLONES ChainInfo move_chain(const StepRule& rule, float sigma, float energy, const Push& push,
                                  std::int64_t elements, float* x) {
  double square = 0;
  std::int32_t clips = 0;
  const float* gradient = push.gradient;
  if (push.fixed == nullptr) {
#pragma omp simd reduction(+ : square, clips)
    for (std::int64_t i = 0; i < elements; ++i) {
      square += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
      clips += __builtin_fabsf(gradient[i]) > rule.clip ? 1 : 0;
    }
  } else {
    const bool* fixed = push.fixed;
#pragma omp simd reduction(+ : square, clips)
    for (std::int64_t i = 0; i < elements; ++i) {
      const float g = fixed[i] ? 0.0F : gradient[i];
      square += static_cast<double>(g) * static_cast<double>(g);
      clips += __builtin_fabsf(g) > rule.clip ? 1 : 0;
    }
  }
  if (!std::isfinite(energy) || !std::isfinite(square)) return {.finite = false, .accepted = false};
  move_all(rule, sigma, push, elements, x);
  return {square, energy, clips};
}

IGEBM_CLONES void add_noise(float sigma, const float* noise, const bool* fixed, std::int64_t count, float* x) {
  if (fixed == nullptr) {
    for (std::int64_t i = 0; i < count; ++i) x[i] += sigma * noise[i];
  } else {
    for (std::int64_t i = 0; i < count; ++i) x[i] = fixed[i] ? x[i] : x[i] + sigma * noise[i];
  }
}

/// The mask of elements from number `from` on (Chains::fixed_elements, which `mask` keeps), or null.
const bool* mask_of(const at::Tensor& mask, std::int64_t from) {
  return mask.defined() ? mask.const_data_ptr<bool>() + from : nullptr;
}

/// The energy without tensors, or null.
const energy::PlainLoop* loop_for(const energy::Energy& energy, const Chains& chains) {
  const std::int64_t elements = chains.size() > 0 ? chains.x.numel() / chains.size() : 0;
  return chains.x.scalar_type() == at::kFloat ? energy::plain_loop(energy, elements) : nullptr;
}

}  // namespace

StepRule rule_of(const LangevinOptions& o) {
  return {static_cast<float>(o.step_size), static_cast<float>(o.gradient_clip), static_cast<float>(o.low),
          static_cast<float>(o.high)};
}

void check(const char* who, const LangevinOptions& options) {
  const auto require = [&](bool ok, const char* what, double value) {
    if (!ok) throw UserError(fmt::format("{}: {}, got {}", who, what, value));
  };
  require(options.step_size > 0 && std::isfinite(options.step_size), "step_size must be a finite number above 0",
          options.step_size);
  require(std::isfinite(options.noise), "noise must be finite", options.noise);
  require(options.gradient_clip > 0, "gradient_clip must be above 0", options.gradient_clip);
  require(options.low < options.high, "low must be below high", options.low);
  require(options.temperature_start >= 0 && std::isfinite(options.temperature_start),
          "temperature_start must be at least 0", options.temperature_start);
  require(options.temperature_end >= 0 && std::isfinite(options.temperature_end), "temperature_end must be at least 0",
          options.temperature_end);
}

Langevin::Langevin(const LangevinOptions& options, std::uint64_t seed) : options_(options), seed_(seed) {
  check("langevin", options);
}

StepInfo Langevin::on_device(const energy::Energy& energy, Chains& chains, Position first, std::int64_t steps) const {
  DeviceLangevin langevin{
      options_.step_size, options_.gradient_clip, options_.low, options_.high, {}, options_.noise_first, seed_};
  for (std::int64_t k = 0; k < steps; ++k) langevin.sigmas.push_back(noise_of(options_, {first.step + k, first.total}));
  return langevin_on_device(langevin, energy, chains);
}

StepInfo Langevin::transition(const energy::Energy& energy, Chains& chains, Position position) const {
  if (chains.x.is_cuda()) return on_device(energy, chains, position, 1);
  if (const auto* loop = loop_for(energy, chains)) return fused(*loop, chains, position, 1);
  Scratch scratch;
  return step(energy, chains, position, scratch);
}

StepInfo Langevin::step(const energy::Energy& energy, Chains& chains, Position position, Scratch& scratch) const {
  const std::int64_t count = chains.size();
  const std::int64_t elements = count > 0 ? chains.x.numel() / count : 0;
  chains.x = chains.x.contiguous();
  const auto sigma = static_cast<float>(noise_of(options_, position));
  const at::Tensor mask = chains.fixed_elements();
  const std::int64_t* stream = chains.stream.const_data_ptr<std::int64_t>();
  std::int64_t* steps = chains.steps.data_ptr<std::int64_t>();
  float* x = chains.x.data_ptr<float>();
  const std::int64_t grain = std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(elements, 1));
  // A block of chains' noise, in the part of the scratch that belongs to the block's thread.
  const std::int64_t block = grain * elements;
  scratch.noise.resize(static_cast<std::size_t>(at::get_num_threads() * block));
  const auto noise = [&](std::int64_t begin, std::int64_t end) {
    const auto rows = static_cast<std::size_t>(end - begin);
    float* out = scratch.noise.data() + at::get_thread_num() * block;
    random_normal_rows(seed_, Purpose::langevin_noise, {stream + begin, rows}, {steps + begin, rows}, elements, out);
    return out;
  };
  const bool noise_before = options_.noise_first && sigma > 0;
  if (noise_before) {
    scratch.before.resize(static_cast<std::size_t>(count * elements));
    at::parallel_for(0, count, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t c = begin; c < end; c += grain) {
        const std::int64_t until = std::min(end, c + grain), numbers = (until - c) * elements;
        std::copy_n(x + c * elements, numbers, scratch.before.data() + c * elements);
        add_noise(sigma, noise(c, until), mask_of(mask, c * elements), numbers, x + c * elements);
      }
    });
  }

  energy::energy_and_gradient_into(energy, chains.x, scratch.result);
  const at::Tensor energies = scratch.result.energy.to(at::kFloat).contiguous(),
                   g = scratch.result.gradient.to(at::kFloat).contiguous();
  const float* pe = energies.const_data_ptr<float>();
  const float* pg = g.const_data_ptr<float>();
  const StepRule rule = rule_of(options_);
  const bool noise_here = !options_.noise_first && sigma > 0;
  std::vector<ChainInfo> chain(static_cast<std::size_t>(count));
  at::parallel_for(0, count, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; c += grain) {
      const std::int64_t until = std::min(end, c + grain);
      const Push push{pg + c * elements, noise_here ? noise(c, until) : nullptr, mask_of(mask, c * elements)};
      for (std::int64_t i = c; i < until; ++i) {
        ChainInfo& info = chain[static_cast<std::size_t>(i)];
        info = move_chain(rule, sigma, pe[i], push.from((i - c) * elements), elements, x + i * elements);
        if (noise_before && !info.finite) std::copy_n(scratch.before.data() + i * elements, elements, x + i * elements);
        ++steps[i];
      }
    }
  });
  chains.touch();
  return summarise(std::move(chain), elements);
}

at::Tensor Langevin::gradient_point(const Chains& chains, Position position) const {
  at::Tensor x = chains.x.clone(at::MemoryFormat::Contiguous);
  const double sigma = noise_of(options_, position);
  if (options_.noise_first && sigma > 0)
    x.add_(normals_of(chains, seed_, Purpose::langevin_noise), static_cast<float>(sigma));
  return chains.held(x);
}

StepInfo Langevin::transitions(const energy::Energy& energy, Chains& chains, Position first, std::int64_t steps) const {
  if (chains.x.is_cuda()) return on_device(energy, chains, first, steps);
  StepInfo info;
  if (steps < 1) return info;
  if (const auto* loop = loop_for(energy, chains)) return fused(*loop, chains, first, steps);
  std::int64_t non_finite = 0;
  Scratch scratch;
  for (std::int64_t k = 0; k < steps; ++k) {
    info = step(energy, chains, {first.step + k, first.total}, scratch);
    non_finite += info.non_finite;
  }
  info.non_finite = non_finite;
  return info;
}

StepInfo Langevin::fused(const energy::PlainLoop& energy, Chains& chains, Position first, std::int64_t steps) const {
  const std::int64_t count = chains.size(), elements = count > 0 ? chains.x.numel() / count : 0;
  chains.x = chains.x.contiguous();
  float* x = chains.x.data_ptr<float>();
  const std::int64_t* stream = chains.stream.const_data_ptr<std::int64_t>();
  std::int64_t* moved = chains.steps.data_ptr<std::int64_t>();
  std::vector<float> sigmas;
  for (std::int64_t k = 0; k < steps; ++k)
    sigmas.push_back(static_cast<float>(noise_of(options_, {first.step + k, first.total})));
  const StepRule rule = rule_of(options_);
  const at::Tensor mask = chains.fixed_elements();
  const std::int64_t block = std::clamp<std::int64_t>(4096 / std::max<std::int64_t>(elements, 1), 1, 1024);
  const std::int64_t blocks = (count + block - 1) / block;
  std::vector<ChainInfo> last(static_cast<std::size_t>(count));
  std::vector<std::int64_t> stopped(static_cast<std::size_t>(blocks), 0);  // non-finite steps before the last
  const auto one = [&](std::int64_t b, std::vector<float>& memory) {
    const std::int64_t begin = b * block, rows = std::min(block, count - begin);
    const auto size = static_cast<std::size_t>(rows);
    memory.resize(static_cast<std::size_t>(block * (3 * elements + 1)));
    float *gradient = memory.data(), *noise = gradient + block * elements, *before = noise + block * elements,
          *energies = before + block * elements;
    float* at = x + begin * elements;
    const bool* fixed = mask_of(mask, begin * elements);
    for (std::int64_t k = 0; k < steps; ++k) {
      const float sigma = sigmas[static_cast<std::size_t>(k)];
      const bool noise_before = sigma > 0 && options_.noise_first;
      if (sigma > 0) {
        random_normal_rows(seed_, Purpose::langevin_noise, {stream + begin, size}, {moved + begin, size}, elements,
                           noise);
        if (noise_before) {
          std::copy_n(at, rows * elements, before);
          add_noise(sigma, noise, fixed, rows * elements, at);
        }
      }
      energy.evaluate(at, rows, elements, energies, gradient);
      const Push push{gradient, sigma > 0 && !options_.noise_first ? noise : nullptr, fixed};
      if (k + 1 < steps && all_finite(energies, rows) && all_finite(gradient, rows * elements)) {
        move_all(rule, sigma, push, rows * elements, at);
        for (std::int64_t i = 0; i < rows; ++i) ++moved[begin + i];
        continue;
      }
      for (std::int64_t i = 0; i < rows; ++i) {
        const ChainInfo info =
            move_chain(rule, sigma, energies[i], push.from(i * elements), elements, at + i * elements);
        if (noise_before && !info.finite) std::copy_n(before + i * elements, elements, at + i * elements);
        ++moved[begin + i];
        if (k + 1 == steps) {
          last[static_cast<std::size_t>(begin + i)] = info;
        } else {
          stopped[static_cast<std::size_t>(b)] += info.finite ? 0 : 1;
        }
      }
    }
  };
  // Threads cost some microseconds: only where there is work for longer.
  if (blocks > 1 && count * elements * steps > 200000) {
    at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> memory;
      for (std::int64_t b = begin; b < end; ++b) one(b, memory);
    });
  } else {
    std::vector<float> memory;
    for (std::int64_t b = 0; b < blocks; ++b) one(b, memory);
  }
  chains.touch();
  StepInfo info = summarise(std::move(last), elements);
  for (const std::int64_t s : stopped) info.non_finite += s;
  return info;
}

}  // namespace igebm::sampling
