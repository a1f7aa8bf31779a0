#include "igebm/engine/cpu/cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/engine/cpu/plan.h"

namespace igebm::engine {
namespace cpu {
namespace {

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Memory = std::unique_ptr<float[], Free>;

Memory allocate(std::size_t floats) {
  // Large pages where there is enough to fill some: weights and pictures are walked through by far strides.
  constexpr std::size_t line = 64, large_page = std::size_t{2} << 20;
  const std::size_t unit = floats * sizeof(float) >= large_page ? large_page : line;
  const std::size_t bytes = std::max(unit, (floats * sizeof(float) + unit - 1) / unit * unit);
  auto* p = static_cast<float*>(std::aligned_alloc(unit, bytes));
  if (p == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (unit == large_page) madvise(p, bytes, MADV_HUGEPAGE);  // a wish: nothing is lost where it is not granted
#endif
  std::fill_n(p, floats, 0.0F);
  return Memory(p);
}

/// How the plan is carried out: measured once, then kept (Prepared::choices).
struct Choices {
  int samples = 0;             ///< in a sub-batch
  std::vector<char> winograd;  ///< of each convolution
  std::map<int, int> chunks;   ///< by a picture's height: as many samples go through the steps at that height together

  int chunk(const Step& s) const {
    const auto found = s.height * s.width == 1 ? chunks.end() : chunks.find(s.height);
    return found == chunks.end() ? samples : std::min(samples, found->second);
  }
};

/// Everything made of the weights.
struct Weights {
  std::vector<Memory> packed;   ///< of each convolution, for its algorithm
  std::vector<Memory> vectors;  ///< of each Vector: the fixed part
  std::vector<Memory> labels;   ///< of each Vector by label: (classes, lanes)
  std::vector<Memory> norms;    ///< of each Norm: weight and bias
};

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Tiles of a Winograd block: as many as let both sides of the products stay in the second-level cache.
int tiles(const Convolution& c) { return std::clamp(4096 / (c.read + c.lanes) / 14 * 14, 14, 112); }

/// A thread's memory and its run through the plan.
class Worker {
 public:
  Worker(const Plan& plan, int samples) : plan_(plan), samples_(samples) {
    std::size_t size = 0;
    for (const Buffer& slot : plan.slots) {
      starts_.push_back(size);
      // A few lines between the buffers keep equal places of different buffers out of one set of the cache.
      size +=
          static_cast<std::size_t>(slot.size()) * static_cast<std::size_t>(samples) + 16 * (starts_.size() % 8 * 5 + 3);
    }
    memory_ = allocate(size);
    std::size_t work = 0, vectors = 0;
    for (const Convolution& c : plan.convolutions) {
      if (c.can_winograd) work = std::max(work, winograd_work(c.read, c.lanes, tiles(c)));
    }
    work_ = allocate(work);
    for (const Vector& v : plan.vectors) {
      vector_starts_.push_back(vectors);
      if (!v.by_label.empty()) vectors += static_cast<std::size_t>(v.lanes * samples);
    }
    vectors_ = allocate(vectors);
    float* ones = at({plan.ones, 0});
    for (int n = 0; n < samples; ++n) ones[n * lane_block] = 1;
    for (const Convolution& c : plan.convolutions) {
      std::vector<std::ptrdiff_t> offsets(c.taps.size());
      offsets_.push_back(std::move(offsets));
    }
  }

  int samples() const { return samples_; }

  /// Energies of `count` <= samples inputs, and gradients unless null.
  /// timed, if given, is told of every step and its seconds.
  void run(const Kernels& k, const Weights& w, const Choices& choices, const float* x, const std::int64_t* labels,
           int count, float* energies, float* gradient, const std::function<void(const Step&, double)>& timed = {}) {
    x_ = x;
    gradient_ = gradient;
    for (std::size_t v = 0; v < plan_.vectors.size(); ++v) {
      if (plan_.vectors[v].by_label.empty()) continue;
      const int lanes = plan_.vectors[v].lanes;
      for (int n = 0; n < count; ++n) {
        const float *fixed = w.vectors[v].get(), *by_label = w.labels[v].get() + labels[n] * lanes;
        float* to = vectors_.get() + vector_starts_[v] + n * lanes;
        for (int c = 0; c < lanes; ++c) to[c] = fixed[c] + by_label[c];
      }
    }
    const auto all = [&](const std::vector<Step>& steps) {
      if (timed) {
        for (const Step& s : steps) {
          const double start = seconds();
          for (int n = 0; n < count; n += choices.chunk(s))
            run(s, k, w, choices, n, std::min(choices.chunk(s), count - n));
          timed(s, seconds() - start);
        }
        return;
      }
      // Steps of one chunk size follow one another for a few samples, whose values are then still in the cache.
      for (std::size_t begin = 0, end = 0; begin < steps.size(); begin = end) {
        const int chunk = choices.chunk(steps[begin]);
        while (end < steps.size() && choices.chunk(steps[end]) == chunk) ++end;
        for (int n = 0; n < count; n += chunk) {
          for (std::size_t i = begin; i < end; ++i) run(steps[i], k, w, choices, n, std::min(chunk, count - n));
        }
      }
    };
    all(plan_.forward);
    const float* e = at({plan_.energy, 0});
    for (int n = 0; n < count; ++n) energies[n] = e[n * lane_block];
    if (gradient != nullptr) all(plan_.backward);
  }

  /// A step for `count` samples from `first` on.
  void run(const Step& s, const Kernels& k, const Weights& w, const Choices& choices, int first, int count) {
    Extent extent{count, s.height, s.width, s.lanes};
    // Features of many samples are for a convolution one row of pixels.
    const bool features = s.kind == Step::Kind::convolution && s.height * s.width == 1;
    if (features) extent = {1, 1, count, s.lanes};
    const Convolution* c = s.convolution < 0 ? nullptr : &plan_.convolutions[static_cast<std::size_t>(s.convolution)];
    const auto view = [&](Ref r) { return this->view(r, features, first); };
    const auto result = [&](Ref r) {
      View v = view(r);
      if (c != nullptr && c->out_step > 1 && r) {
        v.data += c->out_y * v.row + c->out_x * v.pixel;
        v.row *= c->out_step;
        v.pixel *= c->out_step;
      }
      return v;
    };
    Epilogue e;
    const auto vector = [&](int index, const float*& data, std::ptrdiff_t& by_sample, std::ptrdiff_t& by_pixel) {
      if (index < 0) return;
      const auto i = static_cast<std::size_t>(index);
      const bool labelled = !plan_.vectors[i].by_label.empty();
      data = labelled ? vectors_.get() + vector_starts_[i] : w.vectors[i].get();
      if (!labelled) return;
      (features ? by_pixel : by_sample) = plan_.vectors[i].lanes;
      data += std::ptrdiff_t{1} * first * plan_.vectors[i].lanes;
    };
    vector(s.bias, e.bias, e.bias_sample, e.bias_pixel);
    vector(s.gain, e.gain, e.gain_sample, e.gain_pixel);
    e.add = result(s.add);
    e.multiply = result(s.multiply);
    e.out = result(s.out);
    e.activated = result(s.activated);
    e.derivative = result(s.derivative);
    e.activation = s.activation;
    e.slope = s.slope;
    switch (s.kind) {
      case Step::Kind::load:
        k.load(x_ + first * plan_.elements, plan_.input_channels, plan_.input_zoom, plan_.input_scale,
               plan_.input_shift, extent, e.out);
        break;
      case Step::Kind::store:
        k.store(view(s.in), plan_.input_channels, plan_.input_zoom, plan_.input_scale, extent,
                gradient_ + first * plan_.elements);
        break;
      case Step::Kind::convolution: {
        const auto index = static_cast<std::size_t>(s.convolution);
        const View in = view(s.in);
        if (choices.winograd[index] != 0) {
          k.winograd({in, c->read, w.packed[index].get(), work_.get(), tiles(*c)}, extent, e);
          break;
        }
        auto& offsets = offsets_[index];
        for (std::size_t t = 0; t < c->taps.size(); ++t)
          offsets[t] = features ? 0 : c->taps[t].dy * in.row + c->taps[t].dx * in.pixel;
        const View stepped{in.data, in.sample, in.row * c->step, in.pixel * c->step};
        const DirectConvolution conv{stepped, static_cast<int>(c->taps.size()), c->read, offsets.data(),
                                     w.packed[index].get()};
        if (c->few > 0) {
          k.direct_few(conv, c->few, extent, e);
        } else {
          k.direct(conv, extent, e);
        }
        break;
      }
      case Step::Kind::pointwise:
        k.pointwise(view(s.in), s.scale, s.zoom_y, extent, e);
        break;
      case Step::Kind::pool:
        k.pool(view(s.in), s.scale, s.zoom_y, s.zoom_x, extent, e);
        break;
      case Step::Kind::inner:
        k.inner(view(s.in), view(s.other), s.scale, extent, e.out);
        break;
      case Step::Kind::group_norm:
      case Step::Kind::group_norm_gradient: {
        const Norm& norm = plan_.norms[static_cast<std::size_t>(s.norm)];
        const float* parameters = w.norms[static_cast<std::size_t>(s.norm)].get();
        float* statistics = at({norm.statistics, 0}) + std::ptrdiff_t{1} * first * s.lanes;
        const GroupNorm g{
            view(s.in),           norm.groups,   norm.group.data(), parameters,
            parameters + s.lanes, norm.elements, statistics,        statistics + std::ptrdiff_t{samples_} * s.lanes};
        if (s.kind == Step::Kind::group_norm) {
          k.group_norm(g, extent, e);
        } else {
          k.group_norm_gradient(g, view(s.other), extent, e);
        }
        break;
      }
    }
  }

 private:
  float* at(Ref r) {
    return memory_.get() + starts_[static_cast<std::size_t>(plan_.slot[static_cast<std::size_t>(r.buffer)])] + r.lane;
  }

  View view(Ref r, bool features, int first) {
    if (!r) return {};
    const Buffer& b = plan_.buffers[static_cast<std::size_t>(r.buffer)];
    float* start = at(r) + first * b.size();
    if (features) return {start, 0, 0, b.lanes};
    if (b.single()) return {start, b.lanes, 0, 0};
    const std::ptrdiff_t row = std::ptrdiff_t{1} * b.columns() * b.lanes;
    return {b.border ? start + row + b.lanes : start, b.size(), row, b.lanes};
  }

  const Plan& plan_;
  int samples_;
  std::vector<std::size_t> starts_, vector_starts_;
  std::vector<std::vector<std::ptrdiff_t>> offsets_;
  Memory memory_, work_, vectors_;
  const float* x_ = nullptr;
  float* gradient_ = nullptr;
};

Memory pack(const Kernels& k, const Convolution& c, const at::Tensor& weight, bool winograd) {
  const at::Tensor w = weight.to(at::kFloat).contiguous();
  const float* from = w.const_data_ptr<float>();
  const auto taps = static_cast<int>(c.taps.size());
  const auto size = static_cast<std::size_t>(taps) * static_cast<std::size_t>(c.read) *
                    static_cast<std::size_t>(c.few > 0 ? c.few : c.lanes);
  Memory plain = allocate(size);
  for (int t = 0; t < taps; ++t) {
    for (int o = 0; o < c.layer_outputs; ++o) {
      for (int i = 0; i < c.layer_inputs; ++i) {
        const Convolution::Tap& tap = c.taps[static_cast<std::size_t>(t)];
        const float value = from[((o * c.layer_inputs + i) * c.kernel + tap.ky) * c.kernel + tap.kx];
        const int lane = c.lane_of_input[static_cast<std::size_t>(i)];
        const int read = c.gradient ? o : lane, written = c.gradient ? lane : o;
        const std::ptrdiff_t to = c.few > 0 ? (std::ptrdiff_t{1} * written * taps + t) * c.read + read
                                            : (std::ptrdiff_t{1} * t * c.read + read) * c.lanes + written;
        plain[static_cast<std::size_t>(to)] = value;
      }
    }
  }
  if (c.few > 0) return plain;
  Memory packed = allocate(winograd ? size * 4 : size);
  if (winograd) {
    k.pack_winograd(plain.get(), c.read, c.lanes, packed.get());
  } else {
    k.pack_direct(plain.get(), taps, c.read, c.lanes, packed.get());
  }
  return packed;
}

/// A vector of lanes from a parameter (channels), or rows of lanes from (rows, channels).
Memory spread(const at::Tensor& values, int lanes, const std::vector<int>& lane_of_channel) {
  const at::Tensor v = values.to(at::kFloat).contiguous();
  const auto channels = static_cast<std::int64_t>(lane_of_channel.size());
  const std::int64_t rows = v.numel() / channels;
  Memory out = allocate(static_cast<std::size_t>(rows * lanes));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < channels; ++c)
      out[static_cast<std::size_t>(r * lanes + lane_of_channel[static_cast<std::size_t>(c)])] =
          v.const_data_ptr<float>()[r * channels + c];
  }
  return out;
}

/// What was measured in this process, by network and kernels.
std::mutex measured_mutex;
std::map<std::string, Choices>& measured() {
  static std::map<std::string, Choices> all;
  return all;
}

class Engine : public Prepared, public std::enable_shared_from_this<Engine> {
 public:
  Engine(const nn::Graph& graph, Plan plan, const nn::Tensors& weights, const Options& options)
      : graph_(graph), plan_(std::move(plan)), kernels_(kernels(options.instructions.c_str())) {
    if (!options.choices.empty()) take_choices(options.choices);
    refresh(weights);
  }

  void refresh(const nn::Tensors& weights) override {
    for (const auto& [name, t] : weights) {
      const at::Tensor w = t.detach();
      tensors_[name] = w.dim() == 4 ? w.contiguous(at::MemoryFormat::ChannelsLast) : w;
    }
    packed_ = false;  // when next needed: a refresh may be followed by another
  }

  energy::EnergyPtr given(const at::Tensor& labels) override;

  std::string description() const override {
    if (choices_.samples == 0) return fmt::format("cpu ({})", kernels_.name);
    std::int64_t winograd = 0, candidates = 0;
    for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
      winograd += choices_.winograd[i];
      candidates += plan_.convolutions[i].few == 0 ? 1 : 0;
    }
    return fmt::format("cpu ({}): {} of {} convolutions by Winograd", kernels_.name, winograd, candidates);
  }

  std::string choices() const override {
    if (choices_.samples == 0) return "";
    nlohmann::ordered_json json = {{"kernels", kernels_.name}, {"samples", choices_.samples}};
    auto& chunks = json["chunks"] = nlohmann::ordered_json::object();
    for (const auto& [height, chunk] : choices_.chunks) chunks[std::to_string(height)] = chunk;
    auto& algorithms = json["algorithms"] = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
      if (plan_.convolutions[i].can_winograd)
        algorithms[plan_.convolutions[i].key()] = choices_.winograd[i] != 0 ? "winograd" : "direct";
    }
    return json.dump();
  }

  double operations() const override { return plan_.operations; }

  std::vector<StepCost> profile(const at::Tensor& x, const at::Tensor& labels) override {
    at::Tensor energies, gradient;
    evaluate(x, labels, energies, &gradient);  // prepares, and checks x
    const at::Tensor in = x.detach().contiguous();
    const int samples = std::min<int>(choices_.samples, static_cast<int>(x.size(0)));
    Worker worker(plan_, choices_.samples);
    const std::int64_t* pl = graph_.classes > 0 ? labels.const_data_ptr<std::int64_t>() : nullptr;
    std::vector<StepCost> costs(plan_.forward.size() + plan_.backward.size());
    for (int repeat = 0; repeat < 10; ++repeat) {
      worker.run(kernels_, weights_, choices_, in.const_data_ptr<float>(), pl, samples, energies.data_ptr<float>(),
                 gradient.data_ptr<float>(), [&, i = std::size_t{0}](const Step& s, double seconds) mutable {
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
    if (graph_.classes > 0 && (!labels.defined() || labels.dim() != 1 || labels.size(0) != count)) {
      throw UserError(
          fmt::format("network: expected one label in [0, {}) for each of {} inputs", graph_.classes, count));
    }
    const at::Tensor in = x.detach().contiguous(),
                     chosen = graph_.classes > 0 ? labels.to(at::kLong).contiguous() : labels;
    const float* px = in.const_data_ptr<float>();
    const std::int64_t* pl = graph_.classes > 0 ? chosen.const_data_ptr<std::int64_t>() : nullptr;
    for (std::int64_t i = 0; pl != nullptr && i < count; ++i) {
      if (pl[i] < 0 || pl[i] >= graph_.classes)
        throw UserError(fmt::format("network: expected labels in [0, {}), got {}", graph_.classes, pl[i]));
    }
    energies = at::empty({count});
    if (gradient != nullptr) *gradient = at::empty_like(in);
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
      workers_[static_cast<std::size_t>(thread())]->run(
          kernels_, weights_, choices_, px + begin * plan_.elements, pl == nullptr ? nullptr : pl + begin,
          static_cast<int>(end - begin), pe + begin, pg == nullptr ? nullptr : pg + begin * plan_.elements);
    }
  }

 private:
  static int thread();

  std::string describe(const Step& s) const {
    const std::string size = fmt::format("{} x {}, {} lanes", s.height, s.width, s.lanes);
    switch (s.kind) {
      case Step::Kind::convolution: {
        const auto i = static_cast<std::size_t>(s.convolution);
        const Convolution& c = plan_.convolutions[i];
        return fmt::format("{} of {}, {} -> {}",
                           choices_.winograd[i] != 0 ? "winograd"
                           : c.few > 0               ? "few"
                                                     : "direct",
                           c.key(), c.read, size);
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
    }
    return {};
  }

  double operations_of(const Step& s) const {
    if (s.convolution < 0) return 0;
    const Convolution& c = plan_.convolutions[static_cast<std::size_t>(s.convolution)];
    return 2.0 * c.layer_inputs * c.layer_outputs * static_cast<double>(c.taps.size()) * s.height * s.width;
  }

  void make_workers(int threads, int samples) {
    if (!workers_.empty() && workers_[0]->samples() != samples) workers_.clear();
    while (static_cast<int>(workers_.size()) < threads) workers_.push_back(std::make_unique<Worker>(plan_, samples));
  }

  void pack_all(const std::vector<char>& winograd, std::vector<Memory>& packed) const {
    packed.resize(plan_.convolutions.size());
    at::parallel_for(0, static_cast<std::int64_t>(packed.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) {
        const auto i = static_cast<std::size_t>(k);
        const Convolution& c = plan_.convolutions[i];
        packed[i] = pack(kernels_, c, tensors_.at(c.name + ".weight"), winograd[i] != 0);
      }
    });
  }

  /// Weights packed, and algorithms chosen if they are not.
  void prepare(const float* x, const std::int64_t* labels, std::int64_t count, int threads) {
    if (packed_) return;
    weights_.vectors.clear();
    weights_.labels.clear();
    weights_.norms.clear();
    for (const Vector& v : plan_.vectors) {
      weights_.vectors.push_back(v.fixed.empty() ? allocate(static_cast<std::size_t>(v.lanes))
                                                 : spread(tensors_.at(v.fixed), v.lanes, v.lane_of_channel));
      weights_.labels.push_back(v.by_label.empty() ? nullptr
                                                   : spread(tensors_.at(v.by_label), v.lanes, v.lane_of_channel));
    }
    for (const Norm& n : plan_.norms) {
      const auto lanes = static_cast<int>(n.group.size());
      const at::Tensor both = at::stack({tensors_.at(n.name + ".weight"), tensors_.at(n.name + ".bias")});
      weights_.norms.push_back(spread(both, lanes, n.lane_of_channel));
    }
    if (choices_.samples == 0) {
      const std::scoped_lock lock(measured_mutex);
      const std::string key = nn::to_json(graph_) + kernels_.name + std::to_string(threads);
      const auto found = measured().find(key);
      choices_ = found != measured().end() ? found->second : measure(x, labels, count, threads);
      measured()[key] = choices_;
    }
    pack_all(choices_.winograd, weights_.packed);
    packed_ = true;
  }

  /// The faster algorithm for each convolution, then the fastest size of sub-batches.
  Choices measure(const float* x, const std::int64_t* labels, std::int64_t count, int threads) {
    const auto most = static_cast<int>(std::max<std::int64_t>(1, (count + threads - 1) / threads));
    const std::size_t convolutions = plan_.convolutions.size();
    Choices choices{1, std::vector<char>(convolutions, 0), {}}, winograd = choices;
    for (std::size_t i = 0; i < convolutions; ++i) winograd.winograd[i] = plan_.convolutions[i].can_winograd ? 1 : 0;
    std::vector<float> e(static_cast<std::size_t>(count)), g(static_cast<std::size_t>(count * plan_.elements));
    {
      Weights other;
      pack_all(winograd.winograd, other.packed);
      pack_all(choices.winograd, weights_.packed);
      const int samples = std::min(most, 4);
      Worker worker(plan_, samples);
      worker.run(kernels_, weights_, choices, x, labels, samples, e.data(), g.data());
      for (const auto* steps : {&plan_.forward, &plan_.backward}) {
        for (const Step& s : *steps) {
          if (s.convolution < 0 || winograd.winograd[static_cast<std::size_t>(s.convolution)] == 0) continue;
          double best[2] = {1e30, 1e30};
          for (int repeat = 0; repeat < 4; ++repeat) {
            for (const int way : {0, 1}) {
              const double start = seconds();
              if (way == 0) {
                worker.run(s, kernels_, weights_, choices, 0, samples);
              } else {
                std::swap(weights_.packed, other.packed);
                worker.run(s, kernels_, weights_, winograd, 0, samples);
                std::swap(weights_.packed, other.packed);
              }
              best[way] = std::min(best[way], seconds() - start);
            }
          }
          choices.winograd[static_cast<std::size_t>(s.convolution)] = best[1] < best[0] ? 1 : 0;
        }
      }
    }
    pack_all(choices.winograd, weights_.packed);
    // Larger sub-batches share the weights, smaller chunks of them stay in the cache: the samples first, then the
    // chunks from the largest pictures on.
    // All threads at once: they share the last cache.
    const int workers = static_cast<int>(std::min<std::int64_t>(threads, count));
    const auto time = [&](const Choices& tried) {
      make_workers(workers, tried.samples);
      double best = 1e30;
      double spent = 0;
      for (int repeat = 0; repeat < 4 || spent < 0.02; ++repeat) {
        const double start = seconds();
#pragma omp parallel for schedule(static, 1) num_threads(workers)
        for (int t = 0; t < workers; ++t) {
          const std::int64_t begin = std::min<std::int64_t>(count - tried.samples, std::int64_t{t} * tried.samples);
          workers_[static_cast<std::size_t>(t)]->run(kernels_, weights_, tried, x + begin * plan_.elements,
                                                     labels == nullptr ? nullptr : labels + begin, tried.samples,
                                                     e.data() + begin, g.data() + begin * plan_.elements);
        }
        const double taken = seconds() - start;
        spent += taken;
        if (repeat > 0) best = std::min(best, taken / tried.samples);
      }
      return best;
    };
    double best = 1e30;
    for (const int samples : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      if (samples > most) break;
      Choices tried = choices;
      tried.samples = samples;
      const double seconds = time(tried);
      if (seconds < 0.97 * best) best = seconds, choices.samples = samples;
      if (seconds > 1.3 * best) break;
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
        const double seconds = time(tried);
        if (seconds < 0.97 * best) best = seconds, choices = tried;
      }
    }
    return choices;
  }

  void take_choices(const std::string& text) {
    try {
      const auto json = nlohmann::json::parse(text);
      if (json.at("kernels") != kernels_.name) return;  // another processor: measure here
      Choices taken{json.at("samples").get<int>(), std::vector<char>(plan_.convolutions.size(), 0), {}};
      for (const auto& [height, chunk] : json.at("chunks").items())
        taken.chunks[std::stoi(height)] = std::max(1, chunk.get<int>());
      for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
        const Convolution& c = plan_.convolutions[i];
        if (c.can_winograd) taken.winograd[i] = json.at("algorithms").at(c.key()) == "winograd" ? 1 : 0;
      }
      if (taken.samples >= 1 && taken.samples <= 4096) choices_ = std::move(taken);
    } catch (const std::exception&) {
      return;  // of another network or version: measure
    }
  }

  nn::Graph graph_;
  Plan plan_;
  const Kernels& kernels_;
  nn::Tensors tensors_;
  Weights weights_;
  Choices choices_;
  bool packed_ = false;
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
  auto plan = cpu::make_plan(graph, why);
  if (!plan) return nullptr;
  return std::make_shared<cpu::Engine>(graph, std::move(*plan), effective_weights, options);
}

}  // namespace igebm::engine
