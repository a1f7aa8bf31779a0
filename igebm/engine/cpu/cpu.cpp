#include "igebm/engine/cpu/cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/energy/capabilities.h"
#include "igebm/engine/autotuner.h"
#include "igebm/engine/cpu/input_pass.h"
#include "igebm/engine/cpu/parameters.h"
#include "igebm/engine/graphs.h"
#include "igebm/engine/reference.h"

namespace igebm::engine {
namespace cpu {
namespace {

/// What is tried for a convolution that Winograd's algorithm can do.
std::vector<Algorithm> ways(const Kernels& kernels, Precision precision) {
  const bool can_bf16 = kernels.winograd_bf16 != nullptr;
  if (can_bf16 && precision == Precision::bf16) return {Algorithm::winograd_bf16};
  if (can_bf16 && precision == Precision::automatic)
    return {Algorithm::direct, Algorithm::winograd, Algorithm::winograd_bf16};
  return {Algorithm::direct, Algorithm::winograd};
}

class Engine : public Prepared, public std::enable_shared_from_this<Engine> {
 public:
  Engine(const nn::Graph& graph, Plan plan, const nn::EffectiveWeights& weights, const Options& options)
      : graph_(graph),
        precision_(options.precision),
        key_(nn::to_json(graph) + name_of(options.precision)),
        autotuner_(options.autotuner ? options.autotuner : std::make_shared<Autotuner>()),
        f32_(std::move(plan), kernels(options.instructions.c_str()),
             ways(kernels(options.instructions.c_str()), options.precision), key_, *autotuner_) {
    std::string why;
    const auto pass_for = [&](Wanted wanted, const InputPass& with, Storage storage = Storage::f32) {
      auto made = make_plan(graph, wanted, why, storage);
      return made ? std::make_unique<ParameterPass>(std::move(*made), with.plan(), with.kernels()) : nullptr;
    };
    parameters_.pass = pass_for(Wanted::parameter_gradients, f32_);
    if (!has_dropout(graph)) {
      tangents_.pass = pass_for(Wanted::tangent, f32_);
      joint_tangents_.pass = pass_for(Wanted::joint_tangent, f32_);
    }
    const Kernels* able = tile_kernels(options.instructions.c_str());
    if (able != nullptr && (precision_ == Precision::bf16 || precision_ == Precision::automatic)) {
      auto stored_in_bf16 = make_plan(graph, Wanted::input_gradient, why, Storage::bf16);
      const auto by_tiles = [](const Convolution& c) { return c.tiles; };
      if (stored_in_bf16 &&
          std::any_of(stored_in_bf16->convolutions.begin(), stored_in_bf16->convolutions.end(), by_tiles)) {
        tiles_ =
            std::make_unique<InputPass>(std::move(*stored_in_bf16), *able, std::vector<Algorithm>{}, key_, *autotuner_);
        if (tangents_.pass) tile_tangents_.pass = pass_for(Wanted::tangent, *tiles_, Storage::bf16);
        if (joint_tangents_.pass) tile_joint_tangents_.pass = pass_for(Wanted::joint_tangent, *tiles_, Storage::bf16);
      }
    }
    if (!options.choices.empty()) take_choices(options.choices);
    refresh(weights);
  }

  void refresh(const nn::EffectiveWeights& weights) override {
    for (const auto& [name, t] : weights) {
      const at::Tensor w = t.detach();
      tensors_[name] = w.dim() == 4 ? w.contiguous(at::MemoryFormat::ChannelsLast) : w;
    }
    f32_.refresh();
    if (tiles_) tiles_->refresh();
    for (Pass* p : {&parameters_, &tangents_, &joint_tangents_, &tile_tangents_, &tile_joint_tangents_, &products_})
      p->ready = false;
  }

  energy::EnergyPtr given(const at::Tensor& labels) override;

  std::string description() const override {
    const InputPass* pass = chosen_;
    if (pass == nullptr) return fmt::format("cpu ({})", f32_.kernels().name);
    const Plan& plan = pass->plan();
    std::int64_t winograd = 0, bf16 = 0, tiles = 0, candidates = 0;
    for (std::size_t i = 0; i < plan.convolutions.size(); ++i) {
      const Algorithm a = pass->choices().algorithms[i];
      winograd += a == Algorithm::winograd || a == Algorithm::winograd_bf16 ? 1 : 0;
      bf16 += a == Algorithm::winograd_bf16 ? 1 : 0;
      tiles += a == Algorithm::tiles ? 1 : 0;
      candidates += plan.convolutions[i].few == 0 ? 1 : 0;
    }
    if (tiles > 0) {
      return fmt::format("cpu ({}): {} of {} convolutions by matrix tiles in bfloat16", pass->kernels().name, tiles,
                         candidates);
    }
    return fmt::format("cpu ({}): {} of {} convolutions by Winograd{}", pass->kernels().name, winograd, candidates,
                       bf16 > 0 ? fmt::format(", {} of them in bfloat16", bf16) : "");
  }

  std::string choices() const override {
    if (!f32_.measured() && !(tiles_ && tiles_->measured())) return "";
    NetworkChoices all{.kernels = f32_.kernels().name,
                       .precision = precision_,
                       .f32 = f32_.tuned(),
                       .training_samples = parameter_samples_,
                       .tangent_samples = tangent_samples_};
    if (tiles_) all.tiles = tiles_->tuned();
    if (tiles_ && chosen_ != nullptr) all.chosen = chosen_ == tiles_.get() ? "tiles" : "f32";
    return to_json(all);
  }

  double operations() const override { return engine::operations(graph_); }

  std::vector<StepCost> profile(const at::Tensor& x, const at::Tensor& labels) override {
    at::Tensor energies, gradient;
    evaluate(x, labels, energies, &gradient);  // prepares, and checks x
    const at::Tensor in = x.detach().contiguous();
    const int samples = std::min<int>(chosen_->choices().samples, static_cast<int>(x.size(0)));
    const at::Tensor checked_labels = checked(labels, x.size(0));
    const Plan& plan = chosen_->plan();
    std::vector<StepCost> costs(plan.forward.size() + plan.backward.size());
    for (int repeat = 0; repeat < 10; ++repeat) {
      chosen_->run_timed({in.const_data_ptr<float>(), read(checked_labels), samples}, energies.data_ptr<float>(),
                         gradient.data_ptr<float>(), [&, i = std::size_t{0}](const Step& s, double seconds) mutable {
                           StepCost& cost = costs[i++];
                           cost.what = describe(s, plan, chosen_->choices().algorithms);
                           cost.operations = cost.done = operations_of(s, plan);
                           take_unit(s, plan, chosen_->choices().algorithms, cost);
                           const double each = seconds / samples;
                           cost.seconds = repeat == 0 ? each : std::min(cost.seconds, each);
                         });
    }
    return costs;
  }

  /// False where x is not for this engine (another type or device).
  bool takes(const at::Tensor& x) const {
    return x.scalar_type() == at::kFloat && x.is_cpu() && x.dim() >= 1 && x.numel() == x.size(0) * f32_.plan().elements;
  }

  at::Tensor reference(const at::Tensor& x, const at::Tensor& labels) const {
    return nn::evaluate(graph_, tensors_, x, labels);
  }

  void evaluate(const at::Tensor& x, const at::Tensor& labels, at::Tensor& energies, at::Tensor* gradient) {
    const auto count = x.size(0);
    const at::Tensor in = x.contiguous(), chosen = checked(labels, count);
    if (!energies.defined() || energies.numel() != count) energies = at::empty({count});
    if (gradient != nullptr && !(gradient->defined() && gradient->sizes() == in.sizes()))
      *gradient = at::empty(in.sizes());
    if (count == 0) return;
    const Inputs inputs{in.const_data_ptr<float>(), read(chosen), count};
    const int threads = at::get_num_threads();
    choose(inputs, threads)
        .run(inputs, threads, energies.data_ptr<float>(), gradient == nullptr ? nullptr : gradient->data_ptr<float>());
  }

  bool derives_parameters() const override { return parameters_.pass != nullptr && !has_dropout(graph_); }

  at::Tensor parameter_gradient(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& coefficients,
                                const at::Tensor& slopes, nn::Tensors& into, const nn::Dropout* dropout) override {
    const auto count = x.size(0);
    if (!takes(x) || count == 0 || !parameters_.pass || (dropout != nullptr && has_dropout(graph_)))
      return engine::parameter_gradient(graph_, tensors_, x, labels, coefficients, slopes, into, dropout);
    const at::Tensor in = x.detach().contiguous(), chosen = checked(labels, count),
                     c = coefficients.to(at::kFloat).contiguous(),
                     s = slopes.defined() ? slopes.to(at::kFloat).contiguous() : at::Tensor();
    at::Tensor energies = at::empty({count});
    f32_.prepare(tensors_, {in.const_data_ptr<float>(), read(chosen), count}, at::get_num_threads());
    run(parameters_, f32_, "parameters", parameter_samples_,
        {in.const_data_ptr<float>(), read(chosen), count, c.const_data_ptr<float>(),
         s.defined() ? s.const_data_ptr<float>() : nullptr, energies.data_ptr<float>()},
        into);
    return energies;
  }

  std::unique_ptr<Tangent> tangent(const at::Tensor& x, const at::Tensor& labels) override;

  Matched match(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& target, const at::Tensor& coefficients,
                nn::Tensors& into, const Motion* motion) override {
    if (!takes(x) || !(motion == nullptr ? tangents_ : joint_tangents_).pass) return {};
    const auto numbers = [](const at::Tensor& t) { return t.to(at::kFloat).contiguous(); };
    const at::Tensor c = numbers(coefficients), to = numbers(target);
    ParameterPass::Batch along{.coefficients = c.const_data_ptr<float>(), .target = to.const_data_ptr<float>()};
    if (motion == nullptr) return {move(x, labels, along, into), {}};
    const at::Tensor x_dot = numbers(motion->x_dot), offsets = numbers(motion->offsets),
                     weights = numbers(motion->weights);
    const at::Tensor labels_dot = graph_.conditions == 0         ? at::Tensor()
                                  : motion->labels_dot.defined() ? numbers(motion->labels_dot)
                                                                 : at::zeros({x.size(0), graph_.conditions});
    Matched matched;
    matched.residuals = at::empty({x.size(0)});
    along.x_dot = x_dot.const_data_ptr<float>();
    along.offsets = offsets.const_data_ptr<float>();
    along.weights = weights.const_data_ptr<float>();
    if (labels_dot.defined()) along.labels_dot = read(labels_dot);
    along.energy_rate = static_cast<float>(motion->energy_rate);
    along.residuals = matched.residuals.data_ptr<float>();
    matched.gradient = move(x, labels, along, into);
    return matched;
  }

  /// The Hessian at each x times v, like x; undefined where the plans have none of this network. In float32 but for the
  /// factors of Winograd's products.
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& v) {
    if (!products_asked_ && !has_dropout(graph_)) {
      std::string why;
      auto made = make_plan(graph_, Wanted::hessian_product, why);
      if (made) products_.pass = std::make_unique<ParameterPass>(std::move(*made), f32_.plan(), f32_.kernels());
    }
    products_asked_ = true;
    if (!takes(x) || !products_.pass) return {};
    const at::Tensor in = x.detach().contiguous(), chosen = checked(labels, x.size(0)),
                     along = v.to(at::kFloat).contiguous();
    at::Tensor products = at::empty(in.sizes()), gradients = at::empty(in.sizes()), energies = at::empty({x.size(0)});
    if (x.size(0) == 0) return products;
    const ParameterPass::Batch batch{.x = in.const_data_ptr<float>(),
                                     .labels = read(chosen),
                                     .count = x.size(0),
                                     .energies = energies.data_ptr<float>(),
                                     .gradients = gradients.data_ptr<float>(),
                                     .v = along.const_data_ptr<float>(),
                                     .products = products.data_ptr<float>()};
    f32_.prepare(tensors_, {batch.x, batch.labels, batch.count}, at::get_num_threads());
    nn::Tensors nothing;
    run(products_, f32_, "Hessian", product_samples_, batch, nothing);
    return products;
  }

  /// Adds the gradient of sum_i <v_i, dE/dx(x_i)>, with v or the target that `along` has, and of the motion that it
  /// has; dE/dx.
  at::Tensor move(const at::Tensor& x, const at::Tensor& labels, ParameterPass::Batch along, nn::Tensors& into) {
    const at::Tensor in = x.detach().contiguous(), chosen = checked(labels, x.size(0));
    at::Tensor gradient = at::empty(in.sizes()), energies = at::empty({x.size(0)});
    if (x.size(0) == 0) return gradient;
    along.x = in.const_data_ptr<float>();
    along.labels = read(chosen);
    along.count = x.size(0);
    along.energies = energies.data_ptr<float>();
    along.gradients = gradient.data_ptr<float>();
    const InputPass& with = choose({along.x, along.labels, along.count}, at::get_num_threads());
    const bool joint = along.x_dot != nullptr;
    Pass& by_tiles = joint ? tile_joint_tangents_ : tile_tangents_;
    if (&with == tiles_.get() && by_tiles.pass) {
      run(by_tiles, with, "tangents", tangent_samples_, along, into);
      return gradient;
    }
    f32_.prepare(tensors_, {along.x, along.labels, along.count}, at::get_num_threads());
    run(joint ? joint_tangents_ : tangents_, f32_, "tangents", tangent_samples_, along, into);
    return gradient;
  }

 private:
  /// A pass for the gradient in the weights, and whether it has the present weights.
  struct Pass {
    std::unique_ptr<ParameterPass> pass;
    bool ready = false;
  };

  /// with: the pass that `p` was made beside, prepared. samples: of a sub-batch; 0: not measured yet.
  void run(Pass& p, const InputPass& with, const char* name, int& samples, const ParameterPass::Batch& batch,
           nn::Tensors& into) {
    const int threads = at::get_num_threads();
    if (!p.ready) p.pass->take(with.weights(), tensors_, with.choices());
    p.ready = true;
    if (samples == 0) {
      const std::string key = key_ + name + with.kernels().name + std::to_string(threads);
      const auto measure = [&] { return Tuned{.samples = p.pass->best_samples(batch, threads)}; };
      samples = autotuner_->choose(key, measure).samples;
    }
    p.pass->run(samples, batch, threads, into);
  }

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

  static std::string describe(const Step& s, const Plan& plan, const Algorithms& algorithms) {
    const std::string size = fmt::format("{} x {}, {} lanes", s.height, s.width, s.lanes);
    switch (s.kind) {
      case Step::Kind::convolution: {
        const auto i = static_cast<std::size_t>(s.convolution);
        const Convolution& c = plan.convolutions[i];
        return fmt::format("{} of {}, {} -> {}", c.few > 0 ? "few" : name(algorithms[i]), c.key(), c.read, size);
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
      case Step::Kind::label_slope:
        return "sums, " + size;
      case Step::Kind::attention:
        return "attention, " + size;
      case Step::Kind::attention_gradient:
        return "attention', " + size;
      case Step::Kind::load_tangent:
      case Step::Kind::store_tangent:
      case Step::Kind::group_norm_tangent:
      case Step::Kind::group_norm_gradient_tangent:
      case Step::Kind::attention_tangent:
      case Step::Kind::attention_gradient_tangent:
        break;  // of other plans
    }
    return {};
  }

  static void take_unit(const Step& s, const Plan& plan, const Algorithms& algorithms, StepCost& cost) {
    if (cost.operations == 0) return;
    cost.unit = "f32";
    if (s.convolution < 0 || plan.convolutions[static_cast<std::size_t>(s.convolution)].few > 0) return;
    switch (algorithms[static_cast<std::size_t>(s.convolution)]) {
      case Algorithm::direct:
        return;
      case Algorithm::winograd:
      case Algorithm::winograd_bf16:
        cost.done = cost.operations / 4;
        if (algorithms[static_cast<std::size_t>(s.convolution)] == Algorithm::winograd_bf16) cost.unit = "bf16";
        return;
      case Algorithm::tiles:
        cost.unit = "tiles";
        return;
    }
  }

  static double operations_of(const Step& s, const Plan& plan) {
    if (s.attention >= 0) {
      const double forwards = 2 * plan.attentions[static_cast<std::size_t>(s.attention)].multiplications;
      return s.kind == Step::Kind::attention ? forwards : 2 * forwards;
    }
    if (s.convolution < 0) return 0;
    const Convolution& c = plan.convolutions[static_cast<std::size_t>(s.convolution)];
    return 2.0 * static_cast<double>(c.lane_of_input.size()) * c.layer_outputs * static_cast<double>(c.taps.size()) *
           s.height * s.width;
  }

  /// The pass that is taken, prepared: where the precision is automatic the faster by measuring.
  InputPass& choose(const Inputs& in, int threads) {
    if (chosen_ == nullptr && tiles_ && precision_ == Precision::automatic) {
      f32_.prepare(tensors_, in, threads);
      tiles_->prepare(tensors_, in, threads);
      chosen_ = tiles_->seconds() < f32_.seconds() ? tiles_.get() : &f32_;
    }
    if (chosen_ == nullptr) chosen_ = tiles_ ? tiles_.get() : &f32_;
    chosen_->prepare(tensors_, in, threads);
    return *chosen_;
  }

  void take_choices(const std::string& text) {
    NetworkChoices given;
    try {
      given = network_choices(text);
    } catch (const std::exception&) {
      return;  // of another version: measure
    }
    // Another processor, or another wish: measure here.
    if (given.kernels != f32_.kernels().name || given.precision != precision_) return;
    parameter_samples_ = given.training_samples;
    tangent_samples_ = given.tangent_samples;
    if (given.f32 && !f32_.take(given.f32)) return;  // of another network
    if (tiles_ && given.tiles) tiles_->take(given.tiles);
    InputPass* wanted = given.chosen == "tiles" ? tiles_.get() : &f32_;
    if (wanted != nullptr && wanted->measured()) chosen_ = wanted;
  }

  nn::Graph graph_;
  Precision precision_;
  std::string key_;
  std::shared_ptr<Autotuner> autotuner_;
  nn::EffectiveWeights tensors_;
  InputPass f32_;                                // in float32 but for the factors of Winograd's products
  std::unique_ptr<InputPass> tiles_;             // with pictures in bfloat16; null: not wanted, or not to be had
  InputPass* chosen_ = nullptr;                  // null: not measured yet
  Pass parameters_, tangents_, joint_tangents_;  // null: by autograd, and no tangents
  Pass tile_tangents_, tile_joint_tangents_;     // beside tiles_
  Pass products_;                                // made when first asked for
  bool products_asked_ = false;
  int parameter_samples_ = 0, tangent_samples_ = 0, product_samples_ = 0;
};

class FastEnergy : public energy::Energy, public energy::InPlace {
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
    if (!engine_->takes(x)) {
      out = Energy::energy_and_gradient(x);
      return;
    }
    engine_->evaluate(x, labels_, out.energy, &out.gradient);
  }

  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override {
    const at::Tensor found = engine_->hessian_product(x, labels_, v);
    return found.defined() ? found : Energy::hessian_product(x, v);
  }

 private:
  std::shared_ptr<Engine> engine_;
  at::Tensor labels_;
};

/// Evaluates anew for each direction: what gradients along directions have in common is too much to keep of a batch.
class FastTangent : public Tangent {
 public:
  FastTangent(std::shared_ptr<Engine> engine, at::Tensor x, at::Tensor labels)
      : engine_(std::move(engine)), x_(std::move(x)), labels_(std::move(labels)) {
    engine_->evaluate(x_, labels_, energy, &gradient);
  }
  void pull(const at::Tensor& v, nn::Tensors& into) const override {
    const at::Tensor along = v.to(at::kFloat).contiguous();
    engine_->move(x_, labels_, {.v = along.const_data_ptr<float>()}, into);
  }

 private:
  std::shared_ptr<Engine> engine_;
  at::Tensor x_, labels_;
};

std::unique_ptr<Tangent> Engine::tangent(const at::Tensor& x, const at::Tensor& labels) {
  if (!takes(x) || !tangents_.pass) return nullptr;
  return std::make_unique<FastTangent>(shared_from_this(), x.detach(), labels);
}

energy::EnergyPtr Engine::given(const at::Tensor& labels) {
  return std::make_shared<FastEnergy>(shared_from_this(), labels);
}

}  // namespace
}  // namespace cpu

std::shared_ptr<Prepared> cpu_engine(const nn::Graph& graph, const nn::EffectiveWeights& effective_weights,
                                     const Options& options, std::string& why) {
  auto plan = cpu::make_plan(graph, cpu::Wanted::input_gradient, why);
  if (!plan) return nullptr;
  return std::make_shared<cpu::Engine>(graph, std::move(*plan), effective_weights, options);
}

}  // namespace igebm::engine
