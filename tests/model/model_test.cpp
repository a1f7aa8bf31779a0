#include "igebm/model/model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/weights.h"
#include "tests/refusals.h"

namespace igebm::model {
namespace {

namespace fs = std::filesystem;

const nn::Graph pictures = nn::residual({.stem = 8, .blocks = "8d"}, {1, 8, 8}, {.classes = 3});
const nn::Graph noisy =
    nn::unet({.channels = {8}, .blocks = {1}, .groups = 4}, {1, 8, 8}, {.classes = 3, .noise_features = 4});

/// A network whose every weight matters.
nn::Network lively(const nn::Graph& graph, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  nn::Network network(graph, seed);
  for (auto& [_, p] : network.parameters())
    p.add_(at::linspace(-1, 1, p.numel()).reshape(p.sizes()), 0.1 + 0.01 * static_cast<double>(seed));
  network.advance_spectral_norm();
  return network;
}

class OpenedModel : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder = fs::temp_directory_path() / fmt::format("igebm-model{}{}", getpid(), test->name());
    fs::remove_all(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  /// A checkpoint with a network of seed `step` and an average of seed `step` + 1.
  void save(const nn::Graph& graph, std::int64_t step, const std::string& noise = {}) {
    const fs::path checkpoint = folder / "checkpoints" / fmt::format("{:06}", step);
    fs::create_directories(checkpoint);
    const nn::Network network = lively(graph, static_cast<std::uint64_t>(step)),
                      average = lively(graph, static_cast<std::uint64_t>(step) + 1);
    NetworkFile file{graph, network.parameters(), network.buffers(), {{"step", std::to_string(step)}}};
    file.metadata["low"] = "-1", file.metadata["high"] = "1";
    if (!noise.empty()) file.metadata["noise"] = noise;
    write_network_file(checkpoint / "network.safetensors", file, network.parameters());
    write_network_file(checkpoint / "average.safetensors", file, average.parameters());
    io::write_atomically(checkpoint / "checkpoint.json", R"({"regular": true})");
    io::write_atomically(folder / "recipe.toml", R"([run]
seed = 7
engine = "reference"
[data]
low = -1.0
[network]
kind = "unet"
)" + fmt::format("noise_features = {}\n", graph.noise_features) +
                                                     R"([phase.unknown-here]
steps = 1
[sampling]
steps = 3
)" + (graph.noise_features > 0 ? "levels = 4\n" : "step_size = 0.05\nnoise = 0.1\nlow = -1.0\nhigh = 1.0\n"));
  }
  /// The weights that are in use.
  static nn::EffectiveWeights weights(const nn::Graph& graph, std::int64_t step, Weights which) {
    const nn::Network network = lively(graph, static_cast<std::uint64_t>(step)),
                      average = lively(graph, static_cast<std::uint64_t>(step) + 1);
    return nn::effective_weights(graph, which == Weights::average ? average.parameters() : network.parameters(),
                                 network.buffers());
  }

  fs::path folder;
};

TEST_F(OpenedModel, SaysWhatItTakes) {
  save(noisy, 10, R"({"sigma_min": 0.1, "sigma_max": 4, "sigma_data": 0.7})");
  const Model model = Model::open(folder);
  EXPECT_EQ(model.space().kind, SampleSpace::Kind::image);
  EXPECT_EQ(model.space().shape, (std::vector<std::int64_t>{1, 8, 8}));
  EXPECT_EQ(model.space().low, -1);
  EXPECT_EQ(model.condition_spec().classes, 3);
  EXPECT_EQ(model.condition_spec().values, 0);
  EXPECT_EQ(model.condition_spec().noise->sigma_max, 4);
  EXPECT_EQ(model.settings().sampling.annealing.levels, 4);
  EXPECT_EQ(model.settings().seed, 7);
  EXPECT_EQ(model.step(), "10");
  const at::Tensor x = at::tensor({-1.0F, 0.0F, 1.0F});
  EXPECT_TRUE(at::equal(model.space().to_unit(x), at::tensor({0.0F, 0.5F, 1.0F})));
  EXPECT_TRUE(at::equal(model.space().from_unit(model.space().to_unit(x)), x));
}

TEST_F(OpenedModel, HasTheEnergyOfTheWeightsAskedFor) {
  const at::NoGradGuard no_grad;
  save(pictures, 10);
  save(pictures, 20);
  const at::Tensor x = at::linspace(-1, 1, 256).reshape({4, 1, 8, 8}).cos(),
                   classes = at::tensor({0, 2, 1, 1}, at::kLong);
  const auto expected = [&](std::int64_t step, Weights which) {
    return nn::evaluate(pictures, weights(pictures, step, which), x, classes);
  };
  const auto energy = [&](const Model& model) { return model.energy({.classes = classes})->energy(x); };
  EXPECT_TRUE(at::allclose(energy(Model::open(folder)), expected(20, Weights::average)));
  EXPECT_TRUE(at::allclose(energy(Model::open(folder, {.weights = Weights::network})), expected(20, Weights::network)));
  EXPECT_TRUE(at::allclose(energy(Model::open(folder / "checkpoints/000010")), expected(10, Weights::average)));
  const fs::path file = folder / "checkpoints/000010/network.safetensors";
  EXPECT_TRUE(
      at::allclose(energy(Model::open(file, {.engine = engine::Kind::reference})), expected(10, Weights::network)));
  EXPECT_EQ(Model::open(file).space().low, -1);
  // By the fast engine, as it is asked for instead of the recipe's.
  const auto fast = engine::prepare(pictures, weights(pictures, 20, Weights::average), {})->given(classes);
  EXPECT_TRUE(at::allclose(energy(Model::open(folder, {.engine = engine::Kind::fast})), fast->energy(x), 1e-4, 1e-4));
  EXPECT_FALSE(at::allclose(expected(20, Weights::network), expected(20, Weights::average)));
}

TEST_F(OpenedModel, OneRowHoldsForAnyNumberOfInputs) {
  const at::NoGradGuard no_grad;
  save(pictures, 10);
  const Model model = Model::open(folder);
  const auto of_class = model.energy(nn::Condition::of_class(2));
  for (const std::int64_t count : {3, 1, 5}) {
    const at::Tensor x = at::linspace(-1, 1, count * 64).reshape({count, 1, 8, 8});
    const auto all = model.energy({.classes = at::full({count}, 2, at::kLong)});
    EXPECT_TRUE(at::equal(of_class->energy(x), all->energy(x)));
    EXPECT_TRUE(at::equal(of_class->energy_and_gradient(x).gradient, all->energy_and_gradient(x).gradient));
  }
}

// E(x, sigma) = G(c x, features of sigma) / (sigma c), c = 1 / sqrt(sigma^2 + sigma_data^2).
TEST_F(OpenedModel, TakesANoiseLevelBesideTheCondition) {
  const at::NoGradGuard no_grad;
  save(noisy, 10, R"({"sigma_min": 0.1, "sigma_max": 4, "sigma_data": 0.7})");
  const Model model = Model::open(folder);
  const at::Tensor x = at::linspace(-1, 1, 128).reshape({2, 1, 8, 8}), classes = at::tensor({1, 2}, at::kLong);
  const nn::Condition condition{.classes = classes};
  for (const double sigma : {0.1, 0.5, 3.0}) {
    const double c = 1 / std::hypot(sigma, 0.7);
    const at::Tensor rows = nn::condition_rows(noisy, classes, at::full({2}, sigma, at::kDouble));
    const at::Tensor expected = nn::evaluate(noisy, weights(noisy, 10, Weights::average), x * c, rows) / (sigma * c);
    EXPECT_TRUE(at::allclose(model.energy(condition, sigma)->energy(x), expected)) << sigma;
  }
  EXPECT_TRUE(at::equal(model.energy(condition)->energy(x), model.energy(condition, 0.1)->energy(x)));
  EXPECT_FALSE(at::allclose(model.energy(condition)->energy(x), model.energy(condition, 0.2)->energy(x)));
}

TEST_F(OpenedModel, RefusesWhatItDoesNotTake) {
  save(pictures, 10);
  const Model model = Model::open(folder);
  EXPECT_SAYS(model.energy(), "takes classes of 3");
  EXPECT_SAYS(model.energy({.values = at::zeros({1, 3})}), "classes");
  EXPECT_SAYS(model.energy(nn::Condition::of_class(3)), "from 0 to 2");
  EXPECT_SAYS(model.energy(nn::Condition::of_class(1), 0.5), "no noise level");
  const nn::Condition two{.classes = at::zeros({2}, at::kLong)};
  EXPECT_SAYS(model.sample({.count = 3, .condition = two}), "each of 3");
  EXPECT_SAYS(Model::open(folder / "nowhere"), "no such file or folder");
  EXPECT_SAYS(Model::open(folder, {.best = true}), "no best checkpoint");
  EXPECT_SAYS(Model::open(folder, {.ensemble = 2}), "expected 2");
  const nn::Graph classifier = nn::classifier({.channels = {4}, .features = 5}, {1, 8, 8}, 3);
  save(classifier, 20);
  EXPECT_SAYS(Model::open(folder).sample({}), "classifier");
  io::write_atomically(folder / "recipe.toml", "[sampling]\nsteps = \"many\"\n");
  EXPECT_SAYS(Model::open(folder), "recipe.toml:2: sampling.steps");
}

// What `igebm sample` has always drawn: streams from 2^41 on, the recipe's seed, the classes in turn.
TEST_F(OpenedModel, SamplesByTheRecipe) {
  const at::NoGradGuard no_grad;
  save(pictures, 10);
  save(pictures, 20);
  for (const std::int64_t ensemble : {1, 2}) {
    const Model model = Model::open(folder, {.ensemble = ensemble});
    const at::Tensor classes = at::tensor({0, 1, 2, 0, 1}, at::kLong);
    auto chains = sampling::start_chains({}, {1, 8, 8}, 5, std::int64_t{1} << 41, classes, 7);
    std::vector<energy::EnergyPtr> energies;
    for (const std::int64_t step : {10, 20}) {
      if (step == 20 || ensemble == 2)
        energies.push_back(
            engine::prepare(pictures, weights(pictures, step, Weights::average), {.engine = engine::Kind::reference})
                ->given(classes));
    }
    sampling::sample({.steps = 3, .langevin = {.step_size = 0.05, .noise = 0.1, .low = -1, .high = 1}}, energies,
                     chains, 7);
    const Samples samples = model.sample({.count = 5});
    EXPECT_TRUE(at::equal(samples.x, chains.x.clamp(-1, 1))) << ensemble;
    EXPECT_TRUE(at::equal(samples.condition.classes, classes));
    EXPECT_TRUE(at::equal(samples.energies, energies.back()->energy(samples.x)));
  }
}

// Kernels that compare energies: not of an engine that rounds them.
TEST_F(OpenedModel, SamplesByTheKernelAskedFor) {
  save(pictures, 10);
  const Model model = Model::open(folder);
  SampleRequest request{.count = 5};
  const at::Tensor langevin = model.sample(request).x;
  for (const char* kernel : {"mala", "hmc"}) {
    request.sampler = model.settings().sampling;
    request.sampler->kernel = kernel;
    request.batch = 250;
    const at::Tensor whole = model.sample(request).x;
    EXPECT_FALSE(at::equal(whole, langevin));
    EXPECT_LE(whole.abs().max().item<float>(), 1);
    request.batch = 2;
    EXPECT_TRUE(at::allclose(model.sample(request).x, whole, 1e-4, 1e-4)) << kernel;
    using engine::Kind, engine::Precision;
    const auto coarse = [&](Kind engine, Precision precision) {
      return Model::open(folder, {.engine = engine, .precision = precision});
    };
    EXPECT_NO_THROW(coarse(Kind::reference, Precision::bf16).sample(request));
    EXPECT_NO_THROW(coarse(Kind::fast, Precision::f32).sample(request));
    for (const auto precision : {Precision::bf16, Precision::automatic})
      EXPECT_SAYS(coarse(Kind::fast, precision).sample(request), "bfloat16");
  }
}

// One noise level, one step to the denoised: x - sigma^2 (dE_none + w (dE_class - dE_none)).
TEST_F(OpenedModel, GuidanceGoesBeyondTheClass) {
  const at::NoGradGuard no_grad;
  nn::Graph graph = noisy;
  save(graph, 5, R"({"sigma_min": 0.1, "sigma_max": 0.4, "sigma_data": 0.7})");
  SampleRequest request{.count = 4, .condition = nn::Condition::of_class(1)};
  request.sampler = Model::open(folder).settings().sampling;
  request.sampler->steps = 0;
  request.sampler->annealing = {.levels = 1, .moments = false, .guidance = 30};
  EXPECT_SAYS(Model::open(folder).sample(request), "label_dropout");
  graph.optional_condition = true;
  save(graph, 10, R"({"sigma_min": 0.1, "sigma_max": 0.4, "sigma_data": 0.7})");
  const Model model = Model::open(folder);
  const auto chains = sampling::start_chains({sampling::Start::normal}, {1, 8, 8}, 4, sample_streams, {}, 7);
  const at::Tensor x = 0.4 * chains.x;
  const auto slope = [&](const nn::Condition& condition) {
    return model.energy(condition, 0.1)->energy_and_gradient(x).gradient;
  };
  const at::Tensor none = slope({}), of_class = slope(nn::Condition::of_class(1));
  EXPECT_FALSE(at::allclose(30 * none, 30 * of_class, 1e-2, 1e-2));
  EXPECT_TRUE(
      at::allclose(model.sample(request).x, (x - 0.01 * (none + 30 * (of_class - none))).clamp(-1, 1), 1e-3, 1e-4));

  // The start at the moments of sigma_max: y = sigma n + (D(0) + D(sigma n)) / 2.
  request.sampler->annealing = {.levels = 1, .moments = true};
  const auto gradient = [&](double sigma, const at::Tensor& at) {
    return model.energy(nn::Condition::of_class(1), sigma)->energy_and_gradient(at).gradient;
  };
  const at::Tensor zero = at::zeros_like(x);
  const at::Tensor y = x + 0.5 * ((zero - 0.16 * gradient(0.4, zero)) + (x - 0.16 * gradient(0.4, x)));
  EXPECT_FALSE(at::allclose(y, x, 1e-2, 1e-2));
  EXPECT_TRUE(at::allclose(model.sample(request).x, (y - 0.01 * gradient(0.1, y)).clamp(-1, 1), 1e-3, 1e-4));
}

TEST_F(OpenedModel, SamplesDoNotDependOnTheBatch) {
  save(noisy, 10, R"({"sigma_min": 0.1, "sigma_max": 4, "sigma_data": 0.7})");
  const Model model = Model::open(folder);
  const Samples all = model.sample({.count = 10}), parts = model.sample({.count = 10, .batch = 3});
  EXPECT_TRUE(at::allclose(all.x, parts.x, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(all.energies, parts.energies, 1e-4, 1e-3));
  EXPECT_TRUE(at::equal(all.condition.classes, at::arange(10).remainder(3)));
  EXPECT_FALSE(at::allclose(all.x, model.sample({.count = 10, .seed = 8}).x));
  const Samples one_class = model.sample({.count = 2, .condition = nn::Condition::of_class(1), .energies = false});
  EXPECT_TRUE(at::equal(one_class.condition.classes, at::ones({2}, at::kLong)));
  EXPECT_FALSE(one_class.energies.defined());
}

// An energy of inputs that are each at a level of their own is each one's at its level, gradients included.
TEST_F(OpenedModel, EnergiesAtLevelsOfTheirOwn) {
  const at::NoGradGuard no_grad;
  engine::Options options;
  options.engine = engine::Kind::reference;
  const auto network = engine::prepare(noisy, weights(noisy, 10, Weights::average), options);
  const at::Tensor x = at::linspace(-1, 1, 192).reshape({3, 1, 8, 8}).cos(), classes = at::tensor({0, 2, 1}, at::kLong),
                   sigma = at::tensor({0.1, 3.0, 0.7}, at::kDouble);
  for (const EnergyForm form : {EnergyForm::noise, EnergyForm::preconditioned}) {
    const NoiseScale scale{.sigma_min = 0.1, .sigma_max = 4, .sigma_data = 0.7, .form = form};
    const auto all = energy_at(noisy, *network, classes, scale, sigma)->energy_and_gradient(x);
    EXPECT_TRUE(at::allclose(energy_at(noisy, *network, classes, scale, sigma)->energy(x), all.energy, 1e-4));
    const at::Tensor v = x.flip(0), products = energy_at(noisy, *network, classes, scale, sigma)->hessian_product(x, v);
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto energy = energy_at(noisy, *network, classes.slice(0, i, i + 1), 1, scale, sigma[i].item<double>());
      const auto one = energy->energy_and_gradient(x.slice(0, i, i + 1));
      const at::Tensor product = energy->hessian_product(x.slice(0, i, i + 1), v.slice(0, i, i + 1));
      EXPECT_LT((products.slice(0, i, i + 1) - product).norm().item<double>(), 1e-4 * product.norm().item<double>());
      EXPECT_TRUE(at::allclose(all.energy.slice(0, i, i + 1), one.energy, 1e-4)) << i;
      EXPECT_TRUE(at::allclose(all.gradient.slice(0, i, i + 1), one.gradient, 1e-4, 1e-5)) << i;
    }
  }
}

// Classes belong to samples by their number, whoever is quick; and neither places nor guidance change a chain.
TEST_F(OpenedModel, SamplesUntilTheyHaveSettled) {
  save(noisy, 10, R"({"sigma_min": 0.1, "sigma_max": 4, "sigma_data": 0.7, "form": "preconditioned"})");
  const Model model = Model::open(folder);
  SampleRequest request{.count = 20, .until = sampling::SettledOptions{.most = 40, .tolerance = 0.01}};
  request.batch = 20;
  const Samples all = model.sample(request);
  EXPECT_TRUE(at::equal(all.condition.classes, at::arange(20, at::kLong).remainder(3)));
  EXPECT_EQ(all.x.sizes(), (std::vector<std::int64_t>{20, 1, 8, 8}));
  for (const std::int64_t batch : {3, 8}) {
    request.batch = batch;
    const Samples few = model.sample(request);
    EXPECT_TRUE(at::equal(few.condition.classes, all.condition.classes)) << batch;
    EXPECT_TRUE(at::equal(few.evaluations, all.evaluations)) << batch;
    EXPECT_TRUE(at::allclose(few.x, all.x, 1e-4, 1e-4)) << batch;
    EXPECT_TRUE(at::allclose(few.energies, all.energies, 1e-3, 1e-3)) << batch;
  }
  request.until->most = 5;
  EXPECT_LE(model.sample(request).evaluations.max().item<std::int64_t>(), 5);
}

// Langevin steps in two parts are those of one run.
TEST_F(OpenedModel, GoesOnWithSamples) {
  save(pictures, 10);
  const Model model = Model::open(folder);
  SampleRequest request{.count = 5};
  request.sampler = model.settings().sampling;
  request.sampler->steps = 7;
  const Samples whole = model.sample(request);
  request.sampler->steps = 3;
  const Samples draft = model.sample(request);
  const Continued from{draft.x, draft.stream, draft.steps};
  request.from = &from, request.sampler->steps = 4;
  const Samples more = model.sample(request);
  EXPECT_TRUE(at::equal(more.x, whole.x));
  EXPECT_TRUE(at::equal(more.steps, whole.steps));
  EXPECT_TRUE(at::equal(more.stream, whole.stream));
  EXPECT_EQ(more.evaluations.sum().item<std::int64_t>(), 20);
  request.count = 4;
  EXPECT_SAYS(model.sample(request), "samples to go on with");
}

// Back to a level, and down again: what is decided above it stays.
TEST_F(OpenedModel, GoesBackToANoiseLevel) {
  save(noisy, 10, R"({"sigma_min": 0.1, "sigma_max": 4, "sigma_data": 0.7, "form": "preconditioned"})");
  const Model model = Model::open(folder);
  SampleRequest request{.count = 6};
  const Samples draft = model.sample(request);
  Continued from{draft.x, draft.stream, draft.steps, 0.11};
  request.from = &from;
  const Samples near = model.sample(request);
  from.sigma = 2;
  const Samples far = model.sample(request);
  const auto moved = [&](const Samples& s) { return (s.x - draft.x).abs().mean().item<double>(); };
  EXPECT_GT(moved(near), 0);
  EXPECT_GT(moved(far), 2 * moved(near));
  EXPECT_TRUE(at::equal(far.condition.classes, draft.condition.classes));
  from.sigma = 0.1;
  EXPECT_SAYS(model.sample(request), "noise level above 0.1");
}

TEST_F(OpenedModel, KeepsWhatIsFinishedWhereItIsStopped) {
  save(pictures, 10);
  const Model model = Model::open(folder);
  SampleRequest request{.count = 7, .batch = 3};
  const Samples whole = model.sample(request);
  std::int64_t calls = 0;
  request.on_step = [&](sampling::Position, const sampling::StepInfo&, const sampling::Chains&) {
    if (++calls == 8) throw sampling::Stop();  // in the last of three batches of three steps
  };
  const Samples part = model.sample(request);
  EXPECT_TRUE(at::equal(part.x, whole.x.slice(0, 0, 6)));
  EXPECT_TRUE(at::equal(part.energies, whole.energies.slice(0, 0, 6)));
  EXPECT_EQ(part.condition.classes.size(0), 6);
  calls = 7;
  EXPECT_EQ(model.sample(request).x.size(0), 0);
}

}  // namespace
}  // namespace igebm::model
