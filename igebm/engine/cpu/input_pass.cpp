#include "igebm/engine/cpu/input_pass.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <stdexcept>
#include <utility>

#include "igebm/base/clock.h"

namespace igebm::engine::cpu {
namespace {

constexpr std::array<std::string_view, 4> names = {"direct", "winograd", "winograd-bf16", "tiles"};

#ifdef _OPENMP
extern "C" int omp_get_thread_num();
std::size_t thread() { return static_cast<std::size_t>(omp_get_thread_num()); }
#else
std::size_t thread() { return 0; }
#endif

}  // namespace

std::string_view name(Algorithm algorithm) { return names[static_cast<std::size_t>(algorithm)]; }

InputPass::InputPass(Plan plan, const Kernels& kernels, std::vector<Algorithm> ways, std::string key,
                     Autotuner& autotuner)
    : plan_(std::move(plan)), kernels_(kernels), ways_(std::move(ways)), key_(std::move(key)), autotuner_(autotuner) {}

void InputPass::prepare(const nn::Tensors& tensors, const Inputs& in, int threads) {
  if (packed_) return;
  weights_.take_vectors(plan_, tensors);
  if (!measured()) {
    const std::string key = key_ + kernels_.name + std::to_string(threads);
    const bool taken = take(autotuner_.choose(key, [&] {
      measure(tensors, in, threads);
      return tuned();
    }));
    if (!taken) throw std::logic_error("autotuner: choices of another network under one key");
  }
  weights_.packed = packed(choices_.algorithms, tensors);
  packed_ = true;
}

void InputPass::run(const Inputs& in, int threads, float* energies, float* gradient) {
  const int samples = std::min<int>(choices_.samples, static_cast<int>((in.count + threads - 1) / threads));
  make_workers(threads, choices_.samples);
  // As many parts as fill the threads evenly, of nearly equal size.
  std::int64_t parts = (in.count + samples - 1) / samples;
  parts = std::min<std::int64_t>(in.count, (parts + threads - 1) / threads * threads);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t p = 0; p < parts; ++p) {
    const std::int64_t begin = in.count * p / parts, end = in.count * (p + 1) / parts;
    workers_[thread()]->run(kernels_, weights_, choices_, in.x + begin * plan_.elements, in.labels.from(begin),
                            static_cast<int>(end - begin), energies + begin,
                            gradient == nullptr ? nullptr : gradient + begin * plan_.elements);
  }
}

void InputPass::run_timed(const Inputs& in, float* energies, float* gradient,
                          const std::function<void(const Step&, double)>& timed) {
  Worker worker(plan_, choices_.samples);
  worker.run(kernels_, weights_, choices_, in.x, in.labels, static_cast<int>(in.count), energies, gradient, timed);
}

Tuned InputPass::tuned() const {
  Tuned all{.samples = choices_.samples, .chunks = choices_.chunks, .seconds = seconds_};
  for (std::size_t i = 0; i < choices_.algorithms.size(); ++i) {
    const Convolution& c = plan_.convolutions[i];
    if (c.can_winograd) all.algorithms.emplace_back(c.key(), name(choices_.algorithms[i]));
  }
  return all;
}

bool InputPass::take(const Tuned& tuned) {
  Choices taken{tuned.samples, Algorithms(plan_.convolutions.size(), Algorithm::direct), tuned.chunks};
  for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
    const Convolution& c = plan_.convolutions[i];
    if (c.tiles) taken.algorithms[i] = Algorithm::tiles;
    if (!c.can_winograd) continue;
    const auto chosen = std::find_if(tuned.algorithms.begin(), tuned.algorithms.end(),
                                     [&](const auto& of) { return of.first == c.key(); });
    if (chosen == tuned.algorithms.end()) return false;
    const auto* found = std::find(names.begin(), names.end(), chosen->second);
    const auto algorithm = static_cast<Algorithm>(found - names.begin());
    if (found == names.end() || algorithm == Algorithm::tiles ||
        (algorithm == Algorithm::winograd_bf16 && kernels_.winograd_bf16 == nullptr))
      return false;
    taken.algorithms[i] = algorithm;
  }
  choices_ = std::move(taken);
  seconds_ = tuned.seconds;
  return true;
}

std::vector<std::shared_ptr<float[]>> InputPass::packed(const Algorithms& algorithms,
                                                        const nn::Tensors& tensors) const {
  std::vector<std::shared_ptr<float[]>> all(plan_.convolutions.size());
  at::parallel_for(0, static_cast<std::int64_t>(all.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      const auto i = static_cast<std::size_t>(k);
      const Convolution& c = plan_.convolutions[i];
      all[i] = pack(kernels_, c, tensors.at(c.name + ".weight"), algorithms[i]);
    }
  });
  return all;
}

void InputPass::make_workers(int threads, int samples) {
  if (!workers_.empty() && workers_[0]->samples() != samples) workers_.clear();
  while (static_cast<int>(workers_.size()) < threads) workers_.push_back(std::make_unique<Worker>(plan_, samples));
}

void InputPass::measure(const nn::Tensors& tensors, const Inputs& in, int threads) {
  const auto most = static_cast<int>(std::max<std::int64_t>(1, (in.count + threads - 1) / threads));
  Choices choices{1, Algorithms(plan_.convolutions.size(), Algorithm::direct), {}};
  for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
    if (plan_.convolutions[i].tiles) choices.algorithms[i] = Algorithm::tiles;
  }
  measure_algorithms(tensors, in, std::min(most, 4), choices);
  weights_.packed = packed(choices.algorithms, tensors);
  // Larger sub-batches share the weights, smaller chunks of them stay in the cache: the samples first, then the chunks
  // from the largest pictures on.
  // Twice: other work on the machine must not decide.
  seconds_ = 1e30;
  for (int sweep = 0; sweep < 2; ++sweep) {
    const auto [size, seconds] = best_size(std::min(most, 256), [&](int samples) {
      Choices tried = choices;
      tried.samples = samples;
      return measure_size(in, threads, tried);
    });
    if (seconds < seconds_) choices.samples = size, seconds_ = seconds;
  }
  std::map<int, int, std::greater<>> heights;
  for (const Step& s : plan_.forward) {
    if (s.height * s.width > 1) heights[s.height] = 0;
  }
  for (const auto& [height, unused] : heights) {
    for (const int chunk : {1, 2, 4, 8, 16, 32, 64, 128}) {
      if (chunk >= choices.samples) break;
      Choices tried = choices;
      tried.chunks[height] = chunk;
      const double seconds = measure_size(in, threads, tried);
      if (seconds < 0.97 * seconds_) seconds_ = seconds, choices = tried;
    }
  }
  choices_ = std::move(choices);
}

void InputPass::measure_algorithms(const nn::Tensors& tensors, const Inputs& in, int samples, Choices& choices) {
  std::vector<Choices> all;
  std::vector<std::vector<std::shared_ptr<float[]>>> packs;
  for (const Algorithm way : ways_) {
    all.push_back(choices);
    for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
      if (plan_.convolutions[i].can_winograd) all.back().algorithms[i] = way;
    }
    packs.push_back(packed(all.back().algorithms, tensors));
  }
  weights_.packed = packed(choices.algorithms, tensors);
  std::vector<float> e(static_cast<std::size_t>(samples)), g(static_cast<std::size_t>(samples * plan_.elements));
  Worker worker(plan_, samples);
  worker.run(kernels_, weights_, choices, in.x, in.labels, samples, e.data(), g.data());
  for (const auto* steps : {&plan_.forward, &plan_.backward}) {
    for (const Step& s : *steps) {
      if (s.convolution < 0 || !plan_.convolutions[static_cast<std::size_t>(s.convolution)].can_winograd) continue;
      std::vector<double> best(ways_.size(), 1e30);
      for (int repeat = 0; repeat < 4; ++repeat) {
        for (std::size_t w = 0; w < ways_.size(); ++w) {
          std::swap(weights_.packed, packs[w]);
          const double start = now();
          worker.run(s, kernels_, weights_, all[w], 0, samples);
          best[w] = std::min(best[w], now() - start);
          std::swap(weights_.packed, packs[w]);
        }
      }
      const auto fastest = std::min_element(best.begin(), best.end()) - best.begin();
      choices.algorithms[static_cast<std::size_t>(s.convolution)] = ways_[static_cast<std::size_t>(fastest)];
    }
  }
}

double InputPass::measure_size(const Inputs& in, int threads, const Choices& tried) {
  // All threads at once: they share the last cache.
  const int workers = static_cast<int>(std::min<std::int64_t>(threads, in.count));
  make_workers(workers, tried.samples);
  std::vector<float> e(static_cast<std::size_t>(in.count)), g(static_cast<std::size_t>(in.count * plan_.elements));
  return least_time([&] {
           const double start = now();
#pragma omp parallel for schedule(static, 1) num_threads(workers)
           for (int t = 0; t < workers; ++t) {
             const std::int64_t begin =
                 std::min<std::int64_t>(in.count - tried.samples, std::int64_t{t} * tried.samples);
             workers_[static_cast<std::size_t>(t)]->run(kernels_, weights_, tried, in.x + begin * plan_.elements,
                                                        in.labels.from(begin), tried.samples, e.data() + begin,
                                                        g.data() + begin * plan_.elements);
           }
           return now() - start;
         }) /
         tried.samples;
}

}  // namespace igebm::engine::cpu
