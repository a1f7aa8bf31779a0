#include "igebm/engine/cpu/cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>
#include <utility>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/engine/cpu/measure.h"
#include "igebm/engine/cpu/parameters.h"
#include "igebm/engine/graphs.h"
#include "igebm/engine/reference.h"

namespace igebm::engine {
namespace cpu {
namespace {

constexpr std::array<std::string_view, 3> names = {"direct", "winograd", "winograd-bf16"};  // by Algorithm

/// What was measured in this process, by network and kernels.
std::mutex measured_mutex;
std::map<std::string, Choices>& measured() {
  static std::map<std::string, Choices> all;
  return all;
}

class Engine : public Prepared, public std::enable_shared_from_this<Engine> {
 public:
  Engine(const nn::Graph& graph, Plan plan, const nn::Tensors& weights, const Options& options)
      : graph_(graph),
        plan_(std::move(plan)),
        kernels_(kernels(options.instructions.c_str())),
        precision_(options.precision) {
    std::string why;
    if (auto plan_for_parameters = make_plan(graph, Wanted::parameter_gradients, why))
      parameters_ = std::make_unique<ParameterPass>(std::move(*plan_for_parameters), plan_, kernels_);
    if (!options.choices.empty()) take_choices(options.choices);
    refresh(weights);
  }

  void refresh(const nn::Tensors& weights) override {
    for (const auto& [name, t] : weights) {
      const at::Tensor w = t.detach();
      tensors_[name] = w.dim() == 4 ? w.contiguous(at::MemoryFormat::ChannelsLast) : w;
    }
    packed_ = shared_ = false;  // when next needed: a refresh may be followed by another
  }

  energy::EnergyPtr given(const at::Tensor& labels) override;

  std::string description() const override {
    if (choices_.samples == 0) return fmt::format("cpu ({})", kernels_.name);
    std::int64_t winograd = 0, bf16 = 0, candidates = 0;
    for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
      winograd += choices_.algorithms[i] != Algorithm::direct ? 1 : 0;
      bf16 += choices_.algorithms[i] == Algorithm::winograd_bf16 ? 1 : 0;
      candidates += plan_.convolutions[i].few == 0 ? 1 : 0;
    }
    return fmt::format("cpu ({}): {} of {} convolutions by Winograd{}", kernels_.name, winograd, candidates,
                       bf16 > 0 ? fmt::format(", {} of them in bfloat16", bf16) : "");
  }

  std::string choices() const override {
    if (choices_.samples == 0) return "";
    nlohmann::ordered_json json = {{"kernels", kernels_.name},
                                   {"precision", precision_},
                                   {"samples", choices_.samples},
                                   {"training_samples", choices_.training_samples}};
    auto& chunks = json["chunks"] = nlohmann::ordered_json::object();
    for (const auto& [height, chunk] : choices_.chunks) chunks[std::to_string(height)] = chunk;
    auto& algorithms = json["algorithms"] = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
      if (plan_.convolutions[i].can_winograd)
        algorithms[plan_.convolutions[i].key()] = names[static_cast<std::size_t>(choices_.algorithms[i])];
    }
    return json.dump();
  }

  double operations() const override { return engine::operations(graph_); }

  std::vector<StepCost> profile(const at::Tensor& x, const at::Tensor& labels) override {
    at::Tensor energies, gradient;
    evaluate(x, labels, energies, &gradient);  // prepares, and checks x
    const at::Tensor in = x.detach().contiguous();
    const int samples = std::min<int>(choices_.samples, static_cast<int>(x.size(0)));
    Worker worker(plan_, choices_.samples);
    const at::Tensor chosen = checked(labels, x.size(0));
    std::vector<StepCost> costs(plan_.forward.size() + plan_.backward.size());
    for (int repeat = 0; repeat < 10; ++repeat) {
      worker.run(kernels_, weights_, choices_, in.const_data_ptr<float>(), read(chosen), samples,
                 energies.data_ptr<float>(), gradient.data_ptr<float>(),
                 [&, i = std::size_t{0}](const Step& s, double seconds) mutable {
                   StepCost& cost = costs[i++];
                   cost.what = describe(s);
                   cost.operations = operations_of(s);
                   const double each = seconds / samples;
                   cost.seconds = repeat == 0 ? each : std::min(cost.seconds, each);
                 });
    }
    return costs;
  }

  /// False where x is not for this engine (another type or device).
  bool takes(const at::Tensor& x) const {
    return x.scalar_type() == at::kFloat && x.is_cpu() && x.dim() >= 1 && x.numel() == x.size(0) * plan_.elements;
  }

  at::Tensor reference(const at::Tensor& x, const at::Tensor& labels) const {
    return nn::evaluate(graph_, tensors_, x, labels);
  }

  void evaluate(const at::Tensor& x, const at::Tensor& labels, at::Tensor& energies, at::Tensor* gradient) {
    const auto count = x.size(0);
    const at::Tensor in = x.contiguous(), chosen = checked(labels, count);
    const float* px = in.const_data_ptr<float>();
    const Labels pl = read(chosen);
    if (!energies.defined() || energies.numel() != count) energies = at::empty({count});
    if (gradient != nullptr && !(gradient->defined() && gradient->sizes() == in.sizes()))
      *gradient = at::empty(in.sizes());
    if (count == 0) return;
    float* pe = energies.data_ptr<float>();
    float* pg = gradient == nullptr ? nullptr : gradient->data_ptr<float>();
    const int threads = at::get_num_threads();
    prepare(px, pl, count, threads);
    const int samples = std::min<int>(choices_.samples, static_cast<int>((count + threads - 1) / threads));
    make_workers(threads, choices_.samples);
    // As many parts as fill the threads evenly, of nearly equal size.
    std::int64_t parts = (count + samples - 1) / samples;
    parts = std::min<std::int64_t>(count, (parts + threads - 1) / threads * threads);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (std::int64_t p = 0; p < parts; ++p) {
      const std::int64_t begin = count * p / parts, end = count * (p + 1) / parts;
      workers_[static_cast<std::size_t>(thread())]->run(kernels_, weights_, choices_, px + begin * plan_.elements,
                                                        pl.from(begin), static_cast<int>(end - begin), pe + begin,
                                                        pg == nullptr ? nullptr : pg + begin * plan_.elements);
    }
  }

  bool derives_parameters() const override { return parameters_ != nullptr && !has_dropout(graph_); }

  at::Tensor parameter_gradient(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& coefficients,
                                const at::Tensor& slopes, nn::Tensors& into, const nn::Dropout* dropout) override {
    const auto count = x.size(0);
    const int threads = at::get_num_threads();
    if (!takes(x) || count == 0 || !parameters_ || (dropout != nullptr && has_dropout(graph_)))
      return engine::parameter_gradient(graph_, tensors_, x, labels, coefficients, slopes, into, dropout);
    const at::Tensor in = x.detach().contiguous(), chosen = checked(labels, count),
                     c = coefficients.to(at::kFloat).contiguous(),
                     s = slopes.defined() ? slopes.to(at::kFloat).contiguous() : at::Tensor();
    const float* px = in.const_data_ptr<float>();
    const Labels pl = read(chosen);
    prepare(px, pl, count, threads);
    if (!shared_) {
      parameters_->take(weights_, tensors_, choices_);
      shared_ = true;
    }
    at::Tensor energies = at::empty({count});
    const auto run = [&] {
      parameters_->run(choices_, px, pl, count, c.const_data_ptr<float>(),
                       s.defined() ? s.const_data_ptr<float>() : nullptr, threads, energies.data_ptr<float>(), into);
    };
    if (choices_.training_samples > 0) {
      run();
    } else {
      const std::scoped_lock lock(measured_mutex);  // what it measures serves all engines of this network
      static std::map<std::string, int> kept;
      int& samples = kept[measured_key(threads)];
      choices_.training_samples = samples;
      run();
      samples = choices_.training_samples;
    }
    return energies;
  }

 private:
  static int thread();

  /// Labels as they are read; throws UserError where they are not what the network takes.
  at::Tensor checked(const at::Tensor& labels, std::int64_t count) const {
    graph_.check_labels(labels, count);
    if (!graph_.conditional()) return {};
    const at::Tensor chosen = labels.to(graph_.conditions > 0 ? at::kFloat : at::kLong).contiguous();
    if (graph_.conditions > 0) return chosen;
    const auto* label = chosen.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i) {
      if (label[i] < 0 || label[i] >= graph_.classes)
        throw UserError(fmt::format("network: expected labels in [0, {}), got {}", graph_.classes, label[i]));
    }
    return chosen;
  }

  Labels read(const at::Tensor& checked) const {
    if (graph_.classes > 0) return {checked.const_data_ptr<std::int64_t>(), nullptr, 0};
    if (graph_.conditions > 0) return {nullptr, checked.const_data_ptr<float>(), static_cast<int>(graph_.conditions)};
    return {};
  }

  std::string describe(const Step& s) const {
    const std::string size = fmt::format("{} x {}, {} lanes", s.height, s.width, s.lanes);
    switch (s.kind) {
      case Step::Kind::convolution: {
        const auto i = static_cast<std::size_t>(s.convolution);
        const Convolution& c = plan_.convolutions[i];
        return fmt::format("{} of {}, {} -> {}",
                           c.few > 0 ? "few" : names[static_cast<std::size_t>(choices_.algorithms[i])], c.key(), c.read,
                           size);
      }
      case Step::Kind::load:
        return "load, " + size;
      case Step::Kind::store:
        return "store, " + size;
      case Step::Kind::pointwise:
        return "pointwise, " + size;
      case Step::Kind::pool:
        return "pool, " + size;
      case Step::Kind::group_norm:
        return "group norm, " + size;
      case Step::Kind::group_norm_gradient:
        return "group norm', " + size;
      case Step::Kind::inner:
        return "inner, " + size;
      case Step::Kind::weight_gradient:
        return "weights', " + size;
      case Step::Kind::lane_sums:
        return "sums, " + size;
      case Step::Kind::attention:
        return "attention, " + size;
      case Step::Kind::attention_gradient:
        return "attention', " + size;
    }
    return {};
  }

  double operations_of(const Step& s) const {
    if (s.attention >= 0) {
      const double forwards = 2 * plan_.attentions[static_cast<std::size_t>(s.attention)].multiplications;
      return s.kind == Step::Kind::attention ? forwards : 2 * forwards;
    }
    if (s.convolution < 0) return 0;
    const Convolution& c = plan_.convolutions[static_cast<std::size_t>(s.convolution)];
    return 2.0 * static_cast<double>(c.lane_of_input.size()) * c.layer_outputs * static_cast<double>(c.taps.size()) *
           s.height * s.width;
  }

  std::string measured_key(int threads) const {
    return nn::to_json(graph_) + kernels_.name + precision_ + std::to_string(threads);
  }

  void make_workers(int threads, int samples) {
    if (!workers_.empty() && workers_[0]->samples() != samples) workers_.clear();
    while (static_cast<int>(workers_.size()) < threads) workers_.push_back(std::make_unique<Worker>(plan_, samples));
  }

  void pack_all(const Algorithms& algorithms, std::vector<std::shared_ptr<float[]>>& packed) const {
    packed.resize(plan_.convolutions.size());
    at::parallel_for(0, static_cast<std::int64_t>(packed.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) {
        const auto i = static_cast<std::size_t>(k);
        const Convolution& c = plan_.convolutions[i];
        packed[i] = pack(kernels_, c, tensors_.at(c.name + ".weight"), algorithms[i]);
      }
    });
  }

  /// Weights packed, and algorithms chosen if they are not.
  void prepare(const float* x, const Labels& labels, std::int64_t count, int threads) {
    if (packed_) return;
    weights_.take_vectors(plan_, tensors_);
    if (choices_.samples == 0) {
      const std::scoped_lock lock(measured_mutex);
      const std::string key = measured_key(threads);
      const auto found = measured().find(key);
      choices_ = found != measured().end() ? found->second : measure(x, labels, count, threads);
      measured()[key] = choices_;
    }
    pack_all(choices_.algorithms, weights_.packed);
    packed_ = true;
  }

  /// The faster algorithm for each convolution, then the fastest size of sub-batches.
  Choices measure(const float* x, const Labels& labels, std::int64_t count, int threads) {
    const auto most = static_cast<int>(std::max<std::int64_t>(1, (count + threads - 1) / threads));
    const std::size_t convolutions = plan_.convolutions.size();
    Choices choices{1, Algorithms(convolutions, Algorithm::direct), {}};
    // What is tried for each convolution that Winograd's algorithm can do; others are direct.
    std::vector<Algorithm> ways = {Algorithm::direct, Algorithm::winograd};
    const bool can_bf16 = kernels_.winograd_bf16 != nullptr;
    if (can_bf16 && precision_ == "bf16") ways = {Algorithm::winograd_bf16};
    if (can_bf16 && precision_ == "auto") ways.push_back(Algorithm::winograd_bf16);
    std::vector<float> e(static_cast<std::size_t>(count)), g(static_cast<std::size_t>(count * plan_.elements));
    {
      std::vector<Choices> all;
      std::vector<std::vector<std::shared_ptr<float[]>>> packed(ways.size());
      for (std::size_t w = 0; w < ways.size(); ++w) {
        all.push_back(choices);
        for (std::size_t i = 0; i < convolutions; ++i) {
          if (plan_.convolutions[i].can_winograd) all[w].algorithms[i] = ways[w];
        }
        pack_all(all[w].algorithms, packed[w]);
      }
      pack_all(choices.algorithms, weights_.packed);
      const int samples = std::min(most, 4);
      Worker worker(plan_, samples);
      worker.run(kernels_, weights_, choices, x, labels, samples, e.data(), g.data());
      for (const auto* steps : {&plan_.forward, &plan_.backward}) {
        for (const Step& s : *steps) {
          if (s.convolution < 0 || !plan_.convolutions[static_cast<std::size_t>(s.convolution)].can_winograd) continue;
          std::vector<double> best(ways.size(), 1e30);
          for (int repeat = 0; repeat < 4; ++repeat) {
            for (std::size_t w = 0; w < ways.size(); ++w) {
              std::swap(weights_.packed, packed[w]);
              const double start = now();
              worker.run(s, kernels_, weights_, all[w], 0, samples);
              best[w] = std::min(best[w], now() - start);
              std::swap(weights_.packed, packed[w]);
            }
          }
          const auto fastest = std::min_element(best.begin(), best.end()) - best.begin();
          choices.algorithms[static_cast<std::size_t>(s.convolution)] = ways[static_cast<std::size_t>(fastest)];
        }
      }
    }
    pack_all(choices.algorithms, weights_.packed);
    // Larger sub-batches share the weights, smaller chunks of them stay in the cache: the samples first, then the
    // chunks from the largest pictures on.
    // All threads at once: they share the last cache.
    const int workers = static_cast<int>(std::min<std::int64_t>(threads, count));
    const auto time = [&](const Choices& tried) {
      make_workers(workers, tried.samples);
      return least_time([&] {
               const double start = now();
#pragma omp parallel for schedule(static, 1) num_threads(workers)
               for (int t = 0; t < workers; ++t) {
                 const std::int64_t begin =
                     std::min<std::int64_t>(count - tried.samples, std::int64_t{t} * tried.samples);
                 workers_[static_cast<std::size_t>(t)]->run(kernels_, weights_, tried, x + begin * plan_.elements,
                                                            labels.from(begin), tried.samples, e.data() + begin,
                                                            g.data() + begin * plan_.elements);
               }
               return now() - start;
             }) /
             tried.samples;
    };
    double best = 0;
    std::tie(choices.samples, best) = best_size(std::min(most, 256), [&](int samples) {
      Choices tried = choices;
      tried.samples = samples;
      return time(tried);
    });
    std::map<int, int, std::greater<>> heights;
    for (const Step& s : plan_.forward) {
      if (s.height * s.width > 1) heights[s.height] = 0;
    }
    for (const auto& [height, unused] : heights) {
      for (const int chunk : {1, 2, 4, 8, 16, 32, 64, 128}) {
        if (chunk >= choices.samples) break;
        Choices tried = choices;
        tried.chunks[height] = chunk;
        const double seconds = time(tried);
        if (seconds < 0.97 * best) best = seconds, choices = tried;
      }
    }
    return choices;
  }

  void take_choices(const std::string& text) {
    try {
      const auto json = nlohmann::json::parse(text);
      // Another processor, or another wish: measure here.
      if (json.at("kernels") != kernels_.name || json.at("precision") != precision_) return;
      Choices taken{json.at("samples").get<int>(), Algorithms(plan_.convolutions.size(), Algorithm::direct), {}};
      for (const auto& [height, chunk] : json.at("chunks").items())
        taken.chunks[std::stoi(height)] = std::max(1, chunk.get<int>());
      for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
        const Convolution& c = plan_.convolutions[i];
        if (!c.can_winograd) continue;
        const auto* name = std::find(names.begin(), names.end(), json.at("algorithms").at(c.key()).get<std::string>());
        if (name == names.end() || (name - names.begin() == 2 && kernels_.winograd_bf16 == nullptr)) return;
        taken.algorithms[i] = static_cast<Algorithm>(name - names.begin());
      }
      taken.training_samples = std::clamp(json.value("training_samples", 0), 0, 4096);
      if (taken.samples >= 1 && taken.samples <= 4096) choices_ = std::move(taken);
    } catch (const std::exception&) {
      return;  // of another network or version: measure
    }
  }

  nn::Graph graph_;
  Plan plan_;
  const Kernels& kernels_;
  std::string precision_;
  nn::Tensors tensors_;
  Weights weights_;
  Choices choices_;
  bool packed_ = false, shared_ = false;
  std::unique_ptr<ParameterPass> parameters_;  // null: by autograd
  std::vector<std::unique_ptr<Worker>> workers_;
};

#ifdef _OPENMP
extern "C" int omp_get_thread_num();
int Engine::thread() { return omp_get_thread_num(); }
#else
int Engine::thread() { return 0; }
#endif

class FastEnergy : public energy::Energy {
 public:
  FastEnergy(std::shared_ptr<Engine> engine, at::Tensor labels)
      : engine_(std::move(engine)), labels_(std::move(labels)) {}

  at::Tensor energy(const at::Tensor& x) const override {
    if (!engine_->takes(x) || (at::GradMode::is_enabled() && x.requires_grad())) return engine_->reference(x, labels_);
    at::Tensor energies;
    engine_->evaluate(x, labels_, energies, nullptr);
    return energies;
  }

  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    if (!engine_->takes(x)) return Energy::energy_and_gradient(x);
    energy::EnergyAndGradient result;
    engine_->evaluate(x, labels_, result.energy, &result.gradient);
    return result;
  }

  void energy_and_gradient_into(const at::Tensor& x, energy::EnergyAndGradient& out) const override {
    if (!engine_->takes(x)) return Energy::energy_and_gradient_into(x, out);
    engine_->evaluate(x, labels_, out.energy, &out.gradient);
  }

 private:
  std::shared_ptr<Engine> engine_;
  at::Tensor labels_;
};

energy::EnergyPtr Engine::given(const at::Tensor& labels) {
  return std::make_shared<FastEnergy>(shared_from_this(), labels);
}

}  // namespace
}  // namespace cpu

std::shared_ptr<Prepared> cpu_engine(const nn::Graph& graph, const nn::Tensors& effective_weights,
                                     const Options& options, std::string& why) {
  auto plan = cpu::make_plan(graph, cpu::Wanted::input_gradient, why);
  if (!plan) return nullptr;
  return std::make_shared<cpu::Engine>(graph, std::move(*plan), effective_weights, options);
}

}  // namespace igebm::engine
