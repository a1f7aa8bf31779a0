#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <filesystem>
#include <numbers>
#include <tuple>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/io/npz.h"
#include "igebm/model/model.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/denoising_score_matching.h"
#include "igebm/training/estimate.h"
#include "igebm/training/learner.h"
#include "igebm/training/trainer.h"
#include "tests/training/network_case.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;
using model::energy_at;
using model::EnergyForm;
using model::noise_scale_from_json;
using model::NoiseScale;

nn::Graph noisy_unet(std::int64_t classes) {
  return nn::unet({.channels = {8, 8}, .blocks = {1, 1}, .groups = 4}, {1, 8, 8},
                  {.classes = classes, .noise_features = 4});
}

NoiseScale scale_of(EnergyForm form) { return {.sigma_min = 0.1, .sigma_max = 5, .sigma_data = 0.7, .form = form}; }
const EnergyForm both_forms[] = {EnergyForm::noise, EnergyForm::preconditioned};

/// What the objective draws at the step of a NetworkCase.
std::pair<at::Tensor, at::Tensor> drawn(const at::Tensor& data, const DenoisingScoreMatchingOptions& o) {
  at::Tensor noise = at::empty(data.sizes()), sigma = at::empty({data.size(0)}, at::kDouble);
  for (std::int64_t i = 0; i < data.size(0); ++i) {
    const auto stream = static_cast<std::uint64_t>(first_stream + i);
    random_normal({3, Purpose::score_noise, stream, 0},
                  {noise[i].data_ptr<float>(), static_cast<std::size_t>(noise[i].numel())});
    const RandomPlace place{3, Purpose::noise_level, stream, 0};
    const double share = o.levels == 0
                             ? random_uniform(place)
                             : static_cast<double>(random_index(place, o.levels)) / static_cast<double>(o.levels - 1);
    sigma[i] = std::exp((1 - share) * std::log(o.noise.sigma_min) + share * std::log(o.noise.sigma_max));
  }
  return {noise.to(data.dtype()), sigma};
}

// The loss by the energy itself, mean w |y - sigma^2 dE/dy(y, sigma) - x|^2 at y = x + sigma n, record by record.
TEST(DenoisingScoreMatching, IsItsFormula) {
  const at::Tensor labels = at::tensor({0, 2, 1, 1}, at::kLong);
  const NetworkCase c(noisy_unet(3), at::kDouble);
  const at::Tensor data = at::randn({4, 1, 8, 8}, at::kDouble);
  for (const auto& [form, levels] :
       {std::pair(EnergyForm::noise, 0), std::pair(EnergyForm::noise, 3), std::pair(EnergyForm::preconditioned, 0)}) {
    const DenoisingScoreMatchingOptions options{.weight = 0.7, .noise = scale_of(form), .levels = levels};
    const auto [noise, sigma] = drawn(data, options);
    double expected = 0;
    for (std::int64_t i = 0; i < 4; ++i) {
      const double s = sigma[i].item<double>();
      const auto energy = energy_at(c.graph, *c.frozen, labels.slice(0, i, i + 1), 1, options.noise, s);
      const at::Tensor x = data.slice(0, i, i + 1), y = x + s * noise.slice(0, i, i + 1);
      const at::Tensor error = y - s * s * energy->energy_and_gradient(y).gradient - x;
      const double w = form == EnergyForm::noise ? 1 / (s * s) : (s * s + 0.49) / (s * s * 0.49);
      expected += 0.7 * w * error.square().mean().item<double>() / 4;
    }
    const Loss loss = DenoisingScoreMatching(options, c.graph).loss(c.step(data, labels));
    EXPECT_NEAR(loss.value.item<double>(), expected, 1e-6 * expected);
    EXPECT_NEAR(loss.metrics.at(0).second, expected / 0.7, 1e-6 * expected);
  }
  EXPECT_THROW(DenoisingScoreMatching({.noise = {}}, nn::mlp({{4}}, {2}, {.classes = 3})), UserError);
  EXPECT_THROW(DenoisingScoreMatching({}, c.graph), UserError);  // sigma_data is not known
}

/// G(x) = q |x|^2 / 2.
NetworkCase half_square(std::int64_t elements, double q) {
  nn::Graph graph;
  graph.input_shape = {elements};
  graph.conditions = graph.noise_features = 2;
  graph.add({.op = nn::Op::input});
  graph.add({.op = nn::Op::linear, .inputs = {0}, .name = "w", .in = elements, .out = elements});
  graph.add({.op = nn::Op::half_square, .inputs = {1}});
  NetworkCase c(graph, at::kDouble);
  c.weights["w.weight"] = std::sqrt(q) * at::eye(elements, at::kDouble);
  c.frozen->refresh(c.weights);
  return c;
}

/// The noise levels that the objective takes, read off its loss: with E = |c x|^2 / 2 and data of 0 the residual is
/// (sigma / sqrt(sigma^2 + 1) - 1) n.
at::Tensor levels_taken(DenoisingScoreMatchingOptions o, std::int64_t count) {
  const NetworkCase c = half_square(1, 1);
  o.noise.sigma_data = 1;
  DenoisingScoreMatching objective(o, c.graph);
  at::Tensor levels = at::empty({count}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i) {
    Step step = c.step(at::zeros({1, 1}, at::kDouble));
    step.first_stream = i;
    const double u = 1 - std::sqrt(objective.loss(step).relative);
    levels[i] = u / std::sqrt(1 - u * u);
  }
  return levels;
}

TEST(DenoisingScoreMatching, NoiseLevelsAreLogUniformOrGeometric) {
  constexpr std::int64_t count = 2000;
  DenoisingScoreMatchingOptions o{.noise = {.sigma_min = 0.1, .sigma_max = 10}};
  const at::Tensor places = std::get<0>(levels_taken(o, count).log10().sort()).add(1).div(2);  // in [0, 1]
  EXPECT_GT(places[0].item<double>(), 0);
  EXPECT_LT(places[count - 1].item<double>(), 1);
  // Kolmogorov and Smirnov's distance to the uniform law is above 1.95 / sqrt(n) once in a thousand times.
  const at::Tensor law = (at::arange(count, at::kDouble) + 0.5) / count;
  EXPECT_LT((places - law).abs().max().item<double>(), 1.95 / std::sqrt(count));
  o.levels = 5;
  const at::Tensor which = levels_taken(o, count).log10().add(1).mul(2);
  EXPECT_LT((which - which.round()).abs().max().item<double>(), 1e-6);
  const at::Tensor each = at::bincount(which.round().to(at::kLong), {}, 5);
  EXPECT_EQ(each.size(0), 5);
  EXPECT_LT((each - count / 5).abs().max().item<double>(), 4 * std::sqrt(count * 0.2 * 0.8));
}

// Kolmogorov and Smirnov again, against the mixture of a normal and a uniform law of ln sigma.
TEST(DenoisingScoreMatching, NoiseLevelsAreLogNormalButForAShare) {
  constexpr std::int64_t count = 2000;
  for (const double share : {0.0, 0.3}) {
    const DenoisingScoreMatchingOptions o{.noise = {.sigma_min = 0.01, .sigma_max = 100},
                                          .law = NoiseLaw::log_normal,
                                          .log_mean = -0.5,
                                          .log_deviation = 0.8,
                                          .uniform_share = share};
    const at::Tensor logs = std::get<0>(levels_taken(o, count).log().sort()), z = (logs + 0.5) / 0.8;
    const at::Tensor law = (1 - share) * 0.5 * (1 + at::erf(z / std::sqrt(2))) +
                           share * (logs - std::log(0.01)) / (std::log(100) - std::log(0.01));
    const at::Tensor places = (at::arange(count, at::kDouble) + 0.5) / count;
    EXPECT_LT((places - law).abs().max().item<double>(), 1.95 / std::sqrt(count)) << share;
  }
  // What is drawn beyond the ends is brought to them.
  const at::Tensor clamped =
      levels_taken({.noise = {.sigma_min = 0.5, .sigma_max = 0.6}, .law = NoiseLaw::log_normal}, 200);
  EXPECT_NEAR(clamped.min().item<double>(), 0.5, 1e-6);
  EXPECT_NEAR(clamped.max().item<double>(), 0.6, 1e-6);
}

// dE/dx at any noise level is that of E, by finite differences.
TEST(DenoisingScoreMatching, TheEnergyHasItsGradient) {
  const NetworkCase c(noisy_unet(0), at::kDouble);
  for (const EnergyForm form : both_forms) {
    for (const double sigma : {0.05, 2.0}) {
      const auto energy = energy_at(c.graph, *c.frozen, {}, 2, scale_of(form), sigma);
      const at::Tensor x = at::randn({2, 1, 8, 8}, at::kDouble), v = at::randn({2, 1, 8, 8}, at::kDouble);
      const auto [e, g] = energy->energy_and_gradient(x);
      EXPECT_TRUE(at::allclose(e, energy->energy(x)));
      const at::Tensor moved = (energy->energy(x + 1e-5 * v) - energy->energy(x - 1e-5 * v)) / 2e-5;
      EXPECT_TRUE(at::allclose(moved, (g * v).flatten(1).sum(1), 1e-5, 1e-5));
    }
  }
}

// Where the network says nothing, the energy is -log of N(0, (sigma^2 + sigma_data^2) I), its constant with it.
TEST(DenoisingScoreMatching, WithoutItsNetworkThePreconditionedEnergyIsAGaussians) {
  NetworkCase c(noisy_unet(0), at::kDouble);
  for (auto& [_, w] : c.weights) w = at::zeros_like(w);
  c.frozen->refresh(c.weights);
  const at::Tensor x = at::randn({3, 1, 8, 8}, at::kDouble);
  for (const double sigma : {0.1, 1.0, 5.0}) {
    const double variance = sigma * sigma + 0.49;
    const at::Tensor e = energy_at(c.graph, *c.frozen, {}, 3, scale_of(EnergyForm::preconditioned), sigma)->energy(x);
    const at::Tensor expected =
        x.square().flatten(1).sum(1) / (2 * variance) + 32 * std::log(2 * std::numbers::pi * variance);
    EXPECT_TRUE(at::allclose(e, expected, 1e-12)) << sigma;
  }
}

// Of data N(0, v I) and G = q |x|^2 / 2 the loss is a parabola in q, whose least value must be at the exact score,
// dE/dy = y / (sigma^2 + v). 40,000 numbers determine it to about 1 %.
TEST(DenoisingScoreMatching, IsLeastAtTheExactScoreOfAGaussian) {
  constexpr double v = 0.09, s = 0.7;
  constexpr std::int64_t count = 5000, elements = 8;
  at::manual_seed(6);
  const at::Tensor data = std::sqrt(v) * at::randn({count, elements}, at::kDouble);
  for (const double sigma : {0.1, 0.5, 2.0}) {
    DenoisingScoreMatchingOptions o{.noise = scale_of(EnergyForm::preconditioned)};
    o.noise.sigma_min = sigma;
    o.noise.sigma_max = sigma * (1 + 1e-9);
    const auto loss = [&](double q) {
      const NetworkCase c = half_square(elements, q);
      return DenoisingScoreMatching(o, c.graph).loss(c.step(data)).value.item<double>();
    };
    const double at0 = loss(0), at1 = loss(1), at2 = loss(2), curvature = at0 - 2 * at1 + at2;
    const double best = (at0 - at1) / curvature + 0.5, c2 = 1 / (sigma * sigma + s * s);
    const double precision = c2 + s / sigma * best * c2;
    EXPECT_NEAR(precision * (sigma * sigma + v), 1, 0.03) << sigma;
  }
}

// dE/dsigma by the energy itself, record by record, and gradients in the weights.
TEST(DenoisingScoreMatching, TheTimeScoreIsItsFormula) {
  NetworkCase c(noisy_unet(3), at::kDouble);
  const at::Tensor data = at::randn({4, 1, 8, 8}, at::kDouble), labels = at::tensor({0, 2, 1, 1}, at::kLong);
  DenoisingScoreMatchingOptions options{.weight = 1e-9, .noise = scale_of(EnergyForm::preconditioned)};
  const auto [noise, sigma] = drawn(data, options);
  double expected = 0;
  for (std::int64_t i = 0; i < 4; ++i) {
    const double s = sigma[i].item<double>(), h = 1e-4;
    const at::Tensor n = noise.slice(0, i, i + 1), y = data.slice(0, i, i + 1) + s * n;
    const auto at = [&](double level) {
      const auto energy = energy_at(c.graph, *c.frozen, labels.slice(0, i, i + 1), 1, options.noise, level);
      return energy->energy(y).item<double>();
    };
    const double by_log_sigma = (at(s * std::exp(h)) - at(s * std::exp(-h))) / (2 * h);
    const double residual = by_log_sigma / 128 - (1 - n.square().mean().item<double>()) / 2;
    expected += 2 * 64 * residual * residual / 4;
  }
  options.time_score = 0.3;
  DenoisingScoreMatching objective(options, c.graph);
  const auto loss = [&] { return objective.loss(c.step(data, labels)); };
  EXPECT_NEAR(loss().metrics.at(1).second, expected, 0.01 * expected);
  EXPECT_NEAR(loss().value.item<double>(), 0.3 * loss().metrics.at(1).second, 1e-6);
  c.expect_gradients(loss().gradients, [&] { return loss().value.item<double>(); });
  options.noise.form = EnergyForm::noise;
  EXPECT_THROW(DenoisingScoreMatching(options, c.graph), UserError);
}

// The cross entropy by the energies themselves, record by record, and gradients in the weights. The record whose label
// is left out, and those beyond the share, have no part in it.
TEST(DenoisingScoreMatching, TheCrossEntropyOfClassesIsItsFormula) {
  NetworkCase c(noisy_unet(3), at::kDouble);
  const at::Tensor data = at::randn({6, 1, 8, 8}, at::kDouble);
  const at::Tensor labels = at::tensor({0, 2, static_cast<int>(nn::no_class), 1, 1, 0}, at::kLong);
  for (const EnergyForm form : both_forms) {
    DenoisingScoreMatchingOptions options{
        .weight = 1e-9, .noise = scale_of(form), .classes = 0.7, .classes_share = 4.0 / 6};
    const auto [noise, sigma] = drawn(data, options);
    double expected = 0;
    for (const std::int64_t i : {0, 1, 3}) {
      const double s = sigma[i].item<double>();
      const at::Tensor y = data.slice(0, i, i + 1) + s * noise.slice(0, i, i + 1);
      at::Tensor energies = at::empty({3}, at::kDouble);
      for (std::int64_t k = 0; k < 3; ++k) {
        const auto energy = energy_at(c.graph, *c.frozen, at::full({1}, k, at::kLong), 1, options.noise, s);
        energies[k] = energy->energy(y).item<double>();
      }
      expected -= at::log_softmax(-energies, 0)[labels[i].item<std::int64_t>()].item<double>() / 3;
    }
    DenoisingScoreMatching objective(options, c.graph);
    const auto loss = [&] { return objective.loss(c.step(data, labels)); };
    EXPECT_NEAR(loss().metrics.at(1).second, expected, 1e-6 * expected);
    EXPECT_NEAR(loss().value.item<double>(), 0.7 * expected, 1e-6);
    c.expect_gradients(loss().gradients, [&] { return loss().value.item<double>(); });
  }
  EXPECT_THROW(DenoisingScoreMatching({.noise = scale_of(EnergyForm::noise), .classes = 1}, noisy_unet(0)), UserError);
}

TEST(DenoisingScoreMatching, GradientsAgreeWithFiniteDifferences) {
  NetworkCase c(noisy_unet(3), at::kDouble);
  const at::Tensor data = at::randn({3, 1, 8, 8}, at::kDouble), labels = at::tensor({0, 2, 1}, at::kLong);
  for (const EnergyForm form : both_forms) {
    DenoisingScoreMatching objective({.weight = 0.7, .noise = scale_of(form)}, c.graph);
    const auto loss = [&] { return objective.loss(c.step(data, labels)); };
    c.expect_gradients(loss().gradients, [&] { return loss().value.item<double>(); });
  }
}

// The engine's tangents against autograd's gradients of gradients.
TEST(DenoisingScoreMatching, GradientsByTheEngineAreAutograds) {
  const NetworkCase fast(noisy_unet(0), at::kFloat, engine::Kind::fast), exact(noisy_unet(0), at::kFloat);
  const at::Tensor data = at::randn({6, 1, 8, 8});
  const DenoisingScoreMatchingOptions options{.noise = scale_of(EnergyForm::preconditioned)};
  const Loss a = DenoisingScoreMatching(options, fast.graph).loss(fast.step(data)),
             b = DenoisingScoreMatching(options, exact.graph).loss(exact.step(data));
  EXPECT_NEAR(a.value.item<double>(), b.value.item<double>(), 1e-5 * b.value.item<double>());
  EXPECT_LT(distance(a.gradients, b.gradients), 1e-4);
}

/// The time score's value and gradient by autograd in double, through dG/d ln sigma itself.
double time_score_by_autograd(const NetworkCase& c, const at::Tensor& data, const at::Tensor& labels,
                              const DenoisingScoreMatchingOptions& o, nn::Tensors& gradients) {
  const auto [noise, sigma] = drawn(data.to(at::kDouble), o);
  const double s = o.noise.sigma_data, d = static_cast<double>(data[0].numel());
  nn::EffectiveWeights leaves;
  for (const auto& [name, w] : c.weights) leaves[name] = w.to(at::kDouble).requires_grad_();
  const at::Tensor log_sigma = sigma.log().requires_grad_(), level = log_sigma.exp();
  const auto each = [](const at::Tensor& a) { return a.view({-1, 1, 1, 1}); };
  const auto squares = [](const at::Tensor& a) { return a.square().flatten(1).sum(1); };
  const at::Tensor y = data + each(sigma) * noise, u = each((level.square() + s * s).rsqrt()) * y;
  const at::Tensor e = squares(u) / 2 + d / 2 * (level.square() + s * s).log() +
                       s / level * nn::evaluate(c.graph, leaves, u, nn::condition_rows(c.graph, labels, level));
  const at::Tensor by_log_sigma = torch::autograd::grad({e.sum()}, {log_sigma}, {}, true, true)[0];
  const at::Tensor r = by_log_sigma / (2 * d) - (1 - squares(noise) / d) / 2, loss = (2 * d * r.square()).mean();
  nn::add_gradients(loss, at::full({}, o.time_score, at::kDouble), leaves, gradients);
  return loss.item<double>();
}

// By one joint tangent of the CPU engine; by autograd alone by central differences.
TEST(DenoisingScoreMatching, TheTimeScoreByTheEngineIsAutogradsInDouble) {
  const at::Tensor labels = at::tensor({0, 2, 1, 1, static_cast<int>(nn::no_class), 0}, at::kLong);
  nn::Graph attentive = nn::unet({.channels = {8, 8}, .blocks = {1, 1}, .groups = 4, .attention = true}, {1, 8, 8},
                                 {.classes = 3, .noise_features = 4});
  const DenoisingScoreMatchingOptions options{
      .weight = 1e-9, .noise = scale_of(EnergyForm::preconditioned), .time_score = 0.3};
  for (const auto& [graph, kind, tolerance] :
       {std::tuple(noisy_unet(3), engine::Kind::fast, 1e-4), std::tuple(attentive, engine::Kind::fast, 1e-4),
        std::tuple(noisy_unet(3), engine::Kind::reference, 1e-2)}) {
    const NetworkCase c(graph, at::kFloat, kind);
    const at::Tensor data = at::randn({6, 1, 8, 8});
    nn::Tensors want;
    const double value = time_score_by_autograd(c, data, labels, options, want);
    const Loss loss = DenoisingScoreMatching(options, c.graph).loss(c.step(data, labels));
    EXPECT_NEAR(loss.metrics.at(1).second, value, tolerance * value);
    EXPECT_LT(distance(loss.gradients, want), tolerance);
  }
}

/// Three clusters of 20, 30 and 50 % in the plane.
Recipe clusters(const fs::path& folder) {
  fs::create_directories(folder);
  at::manual_seed(0);
  const at::Tensor which = at::rand({10000});
  const at::Tensor middles = at::tensor({-1.5F, 0.0F, 1.5F, 1.0F, 0.5F, -1.5F}).view({3, 2});
  const at::Tensor cluster = which.ge(0.2).to(at::kLong) + which.ge(0.5).to(at::kLong);
  io::write_npz(folder / "points.npz", {{"points", middles.index_select(0, cluster) + 0.2 * at::randn({10000, 2})}});
  Recipe recipe;
  recipe.data = {.name = "npz", .path = folder / "points.npz", .validation = 0};
  recipe.network = {.kind = "mlp", .noise_features = 16, .mlp = {{64, 64}}};
  PhaseOptions phase;
  phase.name = "train";
  phase.steps = 40;
  phase.batch = 256;
  phase.average = 0.99;
  phase.optimizer = {.learning_rate = 5e-3, .beta1 = 0.9, .clip = Clip::norm, .schedule = Schedule::cosine};
  phase.objectives.add(DenoisingScoreMatchingOptions{.noise = {.sigma_min = 0.05, .sigma_max = 5, .sigma_data = 1.2}});
  recipe.phases = {phase};
  recipe.sampling.steps = 10;
  recipe.sampling.annealing.levels = 12;
  recipe.output = {.checkpoint_every = 15, .keep = 0, .metrics_every = 5, .samples_every = 0};
  return recipe;
}

class ScoreRun : public RunTest {};

/// The same preconditioned, with sigma_data for the training to measure.
Recipe preconditioned(const fs::path& folder) {
  Recipe recipe = clusters(folder);
  DenoisingScoreMatchingOptions& o = *recipe.phases[0].objectives.find<DenoisingScoreMatchingOptions>();
  o.noise = {.sigma_min = 0.05, .sigma_max = 5, .sigma_data = 0, .form = EnergyForm::preconditioned};
  o.law = NoiseLaw::log_normal;
  o.time_score = 0.3;
  recipe.phases[0].optimizer.kind = OptimizerKind::muon;
  recipe.sampling.annealing.rho = 5;
  return recipe;
}

// Of 2,000 samples the shares have standard errors of at most 0.011 and the means of a cluster 0.01; what training
// leaves is allowed four times as much. A sampler that forgets the clusters' weights, as Langevin dynamics without
// annealing does, gives a third to each.
class ScoreRunOf : public RunTest, public testing::WithParamInterface<EnergyForm> {};
INSTANTIATE_TEST_SUITE_P(Forms, ScoreRunOf, testing::ValuesIn(both_forms),
                         [](const auto& form) { return name_of(form.param); });

TEST_P(ScoreRunOf, LearnsAMixture) {
  folder = fs::path(folder.string() + name_of(GetParam()));
  Recipe recipe = GetParam() == EnergyForm::noise ? clusters(folder) : preconditioned(folder);
  recipe.phases[0].steps = GetParam() == EnergyForm::noise ? 1200 : 600;
  recipe.sampling.steps = 20;
  recipe.sampling.annealing.levels = 30;
  EXPECT_TRUE(Trainer::begin(recipe, folder / "run", silent).train({}));
  const at::NoGradGuard no_grad;
  const auto model = model::Model::open(folder / "run");
  EXPECT_EQ(model.condition_spec().noise->sigma_max, 5);
  const model::Samples samples = model.sample({.count = 2000});
  const at::Tensor& x = samples.x;
  EXPECT_TRUE(at::allclose(samples.energies, model.energy()->energy(x), 1e-3, 1e-2));
  const at::Tensor middles = at::tensor({-1.5F, 0.0F, 1.5F, 1.0F, 0.5F, -1.5F}).view({3, 2});
  const at::Tensor nearest = at::cdist(x, middles).argmin(1);
  const double shares[] = {0.2, 0.3, 0.5};
  for (std::int64_t k = 0; k < 3; ++k) {
    const at::Tensor mine = x.index_select(0, nearest.eq(k).nonzero().squeeze(1));
    EXPECT_NEAR(static_cast<double>(mine.size(0)) / 2000, shares[k], 0.05) << k;
    EXPECT_LT((mine.mean(0) - middles[k]).abs().max().item<double>(), 0.05) << k;
    EXPECT_NEAR(mine.std(0).mean().item<double>(), 0.2, 0.04) << k;
  }
  if (GetParam() == EnergyForm::noise) return;
  // With the time score the energy knows the clusters' weights, too, which samples have from greater noise.
  constexpr std::int64_t side = 150;
  const at::Tensor axis = at::linspace(-3, 3, side);
  const at::Tensor grid = at::stack({axis.repeat({side}), axis.repeat_interleave(side)}, 1);
  const at::Tensor density = at::softmax(-model.energy()->energy(grid), 0), owner = at::cdist(grid, middles).argmin(1);
  for (std::int64_t k = 0; k < 3; ++k)
    EXPECT_NEAR(density.masked_select(owner.eq(k)).sum().item<double>(), shares[k], 0.06) << k;
}

// What was measured once stays, whatever the data are later: the network is made for it.
TEST_F(ScoreRun, KeepsTheDatasSizeThatItHasMeasured) {
  const Recipe recipe = preconditioned(folder);
  Trainer::begin(recipe, folder / "run", silent).train(stop_after(5));
  const auto kept = [&] { return noise_scale_from_json(model::load_network(folder / "run").metadata.at("noise")); };
  const double measured = kept().sigma_data;
  const at::Tensor points = io::read_npz(folder / "points.npz").at("points");
  EXPECT_NEAR(measured, points.square().mean().sqrt().item<double>(), 0.02);
  io::write_npz(folder / "points.npz", {{"points", 3 * points}});
  Trainer::resume(folder / "run", {}, silent).train({});
  EXPECT_EQ(kept().sigma_data, measured);
  EXPECT_EQ(kept().form, EnergyForm::preconditioned);
}

TEST_F(ScoreRun, CanBeRehearsedBeforeTheDataAreMeasured) {
  const Estimate e = estimate(preconditioned(folder), {.seconds = 0}, silent);
  EXPECT_GT(e.phases.at(0).steps.seconds, 0);
}

// At a phase's end the weights are still that phase's, whatever the next one's noise.
TEST_F(ScoreRun, WeightsGoWithTheNoiseOfTheirPhase) {
  Recipe recipe = preconditioned(folder);
  recipe.phase_order = {"train", "finer"};
  recipe.phases.push_back(recipe.phases[0]);
  recipe.phases[0].steps = 2;
  recipe.phases[1].name = "finer";
  auto& second = recipe.phases[1].objectives.find<DenoisingScoreMatchingOptions>()->noise;
  second = {.sigma_min = 0.01, .sigma_max = 3, .sigma_data = 0.9, .form = EnergyForm::preconditioned};
  const auto learner = make_learner(recipe, {}, silent);
  learner->enter_phase();
  const auto noise = [&] { return noise_scale_from_json(learner->checkpoint().network.metadata.at("noise")); };
  while (learner->step < 2) ASSERT_EQ(learner->advance(), "");
  EXPECT_EQ(noise().sigma_max, 5);
  EXPECT_EQ(learner->averaged().condition_spec().noise->sigma_max, 5);
  const double measured = noise().sigma_data;
  learner->enter_phase();
  EXPECT_EQ(noise().sigma_max, 3);
  // A checkpoint of the second phase, whose sigma_data is given, says nothing of the first's.
  learner->restore(learner->checkpoint());
  EXPECT_EQ(learner->recipe.phases[0].objectives.noise()->sigma_data, measured);
}

TEST_F(ScoreRun, ResumesBitForBit) {
  const Recipe recipe = with_choices(preconditioned(folder));
  EXPECT_TRUE(Trainer::begin(recipe, folder / "whole", silent).train({}));
  const auto whole = contents(folder / "whole");
  EXPECT_TRUE(whole.contains("samples.png"));
  for (const std::int64_t step : {7, 30}) {
    const fs::path run = folder / std::to_string(step);
    Trainer::begin(recipe, run, silent).train(stop_after(step));
    EXPECT_TRUE(Trainer::resume(run, {}, silent).train({}));
    auto files = contents(run);
    for (const auto& [name, bytes] : whole) EXPECT_TRUE(files[name] == bytes) << name << " after " << step;
  }
  // Its recipe reads back; its section and its network go together, and with no other.
  const auto refused = [&](const char* assignment) {
    EXPECT_THROW(read_recipe(folder / "whole/recipe.toml", {assignment}), UserError) << assignment;
  };
  read_recipe(folder / "whole/recipe.toml", {});
  refused("network.noise_features=0");
  refused("phase.train.energy_matching.weight=1.0");
  refused("phase.train.denoising_score_matching.sigma_min=6.0");
  refused("phase.train.denoising_score_matching.levels=1");
  refused("phase.train.denoising_score_matching.levels=4");  // of another law
  refused("phase.train.denoising_score_matching.form=other");
  read_recipe(folder / "whole/recipe.toml", {"phase.train.denoising_score_matching.time_score=1"});
  refused("sampling.step_size=1.0");
}

TEST_F(ScoreRun, AnEnsembleTakesItsStepsInTurn) {
  const Recipe recipe = clusters(folder);
  Trainer::begin(recipe, folder / "run", silent).train({});
  const at::NoGradGuard no_grad;
  const auto draws = [&](std::int64_t count) {
    return model::Model::open(folder / "run", {.ensemble = count}).sample({.count = 20}).x;
  };
  EXPECT_TRUE(draws(3).isfinite().all().item<bool>());
  EXPECT_FALSE(at::allclose(draws(1), draws(3)));
}

}  // namespace
}  // namespace igebm::training
