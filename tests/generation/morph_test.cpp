#include "igebm/generation/morph.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "igebm/model/files.h"
#include "igebm/model/noise.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "tests/refusals.h"

namespace igebm::generation {
namespace {

namespace fs = std::filesystem;

constexpr double data_deviation = 0.5;

/// Models of pictures 1 x 4 x 4 of three classes.
class Morphing : public testing::Test {
 protected:
  ~Morphing() override { fs::remove(path_); }
  /// `scale` of its network's weights: 0 leaves the exact energy of N(0, s^2 I). Without noise levels: as they are.
  model::Model model(double scale, bool noise = true) const {
    const nn::Graph graph = nn::mlp({.widths = {16}}, {1, 4, 4},
                                    {.classes = 3, .noise_features = noise ? 4 : 0, .optional_condition = noise});
    const nn::Network made(graph, 5);
    model::NetworkFile file{.graph = graph, .parameters = made.parameters(), .buffers = made.buffers()};
    at::manual_seed(6);
    for (auto& [_, t] : file.parameters) t = scale * (t + 0.3 * at::randn_like(t));  // some begin at 0
    file.metadata = {{"low", "-9"}, {"high", "9"}};
    if (noise)
      file.metadata["noise"] = model::to_json(model::NoiseScale{.sigma_min = 0.002,
                                                                .sigma_max = 20,
                                                                .sigma_data = data_deviation,
                                                                .form = model::EnergyForm::preconditioned});
    model::write_network_file(path_, file, file.parameters);
    return model::Model::open(path_, {.engine = engine::Kind::reference});
  }
  static nn::Condition of(std::int64_t label) { return nn::Condition::of_class(label); }
  const fs::path path_ = fs::temp_directory_path() / ("igebm-morph-" + std::to_string(getpid()) + ".safetensors");
};

double furthest(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST_F(Morphing, TheFlowComesBackToThePictureUnderItsOwnClassAlone) {
  const auto made = model(0.6);
  const at::Tensor x = at::rand({5, 1, 4, 4}) - 0.5;
  const MorphOptions options{.frames = 3, .kept = 0.1, .guidance = 1, .seed = 1};
  const Morphs same = change_class(made, x, of(1), of(1), options),
               other = change_class(made, x, of(1), of(2), options);
  EXPECT_EQ(same.frames.sizes().vec(), (std::vector<std::int64_t>{5, 3, 1, 4, 4}));
  EXPECT_NEAR(same.sigma, 1.5, 1e-9);  // 0.25 / (0.25 + sigma^2) = 0.1
  EXPECT_EQ(same.gradients, 1 + 2 * 39 + 2 * 40);
  EXPECT_TRUE(at::equal(other.frames.select(1, 0), x));
  const double back = furthest(same.frames.select(1, 2), x), away = furthest(other.frames.select(1, 2), x),
               half = furthest(other.frames.select(1, 1), x);
  EXPECT_LT(back, 0.02);
  EXPECT_GT(away, 5 * back);
  EXPECT_LT(half, away);  // the energies go from one class's to the other's
  EXPECT_GT(half, back);
}

TEST_F(Morphing, EachChainIsItsOwnInAnyBatch) {
  const auto made = model(0.6);
  const at::Tensor x = at::rand({5, 1, 4, 4}) - 0.5;
  const nn::Condition from{.classes = at::tensor({0, 1, 2, 0, 1}, at::kLong)};
  MorphOptions options{.frames = 2, .kept = 0.1, .levels = 6, .ancestral = 1, .seed = 1};
  for (const Ascent ascent : {Ascent::flow, Ascent::drawn}) {
    options.ascent = ascent, options.batch = 250;
    const at::Tensor whole = change_class(made, x, from, of(2), options).frames;
    options.batch = 2;
    EXPECT_LT(furthest(change_class(made, x, from, of(2), options).frames, whole), 1e-5);
  }
}

// x + sigma n of N(0, s^2): the flow back shrinks it by s / sqrt(s^2 + sigma^2).
TEST_F(Morphing, NoiseThatIsDrawnHasTheLawOfIt) {
  const auto gaussian = model(0);
  constexpr std::int64_t count = 2000;
  const at::Tensor x = at::full({count, 1, 4, 4}, 0.4F);
  const at::Tensor end =
      change_class(gaussian, x, {}, of(0),
                   {.frames = 2, .kept = 0.5, .ascent = Ascent::drawn, .levels = 200, .guidance = 1, .seed = 3})
          .frames.select(1, 1)
          .to(at::kDouble);
  const double factor = std::sqrt(0.5);
  EXPECT_NEAR(end.mean().item<double>(), factor * 0.4, 0.01);
  EXPECT_NEAR(end.std().item<double>(), factor * data_deviation, 0.01);
}

TEST_F(Morphing, WhatLiesBetweenTwoIsAsFarFromTheMeanAsTheyAre) {
  const auto gaussian = model(0);
  at::Tensor a = at::zeros({1, 1, 4, 4}), b = at::zeros({1, 1, 4, 4});
  a[0][0][0] = 1, b[0][0][1] = 2;
  const Morphs found = interpolate(gaussian, a, b, {}, {}, {.frames = 5, .kept = 0.1, .seed = 1});
  EXPECT_TRUE(at::equal(found.frames.select(1, 0), a));
  EXPECT_TRUE(at::equal(found.frames.select(1, 4), b));
  // Orthogonal: at 45 degrees, with norm 3 of 2 and 4. The mean of pixels has 2.2.
  const at::Tensor middle = found.frames[0][2];
  EXPECT_NEAR(middle.norm().item<double>(), 3, 0.05);
  EXPECT_LT(furthest(middle, 3 / std::sqrt(2) * (a / 2 + b / 4)[0]), 0.05);
  EXPECT_EQ(found.gradients, 2 * 79 + 40);
}

// The Hessian of N(0, (s^2 + sigma^2) I) is 1 / (s^2 + sigma^2), and y moved by d moves x by s / sqrt(s^2 + sigma^2) d.
TEST_F(Morphing, GoesAlongEigenvectorsOfTheHessian) {
  const auto gaussian = model(0);
  const at::Tensor x = at::rand({2, 1, 4, 4}) - 0.5;
  const Traversals found =
      traverse(gaussian, x, {}, {.count = 3, .least = true}, 2, {.frames = 5, .kept = 0.5, .levels = 200, .seed = 1});
  EXPECT_EQ(found.morphs.frames.sizes().vec(), (std::vector<std::int64_t>{2, 3, 5, 1, 4, 4}));
  EXPECT_TRUE(at::allclose(found.along.values, at::full({2, 3}, 2., at::kDouble), 1e-4));
  for (int k = 0; k < 5; ++k) {
    const at::Tensor moved = (k - 2) * data_deviation * std::sqrt(0.5) * found.along.vectors.view({2, 3, 1, 4, 4});
    EXPECT_LT(furthest(found.morphs.frames.select(2, k), x.unsqueeze(1) + moved), 0.02) << k;
  }
}

TEST_F(Morphing, WithoutNoiseLevelsChainsWalk) {
  const auto made = model(1, false);
  const at::Tensor x = at::rand({3, 1, 4, 4}) - 0.5;
  const auto walked = [&](std::int64_t frames, std::int64_t steps) {
    return change_class(made, x, of(0), of(2), {.frames = frames, .steps = steps, .seed = 1, .batch = 2}).frames;
  };
  const at::Tensor fine = walked(5, 2), coarse = walked(3, 4);
  EXPECT_TRUE(at::equal(fine.select(1, 0), x));
  EXPECT_FALSE(at::equal(fine.select(1, 1), x));
  EXPECT_TRUE(at::equal(fine.select(1, 2), coarse.select(1, 1)));
  EXPECT_TRUE(at::equal(fine.select(1, 4), coarse.select(1, 2)));
  const Traversals along = traverse(made, x, of(0), {.count = 2}, 1, {.frames = 3});
  EXPECT_LT(furthest(along.morphs.frames.select(2, 1), x.unsqueeze(1)), 1e-6);
  EXPECT_SAYS(walked(3, 0), "at least one step between two frames");
}

TEST_F(Morphing, WhatDoesNotFitIsRefused) {
  const auto made = model(1);
  const at::Tensor x = at::zeros({2, 1, 4, 4});
  EXPECT_SAYS(change_class(made, x, {}, of(3), {}), "expected classes from 0 to 2");
  EXPECT_SAYS(change_class(made, x, {}, of(1), {.frames = 1}), "at least 2 frames");
  EXPECT_SAYS(change_class(made, x, {}, of(1), {.kept = 1}), "kept: expected from 0.00062 to 1");
  EXPECT_SAYS(change_class(made, at::zeros({2, 1, 4, 3}), {}, of(1), {}), "records of shape (1, 4, 4)");
  EXPECT_SAYS(interpolate(made, x, at::zeros({3, 1, 4, 4}), {}, {}, {}), "2 pictures to begin with and 3 to end with");
  EXPECT_SAYS(traverse(made, x, {}, {.count = 17}, 1, {}), "1 to 16 eigenvectors");
}

}  // namespace
}  // namespace igebm::generation
