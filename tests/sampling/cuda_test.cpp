// Langevin's kernels on an imitated device against the CPU's loop, and on a CUDA device where there is one.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/base/philox.h"
#include "igebm/base/random.h"
#include "igebm/energy/analytic.h"
#include "igebm/energy/compose.h"
#include "igebm/sampling/cuda/update.h"
#include "igebm/sampling/langevin.h"
#include "igebm/sampling/on_device.h"
#include "tests/device.h"

namespace igebm::sampling {
namespace cuda {
namespace {
using namespace imitation;
#include "igebm/sampling/cuda/update.inl"
}  // namespace
}  // namespace cuda

namespace {

/// The double well by autograd-free tensor operations, which may be recorded: it does not wait and does the same
/// always.
class Well : public energy::Energy, public energy::Recordable {
 public:
  at::Tensor energy(const at::Tensor& x) const override { return (x.square() - 1).square().flatten(1).sum(1); }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    const at::NoGradGuard no_grad;
    ++calls;
    const at::Tensor e = energy(x);
    return {e, 4 * x * (x.square() - 1)};
  }
  energy::Recordings* recordings() const override { return record ? &kept : nullptr; }
  mutable energy::Recordings kept;
  mutable int calls = 0;
  bool record = true;
};

Chains far_streams(std::int64_t count, std::int64_t elements) {
  Chains chains = start_chains({Start::normal}, {elements}, count, std::int64_t{1} << 33, {}, 5);
  chains.stream[1].bitwise_or_(negated_stream);
  return chains;
}

const LangevinOptions cooled{.step_size = 0.02,
                             .noise = 0.1,
                             .gradient_clip = 1.5,
                             .low = -1.4,
                             .high = 1.3,
                             .temperature_start = 1,
                             .temperature_end = 0.01};

/// langevin_on_device, on the imitation.
void imitate(const DeviceLangevin& l, const energy::Energy& energy, Chains& chains, std::vector<cuda::ChainSums>& sums,
             unsigned threads) {
  const PhiloxKey key = philox_key(l.seed, Purpose::langevin_noise);
  const cuda::Settings settings{{static_cast<float>(l.step_size), static_cast<float>(l.gradient_clip),
                                 static_cast<float>(l.low), static_cast<float>(l.high)},
                                key[0],
                                key[1]};
  const at::Tensor fixed = chains.fixed_elements();
  sums.assign(static_cast<std::size_t>(chains.size()), {});
  at::Tensor before = at::empty_like(chains.x);
  for (const double s : l.sigmas) {
    const auto sigma = static_cast<float>(s);
    const auto count = static_cast<unsigned>(chains.size()),
               elements = static_cast<unsigned>(chains.x.numel() / chains.size());
    cuda::UpdateArguments u{chains.x.data_ptr<float>(),
                            l.noise_first ? before.data_ptr<float>() : nullptr,
                            nullptr,
                            nullptr,
                            chains.stream.const_data_ptr<std::int64_t>(),
                            chains.steps.data_ptr<std::int64_t>(),
                            sums.data(),
                            &settings,
                            &sigma,
                            count,
                            elements,
                            fixed.defined() ? fixed.const_data_ptr<bool>() : nullptr};
    if (l.noise_first) {
      imitation::launch(cuda::add_noise_kernel, count, threads, u);
      u.sigma = nullptr;
    }
    const auto [e, g] = energy.energy_and_gradient(chains.x);
    u.energy = e.const_data_ptr<float>();
    u.gradient = g.const_data_ptr<float>();
    imitation::launch(cuda::update_kernel, count, threads, u);
  }
}

DeviceLangevin of(const LangevinOptions& o, std::int64_t steps, std::uint64_t seed) {
  DeviceLangevin l{o.step_size, o.gradient_clip, o.low, o.high, {}, o.noise_first, seed};
  for (std::int64_t k = 0; k < steps; ++k) {
    const double t = steps < 2 ? 0 : static_cast<double>(k) / static_cast<double>(steps - 1);
    l.sigmas.push_back(o.noise * std::sqrt(o.temperature_start * std::pow(o.temperature_end / o.temperature_start, t)));
  }
  return l;
}

TEST(CudaLangevin, TheKernelsMoveChainsAsTheCpuDoes) {
  for (const std::int64_t elements : {1, 2, 7, 100}) {
    for (const bool noise_first : {false, true}) {
      LangevinOptions options = cooled;
      options.noise_first = noise_first;
      Well well;
      Chains cpu = far_streams(5, elements), device = far_streams(5, elements);
      cpu.x[3][0] = device.x[3][0] = std::nan("");
      cpu.x[1][0] = device.x[1][0] = 1e30F;  // whose energy is infinite
      cpu.x[2][0] = device.x[2][0] = 3e6F;   // whose gradient's square is, as a float
      const at::Tensor before = cpu.x.clone();
      const StepInfo info = run(Langevin(options, 11), well, cpu, 6);
      std::vector<cuda::ChainSums> sums;
      imitate(of(options, 6, 11), well, device, sums, 4);
      EXPECT_TRUE(at::allclose(cpu.x, device.x, 1e-5, 1e-6, /*equal_nan=*/true)) << elements << ' ' << noise_first;
      EXPECT_TRUE(at::equal(cpu.steps, device.steps));
      EXPECT_TRUE(at::equal(device.x[1], before[1]));
      EXPECT_TRUE(at::equal(device.x[3].slice(0, 1), before[3].slice(0, 1)));
      double energy = 0, square = 0, clipped = 0;
      for (const auto& s : sums)
        energy += s.energy / 3, square += s.square / 3, clipped += s.clipped / 3.0 / static_cast<double>(elements);
      EXPECT_NEAR(energy, info.energy, 1e-4 * (1 + info.energy));
      EXPECT_NEAR(std::sqrt(square), info.gradient_norm, 1e-4 * (1 + info.gradient_norm));
      EXPECT_NEAR(clipped, info.clipped_share, 1e-9);
      EXPECT_EQ(sums[1].stopped + sums[1].stopped_before, 6);
      EXPECT_EQ(sums[2].stopped + sums[2].stopped_before, 0);
      EXPECT_EQ(sums[3].stopped + sums[3].stopped_before, 6);
      EXPECT_EQ(info.non_finite, 12);
    }
  }
}

TEST(CudaLangevin, TheKernelsLeaveWhatIsFixed) {
  for (const bool noise_first : {false, true}) {
    LangevinOptions options = cooled;
    options.noise_first = noise_first;
    Well well;
    Chains cpu = far_streams(5, 37), device = far_streams(5, 37);
    cpu.fixed = device.fixed = at::arange(5 * 37).reshape({5, 37}).remainder(3).eq(0);
    cpu.x[3][1] = device.x[3][1] = std::nan("");
    const at::Tensor before = cpu.x.clone();
    const StepInfo info = run(Langevin(options, 11), well, cpu, 6);
    std::vector<cuda::ChainSums> sums;
    imitate(of(options, 6, 11), well, device, sums, 4);
    EXPECT_TRUE(at::allclose(cpu.x, device.x, 1e-5, 1e-6, /*equal_nan=*/true)) << noise_first;
    EXPECT_TRUE(at::equal(device.x.masked_select(cpu.fixed), before.masked_select(cpu.fixed)));
    double square = 0;
    for (const auto& s : sums) square += s.square / 4;
    EXPECT_NEAR(std::sqrt(square), info.gradient_norm, 1e-4 * (1 + info.gradient_norm));
  }
}

TEST(CudaLangevin, WithoutCudaItSaysSo) {
  if (built_with_cuda()) GTEST_SKIP() << "this build has CUDA";
  Chains chains = far_streams(2, 2);
  EXPECT_THROW(langevin_on_device(of(cooled, 1, 0), Well(), chains), UserError);
}

class OnDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_devices() == 0) GTEST_SKIP() << "no CUDA device";
  }
  c10::Device device_ = c10::Device(c10::DeviceType::CUDA, 0);
};

TEST_F(OnDevice, ChainsMoveAsOnTheCpu) {
  for (const std::int64_t elements : {2, 7, 784}) {
    for (const bool noise_first : {false, true}) {
      for (const bool record : {false, true}) {
        LangevinOptions options = cooled;
        options.noise_first = noise_first;
        Well well;
        well.record = record;
        Chains cpu = far_streams(33, elements), moved = far_streams(33, elements).to(device_);
        for (Chains* chains : {&cpu, &moved}) {
          chains->x[1][0].fill_(1e30F);
          chains->x[2][0].fill_(3e6F);
          chains->x[3][0].fill_(std::nan(""));
        }
        const StepInfo a = run(Langevin(options, 11), well, cpu, 100), b = run(Langevin(options, 11), well, moved, 100);
        EXPECT_TRUE(at::allclose(cpu.x, moved.x.cpu(), 1e-2, 1e-3, /*equal_nan=*/true));
        EXPECT_TRUE(at::equal(cpu.steps, moved.steps.cpu()));
        EXPECT_NEAR(a.energy, b.energy, 1e-3 * (1 + std::abs(a.energy)));
        EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 1e-3 * (1 + a.gradient_norm));
        EXPECT_EQ(a.non_finite, b.non_finite);
      }
    }
  }
}

TEST_F(OnDevice, WhatIsFixedStaysAndMasksMayChange) {
  for (const bool noise_first : {false, true}) {
    LangevinOptions options = cooled;
    options.noise_first = noise_first;
    Well well;
    for (const std::int64_t every : {3, 2}) {
      Chains cpu = far_streams(33, 100), moved = far_streams(33, 100).to(device_);
      cpu.fixed = at::arange(100).remainder(every).eq(0);
      moved.fixed = cpu.fixed.to(device_);
      const at::Tensor before = cpu.x.clone();
      run(Langevin(options, 11), well, cpu, 20);
      run(Langevin(options, 11), well, moved, 20);
      EXPECT_TRUE(at::allclose(cpu.x, moved.x.cpu(), 1e-2, 1e-3));
      EXPECT_TRUE(at::equal(before.ne(moved.x.cpu()), cpu.fixed.logical_not().expand({33, 100})));
    }
  }
}

TEST_F(OnDevice, StepsAreRecordedOnceForAShape) {
  Well well;
  const Langevin langevin(cooled, 3), other({.step_size = 0.01, .noise = 0.2}, 4);
  Chains chains = far_streams(16, 8).to(device_), more = far_streams(17, 8).to(device_);
  run(langevin, well, chains, 20);
  const int once = well.calls;
  EXPECT_EQ(once, 3 + 20);
  run(langevin, well, chains, 20);
  run(other, well, chains, 20);  // other options and another seed: the same recording
  EXPECT_EQ(well.calls, once);
  run(langevin, well, more, 20);
  EXPECT_GT(well.calls, once);
}

TEST_F(OnDevice, CompositionsAreRecordedAndMoveAsOnTheCpu) {
  const auto well = std::make_shared<Well>();
  const at::Tensor free = at::arange(8).remainder(3).ne(0), fixed = at::linspace(-1, 1, 8, at::kDouble);
  const auto composed = [&](c10::Device device) {
    const auto masked = std::make_shared<energy::Masked>(well, free.to(device), fixed.to(device));
    return energy::Mixture({std::make_shared<energy::Sum>(std::vector<energy::EnergyPtr>{well, masked}),
                            energy::rescaled(well, 0.9, 1.1)});
  };
  Chains cpu = far_streams(16, 8), moved = far_streams(16, 8).to(device_);
  const Langevin langevin(cooled, 3);
  run(langevin, composed(c10::kCPU), cpu, 20);
  const energy::Mixture there = composed(device_);
  ASSERT_NE(energy::recordings(there), nullptr);
  run(langevin, there, moved, 20);
  EXPECT_TRUE(at::allclose(cpu.x, moved.x.cpu(), 1e-2, 1e-3));
  const int calls = well->calls;
  run(langevin, there, moved, 20);
  EXPECT_EQ(well->calls, calls);
}

// sd 1 noise on a flat energy leaves the noise itself.
TEST_F(OnDevice, NoiseIsTheCpusToRounding) {
  class Flat : public energy::Energy {
   public:
    at::Tensor energy(const at::Tensor& x) const override { return at::zeros({x.size(0)}, x.options()); }
    energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
      return {energy(x), at::zeros_like(x)};
    }
  };
  const Langevin langevin({.step_size = 1, .noise = 1}, 9);
  Chains cpu = far_streams(64, 1001), moved = far_streams(64, 1001).to(device_);
  cpu.x.zero_();
  moved.x.zero_();
  run(langevin, Flat(), cpu, 1);
  run(langevin, Flat(), moved, 1);
  EXPECT_LT((cpu.x - moved.x.cpu()).abs().max().item<double>(), 2e-6);
}

}  // namespace
}  // namespace igebm::sampling
