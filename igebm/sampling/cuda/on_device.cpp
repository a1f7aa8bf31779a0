#include "igebm/sampling/on_device.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "igebm/base/random.h"
#include "igebm/base/recording.h"
#include "igebm/energy/capabilities.h"
#include "igebm/sampling/cuda/update.h"

namespace igebm::sampling {
namespace {

constexpr std::int64_t longest = 64;  // steps of a recording
constexpr std::int64_t fewest = 4;    // fewer are not worth one

at::Tensor words(std::int64_t count, const at::Tensor& beside) {
  return at::zeros({count}, beside.options().dtype(at::kInt));
}

template <typename T>
T* address(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

/// Where steps find their chains, options and noise levels, always at the same addresses, and recordings of them.
class Device {
 public:
  Device(const Chains& chains, bool noise_first)
      : x_(at::empty(chains.x.sizes(), chains.x.options().dtype(at::kFloat))),
        before_(noise_first ? at::empty_like(x_) : at::Tensor()),
        stream_(at::empty_like(chains.stream)),
        steps_(at::empty_like(chains.steps)),
        sums_(words(chains.size() * static_cast<std::int64_t>(sizeof(cuda::ChainSums) / 4), x_)),
        settings_(words(sizeof(cuda::Settings) / 4, x_)),
        sigmas_(at::zeros({longest}, x_.options())),
        fixed_(chains.fixed.defined() ? at::empty(x_.sizes(), x_.options().dtype(at::kBool)) : at::Tensor()) {}

  StepInfo run(const DeviceLangevin& l, const energy::Energy& energy, Chains& chains, bool record) {
    x_.copy_(chains.x);
    stream_.copy_(chains.stream);
    steps_.copy_(chains.steps);
    if (fixed_.defined()) fixed_.copy_(chains.fixed_elements());
    sums_.zero_();
    set(l);
    const std::vector<float> sigmas(l.sigmas.begin(), l.sigmas.end());
    at::Tensor all;  // on the device, once one is needed
    const auto total = static_cast<std::int64_t>(sigmas.size());
    for (std::int64_t first = 0; first < total; first += longest) {
      const std::int64_t count = std::min(longest, total - first);
      const std::vector<float> part(sigmas.begin() + first, sigmas.begin() + first + count);
      if (!std::equal(part.begin(), part.end(), there_.begin(), there_.begin() + std::min(count, held_))) {
        if (!all.defined()) all = at::tensor(sigmas).to(x_.device());
        sigmas_.narrow(0, 0, count).copy_(all.narrow(0, first, count));
        std::copy(part.begin(), part.end(), there_.begin());
        held_ = count;
      }
      if (record && count >= fewest) {
        recording(energy, count, l.noise_first).play();
      } else {
        for (std::int64_t k = 0; k < count; ++k) step(energy, k, l.noise_first);
      }
    }
    chains.x.copy_(x_);
    chains.steps.copy_(steps_);
    return summarise(chains.size());
  }

 private:
  void set(const DeviceLangevin& l) {
    const PhiloxKey key = philox_key(l.seed, Purpose::langevin_noise);
    const cuda::Settings wanted{{static_cast<float>(l.step_size), static_cast<float>(l.gradient_clip),
                                 static_cast<float>(l.low), static_cast<float>(l.high)},
                                key[0],
                                key[1]};
    if (is_set_ && std::memcmp(&wanted, &set_, sizeof(wanted)) == 0) return;
    const at::Tensor host = at::empty({settings_.numel()}, at::kInt);
    std::memcpy(host.mutable_data_ptr(), &wanted, sizeof(wanted));
    settings_.copy_(host);
    set_ = wanted;
    is_set_ = true;
  }

  void step(const energy::Energy& energy, std::int64_t k, bool noise_first) const {
    const auto count = x_.size(0);
    void* stream = c10::cuda::getCurrentCUDAStream().stream();
    cuda::UpdateArguments u{.x = address<float>(x_),
                            .before = noise_first ? address<float>(before_) : nullptr,
                            .gradient = nullptr,
                            .energy = nullptr,
                            .stream = address<std::int64_t>(stream_),
                            .steps = address<std::int64_t>(steps_),
                            .sums = address<cuda::ChainSums>(sums_),
                            .settings = address<cuda::Settings>(settings_),
                            .sigma = address<float>(sigmas_) + k,
                            .chains = static_cast<std::uint32_t>(count),
                            .elements = static_cast<std::uint32_t>(x_.numel() / count),
                            .fixed = fixed_.defined() ? address<bool>(fixed_) : nullptr};
    if (noise_first) {
      cuda::add_noise(u, stream);
      C10_CUDA_KERNEL_LAUNCH_CHECK();
      u.sigma = nullptr;
    }
    const auto [e, g] = energy.energy_and_gradient(x_);
    const at::Tensor energies = e.to(at::kFloat).contiguous(), gradient = g.to(at::kFloat).contiguous();
    u.energy = energies.const_data_ptr<float>();
    u.gradient = gradient.const_data_ptr<float>();
    cuda::update(u, stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

  const Recording& recording(const energy::Energy& energy, std::int64_t count, bool noise_first) {
    auto& kept = recordings_[count];
    if (!kept) {
      kept = record(
          x_.device(), [&] { energy.energy_and_gradient(x_); },
          [&] {
            for (std::int64_t k = 0; k < count; ++k) step(energy, k, noise_first);
          },
          first_);
      if (first_ == nullptr) first_ = kept.get();
    }
    return *kept;
  }

  /// The one place that waits for the device.
  StepInfo summarise(std::int64_t count) const {
    const at::Tensor host = sums_.cpu();
    const auto* sums = static_cast<const cuda::ChainSums*>(host.const_data_ptr());
    std::vector<ChainInfo> each(static_cast<std::size_t>(count));
    std::int64_t before = 0;
    for (std::size_t i = 0; i < each.size(); ++i) {
      const bool good = sums[i].stopped == 0;
      each[i] = {sums[i].square, sums[i].energy, sums[i].clipped, good, good};
      before += sums[i].stopped_before;
    }
    StepInfo info = sampling::summarise(std::move(each), x_.numel() / count);
    info.non_finite += before;
    return info;
  }

  at::Tensor x_, before_, stream_, steps_, sums_, settings_, sigmas_, fixed_;
  cuda::Settings set_{};  // what settings_ holds
  bool is_set_ = false;
  std::vector<float> there_ = std::vector<float>(longest, 0.0F);  // what sigmas_ holds in its first held_ places
  std::int64_t held_ = 0;
  std::map<std::int64_t, std::unique_ptr<Recording>> recordings_;  // by steps
  const Recording* first_ = nullptr;
};

}  // namespace

StepInfo langevin_on_device(const DeviceLangevin& langevin, const energy::Energy& energy, Chains& chains) {
  if (chains.size() == 0 || langevin.sigmas.empty() || chains.x.numel() == 0) return {};
  const at::NoGradGuard no_grad;
  const c10::cuda::CUDAGuard on(chains.x.device());
  chains.x = chains.x.contiguous();
  energy::Recordings* kept = energy::recordings(energy);
  if (kept == nullptr) return Device(chains, langevin.noise_first).run(langevin, energy, chains, false);
  auto& device =
      (*kept)[fmt::format("langevin ({}) {}{}{}", fmt::join(chains.x.sizes().vec(), ", "), chains.x.device().str(),
                          langevin.noise_first ? " noise first" : "", chains.fixed.defined() ? " fixed" : "")];
  if (!device) device = std::make_shared<Device>(chains, langevin.noise_first);
  return static_cast<Device*>(device.get())->run(langevin, energy, chains, true);
}

}  // namespace igebm::sampling
