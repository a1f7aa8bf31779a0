#include "igebm/sampling/metropolis.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/energy/capabilities.h"
#include "igebm/sampling/schedule.h"

namespace igebm::sampling {
namespace {

std::int64_t grain_of(std::int64_t elements) {
  return std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(elements, 1));
}

at::Tensor on_host(const at::Tensor& t) { return t.to(at::TensorOptions(at::kCPU).dtype(at::kFloat)).contiguous(); }

/// At x (host); on the host.
energy::EnergyAndGradient evaluate(const energy::Energy& energy, const at::Tensor& x, c10::Device device) {
  const std::int64_t count = x.size(0), elements = x.numel() / count;
  const energy::PlainLoop* loop = device.is_cpu() ? energy::plain_loop(energy, elements) : nullptr;
  if (loop == nullptr) {
    const auto [e, g] = energy.energy_and_gradient(x.to(device));
    return {on_host(e), on_host(g)};
  }
  energy::EnergyAndGradient out{at::empty({count}), at::empty_like(x)};
  const float* from = x.const_data_ptr<float>();
  float *e = out.energy.data_ptr<float>(), *g = out.gradient.data_ptr<float>();
  at::parallel_for(0, count, grain_of(elements), [&](std::int64_t begin, std::int64_t end) {
    loop->evaluate(from + begin * elements, end - begin, elements, e + begin, g + begin * elements);
  });
  return out;
}

/// x beyond a bound comes back as a ball from a wall, between two walls as often as it must; p turns round each time.
void reflect(const StepRule& rule, float& x, float& p) {
  if ((x >= rule.low && x <= rule.high) || !std::isfinite(x)) return;
  const double low = rule.low, high = rule.high, width = high - low;
  if (std::isfinite(width)) {
    double beyond = std::fmod(x - low, 2 * width);
    if (beyond < 0) beyond += 2 * width;
    if (beyond > width) {
      beyond = 2 * width - beyond;
      p = -p;
    }
    x = static_cast<float>(low + beyond);
  } else {
    x = static_cast<float>(2 * (x < low ? low : high) - x);
    p = -p;
  }
  x = bounded(rule, x);  // rounding
}

/// x <- x + delta p between the bounds. False where a number is not finite.
bool drift(const StepRule& rule, float delta, const bool* fixed, std::int64_t elements, float* p, float* x) {
  bool finite = true;
  for (std::int64_t i = 0; i < elements; ++i) {
    if (fixed != nullptr && fixed[i]) continue;
    x[i] += delta * p[i];
    reflect(rule, x[i], p[i]);
    finite = finite && std::isfinite(x[i]);
  }
  return finite;
}

/// p <- p - delta clip(dE/dx)
void kick(const StepRule& rule, float delta, const float* gradient, const bool* fixed, std::int64_t elements,
          float* p) {
  for (std::int64_t i = 0; i < elements; ++i) {
    if (fixed == nullptr || !fixed[i]) p[i] -= delta * clipped(rule, gradient[i]);
  }
}

/// Of the free elements, summed in their order: the same in any batch.
double sum_of_squares(const float* v, const bool* fixed, std::int64_t elements) {
  double sum = 0;
  for (std::int64_t i = 0; i < elements; ++i) {
    if (fixed == nullptr || !fixed[i]) sum += static_cast<double>(v[i]) * static_cast<double>(v[i]);
  }
  return sum;
}

/// |p|^2 / 2
double kinetic(const float* p, std::int64_t elements) { return sum_of_squares(p, nullptr, elements) / 2; }

}  // namespace

/// A transition of all chains, on the host.
struct Metropolis::Walk {
  Walk(const std::string& name, Chains& chains) : chains_(chains), name_(name) {
    x = on_host(chains.x);
    if (chains.fixed.defined()) fixed = chains.fixed_elements().cpu();
    stream = chains.stream.cpu();
    steps = chains.steps.cpu();
    log_step = kept("log_step");
    adapted = kept("adapted");
    count = chains.size();
    elements = x.numel() / count;
    q = x.clone();
    p = at::empty_like(x);
    delta.resize(static_cast<std::size_t>(count));
    coin.resize(delta.size());
    kinetic_before.resize(delta.size());
    going.resize(delta.size());
    info.resize(delta.size());
  }

  /// Of the chains, float64 (N).
  at::Tensor kept(const char* what) const {
    at::Tensor& t = chains_.state[name_ + "." + what];
    if (!t.defined()) t = at::zeros({chains_.size()}, chains_.x.options().dtype(at::kDouble));
    return t.cpu();
  }

  /// Back into the chains what is not theirs already.
  void put_back() const {
    const auto put = [](const at::Tensor& from, const at::Tensor& to) {
      if (!from.is_same(to)) to.copy_(from);
    };
    put(x, chains_.x);
    put(steps, chains_.steps);
    put(log_step, chains_.state[name_ + ".log_step"]);
    put(adapted, chains_.state[name_ + ".adapted"]);
    chains_.touch();
  }

  float* row(const at::Tensor& t, std::int64_t i) const { return t.data_ptr<float>() + i * elements; }
  const bool* fixed_row(std::int64_t i) const {
    return fixed.defined() ? fixed.const_data_ptr<bool>() + i * elements : nullptr;
  }
  RandomPlace place(std::uint64_t seed, Purpose purpose, std::int64_t i) const {
    return {seed, purpose, static_cast<std::uint64_t>(stream.const_data_ptr<std::int64_t>()[i]),
            static_cast<std::uint32_t>(steps.const_data_ptr<std::int64_t>()[i])};
  }

  std::int64_t count = 0, elements = 0;
  double temperature = 0;
  bool adapts = false;
  StepRule rule{};
  at::Tensor x, fixed, stream, steps, log_step, adapted;
  energy::EnergyAndGradient here, there;  // at x, at q
  at::Tensor q, p;
  std::vector<float> delta, coin;  // coin: uniform in (0, 1), what acceptance is decided by
  std::vector<double> kinetic_before;
  std::vector<char> going;  // finite so far
  std::vector<ChainInfo> info;

 private:
  Chains& chains_;
  std::string name_;
};

Metropolis::Metropolis(const char* name, const LangevinOptions& langevin, const HmcOptions& options, Purpose momentum,
                       std::uint64_t seed)
    : name_(name), langevin_(langevin), options_(options), momentum_(momentum), seed_(seed) {
  check(name, langevin);
  const auto require = [&](bool ok, const char* what, double value) {
    if (!ok) throw UserError(fmt::format("{}: {}, got {}", name, what, value));
  };
  require(langevin.noise != 0, "noise must be above 0, or below for the one that belongs to the step", langevin.noise);
  require(langevin.temperature_start > 0, "temperature_start must be above 0", langevin.temperature_start);
  require(langevin.temperature_end > 0, "temperature_end must be above 0", langevin.temperature_end);
  if (langevin.noise_first)
    throw UserError(fmt::format("{}: noise_first is an order of \"langevin\"'s steps: expected false, got true", name));
  require(options.leapfrog_steps > 0, "leapfrog_steps must be at least 1", static_cast<double>(options.leapfrog_steps));
  require(options.jitter >= 0 && options.jitter < 1, "jitter must be in [0, 1)", options.jitter);
  const StepAdaptation& a = options.adaptation;
  require(a.acceptance > 0 && a.acceptance < 1, "acceptance must be in (0, 1)", a.acceptance);
  require(a.share >= 0 && a.share <= 1, "adapt_share must be in [0, 1]", a.share);
}

// Langevin's own noise: where a step is accepted, it is Langevin's.
Metropolis::Metropolis(const LangevinOptions& langevin, const MalaOptions& options, std::uint64_t seed)
    : Metropolis("mala", langevin, {.leapfrog_steps = 1, .jitter = 0, .adaptation = options.adaptation},
                 Purpose::langevin_noise, seed) {}

Metropolis::Metropolis(const LangevinOptions& langevin, const HmcOptions& options, std::uint64_t seed)
    : Metropolis("hmc", langevin, options, Purpose::momentum, seed) {}

StepInfo Metropolis::transition(const energy::Energy& energy, Chains& chains, Position position) const {
  if (chains.size() == 0 || chains.x.numel() == 0) return {};
  chains.x = chains.x.contiguous();
  const c10::Device device = chains.x.device();
  const energy::EnergyAndGradient* known = chains.energy.find(energy, chains.x, chains.labels);
  // Chains that were known have moved by this kernel, and so within the bounds.
  if (known == nullptr) chains.x.copy_(chains.held(chains.x.clamp(langevin_.low, langevin_.high)));
  Walk walk(name_, chains);
  walk.temperature = target_temperature(langevin_, position);
  walk.adapts = static_cast<double>(position.step) < options_.adaptation.share * static_cast<double>(position.total);
  walk.rule = rule_of(langevin_);
  if (known != nullptr) {
    walk.here = {on_host(known->energy), on_host(known->gradient)};
  } else {
    const auto [e, g] = evaluate(energy, walk.x, device);
    walk.here = {e.clone(), g.clone()};  // the energy may hold on to what it gave
  }
  const auto each = [&](const auto& part) { at::parallel_for(0, walk.count, grain_of(walk.elements), part); };
  each([&](std::int64_t begin, std::int64_t end) { set_out(walk, begin, end); });
  for (std::int64_t l = 1; l <= options_.leapfrog_steps; ++l) {
    walk.there = evaluate(energy, walk.q, device);
    const bool last = l == options_.leapfrog_steps;
    each([&](std::int64_t begin, std::int64_t end) { go_on(walk, begin, end, last); });
  }
  each([&](std::int64_t begin, std::int64_t end) { decide(walk, begin, end); });
  walk.put_back();
  chains.energy.keep(energy, chains.x, chains.labels, {walk.here.energy.to(device), walk.here.gradient.to(device)});
  StepInfo info = summarise(std::move(walk.info), walk.elements);
  info.proposes = true;
  return info;
}

/// Draws momenta and goes the first half of the first leapfrog step.
void Metropolis::set_out(Walk& w, std::int64_t begin, std::int64_t end) const {
  const auto rows = static_cast<std::size_t>(end - begin);
  random_normal_rows(seed_, momentum_, {w.stream.const_data_ptr<std::int64_t>() + begin, rows},
                     {w.steps.const_data_ptr<std::int64_t>() + begin, rows}, w.elements, w.row(w.p, begin));
  const auto scale = static_cast<float>(std::sqrt(w.temperature));
  for (std::int64_t i = begin; i < end; ++i) {
    const auto c = static_cast<std::size_t>(i);
    const bool* fixed = w.fixed_row(i);
    const float *g = w.row(w.here.gradient, i), energy = w.here.energy.const_data_ptr<float>()[i];
    float* p = w.row(w.p, i);
    ChainInfo info{.gradient_square = sum_of_squares(g, fixed, w.elements), .energy = energy};
    for (std::int64_t k = 0; k < w.elements; ++k) {
      const bool free = fixed == nullptr || !fixed[k];
      p[k] = free ? p[k] * scale : 0;
      info.clipped += free && std::fabs(g[k]) > w.rule.clip ? 1 : 0;
    }
    const bool finite = std::isfinite(energy) && std::isfinite(info.gradient_square);
    w.info[c] = finite ? info : ChainInfo{.finite = false, .accepted = false};
    std::array<float, 2> u{};
    random_uniform(w.place(seed_, Purpose::accept, i), u);
    w.coin[c] = u[0];
    const double jitter = 1 + options_.jitter * (2 * static_cast<double>(u[1]) - 1);
    w.delta[c] = static_cast<float>(std::sqrt(2 * langevin_.step_size) *
                                    std::exp(w.log_step.const_data_ptr<double>()[i]) * jitter);
    w.kinetic_before[c] = kinetic(p, w.elements);
    w.going[c] = finite ? 1 : 0;
    if (!finite) continue;
    kick(w.rule, w.delta[c] / 2, g, fixed, w.elements, p);
    w.going[c] = drift(w.rule, w.delta[c], fixed, w.elements, p, w.row(w.q, i)) ? 1 : 0;
    if (w.going[c] == 0) std::copy_n(w.row(w.x, i), w.elements, w.row(w.q, i));
  }
}

/// With the gradient at q: the rest of a leapfrog step, and the first half of the next unless it is the last.
void Metropolis::go_on(Walk& w, std::int64_t begin, std::int64_t end, bool last) const {
  for (std::int64_t i = begin; i < end; ++i) {
    const auto c = static_cast<std::size_t>(i);
    if (w.going[c] == 0) continue;
    const bool* fixed = w.fixed_row(i);
    float *p = w.row(w.p, i), *q = w.row(w.q, i);
    kick(w.rule, last ? w.delta[c] / 2 : w.delta[c], w.row(w.there.gradient, i), fixed, w.elements, p);
    // The gradient before it is clipped: a chain that came to a place without one would never leave it.
    bool finite = std::isfinite(w.there.energy.const_data_ptr<float>()[i]) && std::isfinite(kinetic(p, w.elements)) &&
                  std::isfinite(sum_of_squares(w.row(w.there.gradient, i), fixed, w.elements));
    if (finite && !last) finite = drift(w.rule, w.delta[c], fixed, w.elements, p, q);
    if (finite) continue;
    w.going[c] = 0;
    std::copy_n(w.row(w.x, i), w.elements, q);
  }
}

/// The Metropolis test; step sizes learn from it.
void Metropolis::decide(Walk& w, std::int64_t begin, std::int64_t end) const {
  for (std::int64_t i = begin; i < end; ++i) {
    const auto c = static_cast<std::size_t>(i);
    ChainInfo& info = w.info[c];
    if (info.finite) {
      float& energy = w.here.energy.data_ptr<float>()[i];
      const float proposed = w.there.energy.const_data_ptr<float>()[i];
      const double rise = static_cast<double>(proposed) - static_cast<double>(energy) +
                          kinetic(w.row(w.p, i), w.elements) - w.kinetic_before[c];
      const double probability = w.going[c] != 0 ? std::min(1.0, std::exp(-rise / w.temperature)) : 0;
      info.accepted = static_cast<double>(w.coin[c]) < probability;
      if (info.accepted) {
        energy = proposed;
        std::copy_n(w.row(w.q, i), w.elements, w.row(w.x, i));
        std::copy_n(w.row(w.there.gradient, i), w.elements, w.row(w.here.gradient, i));
      }
      if (w.adapts) {
        const double k = ++w.adapted.data_ptr<double>()[i];
        w.log_step.data_ptr<double>()[i] += std::pow(k, -0.6) * (probability - options_.adaptation.acceptance);
      }
    }
    ++w.steps.data_ptr<std::int64_t>()[i];
  }
}

}  // namespace igebm::sampling
