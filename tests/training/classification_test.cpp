#include "igebm/training/classification.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/nn/architectures.h"
#include "igebm/training/trainer.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

TEST(Classification, IsCrossEntropyWithSmoothedTargets) {
  const nn::Network network(nn::classifier({.channels = {3}, .features = 4}, {1, 4, 4}, 3), 1);
  const nn::EffectiveWeights weights = network.effective_weights();
  const auto frozen = engine::prepare(network.graph(), weights, {});
  at::manual_seed(0);
  const at::Tensor x = at::rand({5, 1, 4, 4}), labels = at::tensor({0, 2, 1, 1, 0}, at::kLong);
  const Step step{network.graph(), weights, *frozen, x, labels, 0, 0};
  const double smoothing = 0.2;
  const Loss loss = Classification({.label_smoothing = smoothing}).loss(step);
  const at::Tensor log_p = at::log_softmax(nn::evaluate(network.graph(), weights, x), 1);
  double expected = 0;
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t k = 0; k < 3; ++k) {
      const double target = (k == labels[i].item<std::int64_t>() ? 1 - smoothing : 0) + smoothing / 3;
      expected -= target * log_p[i][k].item<double>() / 5;
    }
  }
  EXPECT_NEAR(loss.value.item<double>(), expected, 1e-6);
  const double right = accuracy(network.graph(), weights, x, labels);
  EXPECT_DOUBLE_EQ(right, log_p.argmax(1).eq(labels).to(at::kDouble).mean().item<double>());
  EXPECT_DOUBLE_EQ(loss.metrics.at(0).second, right);
}

/// Pictures of two classes, bright above or below, and a run that tells them apart; it resumes bit for bit.
TEST(Classification, ARunLearnsAndResumes) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("igebm-classification-{}", getpid());
  fs::create_directories(folder / "data");
  const auto header = [](std::vector<int> shape) {
    std::string bytes{0, 0, 8, static_cast<char>(shape.size())};
    for (const int n : shape) bytes += {0, 0, static_cast<char>(n >> 8), static_cast<char>(n & 255)};
    return bytes;
  };
  std::string images = header({400, 8, 8}), labels = header({400});
  at::manual_seed(0);
  const at::Tensor noise = at::randint(0, 100, {400, 64}, at::kLong);
  for (int i = 0; i < 400; ++i) {
    for (int j = 0; j < 64; ++j)
      images += static_cast<char>(noise[i][j].item<std::int64_t>() + ((j < 32) == (i % 2 == 0) ? 60 : 0));
    labels += static_cast<char>(i % 2);
  }
  for (const char* part : {"train", "t10k"}) {
    io::write_atomically(folder / "data" / fmt::format("{}-images-idx3-ubyte", part), images);
    io::write_atomically(folder / "data" / fmt::format("{}-labels-idx1-ubyte", part), labels);
  }
  Recipe recipe;
  recipe.data = {.name = "idx", .path = folder / "data", .dequantize = false, .validation = 0.25};
  recipe.network = {.kind = "classifier", .classifier = {.channels = {4, 4}, .features = 4}};
  PhaseOptions phase;
  phase.name = "train";
  phase.steps = 60;
  phase.batch = 32;
  phase.average = 0.9;
  phase.optimizer = {.learning_rate = 0.02, .beta1 = 0.9, .clip = Clip::none};
  phase.objectives.add(ClassificationOptions{});
  recipe.phases = {phase};
  recipe.output = {.checkpoint_every = 20, .keep = 0, .samples_every = 0};
  Observer silent;
  EXPECT_TRUE(Trainer::begin(recipe, folder / "whole", silent).train({}));
  const std::string metrics = io::read_file(folder / "whole/metrics.jsonl");
  const auto at = metrics.rfind("\"accuracy/validation\":");
  ASSERT_NE(at, std::string::npos);
  EXPECT_GT(std::stod(metrics.substr(at + 22)), 0.95);
  Trainer::begin(recipe, folder / "parts", silent).train([steps = 33]() mutable { return steps-- <= 0; });
  Trainer::resume(folder / "parts", {}, silent).train({});
  EXPECT_TRUE(io::read_file(folder / "parts/metrics.jsonl") == metrics);
  for (const char* file : {"checkpoints/000060/network.safetensors", "checkpoints/000060/state.safetensors"})
    EXPECT_TRUE(io::read_file(folder / "parts" / file) == io::read_file(folder / "whole" / file)) << file;
  EXPECT_FALSE(fs::exists(folder / "whole/samples.png"));
  // Its network and its objective go together, in one recipe as in another.
  const auto refused = [&](const char* assignment, const char* expected) {
    try {
      read_recipe(folder / "whole/recipe.toml", {assignment});
      ADD_FAILURE() << assignment;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(expected), std::string::npos) << e.what();
    }
  };
  refused("phase.train.energy_matching.weight=1.0", "go together");
  refused("network.labels=true", "classifier tells the labels");
  refused("evaluate.every=5", "draws no samples");
  recipe.data.name = "two-moons";
  EXPECT_THROW(Trainer::begin(recipe, folder / "points", silent), UserError);
  fs::remove_all(folder);
}

TEST(Classification, GraphsKeepTheirOutputs) {
  const nn::Graph graph = nn::classifier({.channels = {4}, .features = 5}, {3, 8, 8}, 7);
  const nn::Graph back = nn::graph_from_json(nn::to_json(graph));
  EXPECT_EQ(back.outputs, 7);
  EXPECT_EQ(nn::shapes(back).back(), (std::vector<std::int64_t>{7}));
  nn::Graph energy = graph;
  energy.outputs = 0;
  EXPECT_THROW(nn::shapes(energy), UserError);
  EXPECT_THROW(nn::classifier({.channels = {4, 4, 4, 4}}, {1, 8, 8}, 3), UserError);
  EXPECT_THROW(nn::classifier({}, {1, 8, 8}, 1), UserError);
  EXPECT_THROW(nn::classifier({}, {2}, 3), UserError);
}

}  // namespace
}  // namespace igebm::training
