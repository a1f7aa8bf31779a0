#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/io/npz.h"
#include "igebm/model/model.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/denoising_score_matching.h"
#include "igebm/training/trainer.h"
#include "tests/training/network_case.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

nn::Graph small_unet(std::int64_t classes) {
  return nn::unet({.channels = {8, 8}, .blocks = {1, 1}, .groups = 4}, {1, 8, 8},
                  {.classes = classes, .noise_features = 4});
}

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

// The loss by the energy itself, mean sigma^2 |dE/dx(x + sigma n, sigma) - n / sigma|^2, record by record.
TEST(DenoisingScoreMatching, IsItsFormula) {
  const at::Tensor labels = at::tensor({0, 2, 1, 1}, at::kLong);
  const NetworkCase c(small_unet(3), at::kDouble);
  const at::Tensor data = at::randn({4, 1, 8, 8}, at::kDouble);
  for (const std::int64_t levels : {0, 3}) {
    const DenoisingScoreMatchingOptions options{
        .weight = 0.7, .noise = {.sigma_min = 0.1, .sigma_max = 5, .sigma_data = 0.7}, .levels = levels};
    const auto [noise, sigma] = drawn(data, options);
    double expected = 0;
    for (std::int64_t i = 0; i < 4; ++i) {
      const double s = sigma[i].item<double>();
      const auto energy = model::energy_at(c.graph, *c.frozen, labels.slice(0, i, i + 1), 1, options.noise, s);
      const at::Tensor slope =
          energy->energy_and_gradient(data.slice(0, i, i + 1) + s * noise.slice(0, i, i + 1)).gradient;
      expected += 0.7 * s * s * (slope - noise.slice(0, i, i + 1) / s).square().mean().item<double>() / 4;
    }
    const Loss loss = DenoisingScoreMatching(options, c.graph).loss(c.step(data, labels));
    EXPECT_NEAR(loss.value.item<double>(), expected, 1e-6 * expected);
    EXPECT_NEAR(loss.metrics.at(0).second, expected / 0.7, 1e-6 * expected);
  }
  EXPECT_THROW(DenoisingScoreMatching({}, nn::mlp({{4}}, {2}, {.classes = 3})), UserError);
}

/// The noise levels that the objective takes, read off its loss: with E = |c x|^2 / 2 and data of 0 the residual is
/// (sigma / sqrt(sigma^2 + 1) - 1) n.
at::Tensor levels_taken(DenoisingScoreMatchingOptions o, std::int64_t count) {
  nn::Graph half_square;
  half_square.input_shape = {1};
  half_square.conditions = half_square.noise_features = 2;
  half_square.add({.op = nn::Op::input});
  half_square.add({.op = nn::Op::linear, .inputs = {0}, .name = "w", .in = 1, .out = 1});
  half_square.add({.op = nn::Op::half_square, .inputs = {1}});
  NetworkCase c(half_square, at::kDouble);
  c.weights["w.weight"] = at::eye(1, at::kDouble);
  c.frozen->refresh(c.weights);
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

// dE/dx at any noise level is that of E, by finite differences.
TEST(DenoisingScoreMatching, TheEnergyHasItsGradient) {
  const NetworkCase c(small_unet(0), at::kDouble);
  for (const double sigma : {0.05, 2.0}) {
    const auto energy = model::energy_at(c.graph, *c.frozen, {}, 2, {.sigma_min = 0.01, .sigma_max = 10}, sigma);
    const at::Tensor x = at::randn({2, 1, 8, 8}, at::kDouble), v = at::randn({2, 1, 8, 8}, at::kDouble);
    const auto [e, g] = energy->energy_and_gradient(x);
    EXPECT_TRUE(at::allclose(e, energy->energy(x)));
    const at::Tensor moved = (energy->energy(x + 1e-5 * v) - energy->energy(x - 1e-5 * v)) / 2e-5;
    EXPECT_TRUE(at::allclose(moved, (g * v).flatten(1).sum(1), 1e-5, 1e-5));
  }
}

TEST(DenoisingScoreMatching, GradientsAgreeWithFiniteDifferences) {
  NetworkCase c(small_unet(3), at::kDouble);
  const at::Tensor data = at::randn({3, 1, 8, 8}, at::kDouble), labels = at::tensor({0, 2, 1}, at::kLong);
  DenoisingScoreMatching objective({.weight = 0.7, .noise = {.sigma_min = 0.1, .sigma_max = 5}}, c.graph);
  const auto loss = [&] { return objective.loss(c.step(data, labels)); };
  c.expect_gradients(loss().gradients, [&] { return loss().value.item<double>(); });
}

// The engine's central differences, where it has them, against autograd's gradients of gradients.
TEST(DenoisingScoreMatching, GradientsByTheEngineAreAutograds) {
  const NetworkCase fast(small_unet(0), at::kFloat, "fast"), exact(small_unet(0), at::kFloat);
  if (!fast.frozen->derives_parameters()) GTEST_SKIP() << "this engine takes them by autograd";
  const at::Tensor data = at::randn({6, 1, 8, 8});
  const DenoisingScoreMatchingOptions options{.noise = {.sigma_min = 0.1, .sigma_max = 5}};
  const Loss a = DenoisingScoreMatching(options, fast.graph).loss(fast.step(data)),
             b = DenoisingScoreMatching(options, exact.graph).loss(exact.step(data));
  EXPECT_NEAR(a.value.item<double>(), b.value.item<double>(), 1e-5 * b.value.item<double>());
  EXPECT_LT(distance(a.gradients, b.gradients), 5e-3);
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
  phase.optimizer = {.learning_rate = 5e-3, .beta1 = 0.9, .clip = "norm", .schedule = "cosine"};
  phase.has_denoising_score_matching = true;
  phase.denoising_score_matching.noise = {.sigma_min = 0.05, .sigma_max = 5, .sigma_data = 1.2};
  recipe.phases = {phase};
  recipe.sampling.steps = 10;
  recipe.sampling.annealing.levels = 12;
  recipe.output = {.checkpoint_every = 15, .keep = 0, .metrics_every = 5, .samples_every = 0};
  return recipe;
}

class ScoreRun : public RunTest {};

// Of 2,000 samples the shares have standard errors of at most 0.011 and the means of a cluster 0.01; what training
// leaves is allowed four times as much. A sampler that forgets the clusters' weights, as Langevin dynamics without
// annealing does, gives a third to each.
TEST_F(ScoreRun, LearnsAMixture) {
  Recipe recipe = clusters(folder);
  recipe.phases[0].steps = 1200;
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
}

TEST_F(ScoreRun, ResumesBitForBit) {
  const Recipe recipe = with_choices(clusters(folder));
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
