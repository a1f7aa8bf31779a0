#include "igebm/evaluation/evaluate.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "igebm/evaluation/formulas.h"
#include "igebm/io/npz.h"
#include "igebm/io/safetensors.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "tests/refusals.h"

namespace igebm::evaluation {
namespace {

namespace fs = std::filesystem;

class Stages : public Observer {
 public:
  void progress(std::string_view stage, std::int64_t, std::int64_t) override {
    if (names.empty() || names.back() != stage) names.emplace_back(stage);
  }
  std::vector<std::string> names;
};

/// Pictures of three classes, a classifier of them that has learned nothing, and a model of classes and noise levels.
class Evaluate : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / fmt::format("igebm-evaluate-{}-{}", getpid(),
                                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
    at::manual_seed(4);
    train = at::randint(256, {40, 8, 8}).to(at::kByte), test = at::randint(256, {300, 8, 8}).to(at::kByte);
    io::write_npz(folder / "set.npz", {{"x_train", train},
                                       {"y_train", at::arange(40).remainder(3)},
                                       {"x_test", test},
                                       {"y_test", at::arange(300).remainder(3)}});
    settings.data = {.name = "npz", .path = folder / "set.npz", .validation = 0};
    settings.sampling.annealing.levels = 2;
    settings.sampling.steps = 1;
    const nn::Network network(nn::classifier({.channels = {4}, .features = 5}, {1, 8, 8}, 3), 2);
    io::write_safetensors(folder / "classifier.safetensors", network.parameters(),
                          {{"format", "igebm"}, {"version", "1"}, {"graph", nn::to_json(network.graph())}});
    options.features = folder / "classifier.safetensors";
  }
  void TearDown() override { fs::remove_all(folder); }

  model::Model model(const nn::Conditioning& on) const {
    nn::Network network(nn::strided({.stem = 4, .channels = {4}, .dense = 4}, {1, 8, 8}, on), 1);
    return {network.graph(),
            {engine::prepare(network.graph(), network.effective_weights(), {})},
            {.classes = on.classes},
            settings};
  }

  fs::path folder;
  at::Tensor train, test;
  model::Settings settings;
  EvaluationOptions options;
  Stages stages;
};

TEST_F(Evaluate, OfClassesAndNoiseLevelsTellsTheLabelAccuracy) {
  const model::Model m = model({.classes = 3, .noise_features = 4});
  options.seed = 9;
  const Evaluation e = evaluate(m, 50, options, stages);
  EXPECT_EQ(stages.names.front(), "sampling");
  const model::Samples drawn = m.sample({.count = 50, .seed = 9});
  const auto told = [&](const at::Tensor& x) { return extract_all(*load_features(options.features), x).probabilities; };
  ASSERT_NE(e.samples.find("labels_right"), nullptr);
  EXPECT_EQ(e.samples.find("labels_right")->mean(), label_accuracy(told(drawn.x), at::arange(50).remainder(3)));
  // The floor: the other split's pictures with the labels that they have, as many as there are.
  EXPECT_EQ(e.real.count, 40);
  EXPECT_EQ(e.real.find("labels_right")->mean(), label_accuracy(told(train.unsqueeze(1)), at::arange(40).remainder(3)));
  EXPECT_EQ(*e.features_accuracy, label_accuracy(told(test.unsqueeze(1)), at::arange(300).remainder(3)));
  EXPECT_EQ(e.reference_count, 300);
  EXPECT_EQ(e.real_split, data::Split::train);
  EXPECT_TRUE(e.pictures);
  EXPECT_EQ(e.seed, 9U);
}

TEST_F(Evaluate, OfAModelWithoutLabelsTellsNone) {
  const Evaluation e = evaluate(model({}), 12, options, stages);
  EXPECT_EQ(e.samples.find("labels_right"), nullptr);
  EXPECT_EQ(e.real.find("labels_right"), nullptr);
  EXPECT_NE(e.samples.find("class_shares"), nullptr);
  EXPECT_NE(e.samples.find("frechet"), nullptr);
}

TEST_F(Evaluate, WhatIsMissingIsSaidBeforeSamplesAreDrawn) {
  options.metrics = {"labels_right"};
  EXPECT_SAYS(evaluate(model({}), 12, options, stages), "metric labels_right: these samples have no labels");
  options.metrics = {"inception"};
  EXPECT_SAYS(evaluate(model({}), 9, options, stages), "samples: Inception score: expected at least 10 records");
  options.features = folder / "absent";
  EXPECT_SAYS(evaluate(model({}), 12, options, stages), "absent: no such features");
  EXPECT_TRUE(stages.names.empty());
}

TEST_F(Evaluate, RealPicturesInAFileAreAtTheFloor) {
  io::write_npz(folder / "samples.npz", {{"images", test}, {"labels", at::arange(300).remainder(3)}});
  const Records samples = read_records(folder / "samples.npz");
  EXPECT_EQ(samples.shape(), (std::vector<std::int64_t>{1, 8, 8}));
  const Evaluation e = evaluate(samples, settings.data, options, stages);
  EXPECT_NEAR(e.samples.find("frechet")->mean(), 0, 1e-9);
  EXPECT_EQ(e.samples.find("labels_right")->mean(), *e.features_accuracy);
  Records wrong = samples;
  wrong.labels = at::full({300}, 3, at::kLong);
  EXPECT_SAYS(evaluate(wrong, settings.data, options, stages), "samples.npz: labels: label 3 of record 0");
}

TEST_F(Evaluate, OfAClassifierIsHowOftenItIsRight) {
  const Accuracy a = classifier_accuracy(options.features, settings.data, data::Split::train, 0);
  EXPECT_EQ(a.count, 40);
  EXPECT_EQ(a.fraction, label_accuracy(extract_all(*load_features(options.features), train.unsqueeze(1)).probabilities,
                                       at::arange(40).remainder(3)));
}

}  // namespace
}  // namespace igebm::evaluation
