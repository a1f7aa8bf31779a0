#include "igebm/evaluation/curve.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "igebm/io/npz.h"
#include "igebm/io/safetensors.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "tests/refusals.h"

namespace igebm::evaluation {
namespace {

namespace fs = std::filesystem;

class CurveTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() /
             fmt::format("igebm-curve-{}-{}", getpid(), testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
    at::manual_seed(4);
    io::write_npz(folder / "set.npz", {{"x_train", at::randint(256, {90, 8, 8}).to(at::kByte)},
                                       {"y_train", at::arange(90).remainder(3)},
                                       {"x_test", at::randint(256, {60, 8, 8}).to(at::kByte)},
                                       {"y_test", at::arange(60).remainder(3)}});
    settings.data = {.name = "npz", .path = folder / "set.npz", .validation = 0};
    const nn::Network classifier(nn::classifier({.channels = {4}, .features = 5}, {1, 8, 8}, 3), 2);
    io::write_safetensors(folder / "classifier.safetensors", classifier.parameters(),
                          {{"format", "igebm"}, {"version", "1"}, {"graph", nn::to_json(classifier.graph())}});
    options = {.budgets = {12, 5}, .count = 12, .features = folder / "classifier.safetensors", .seed = 3};
  }
  void TearDown() override { fs::remove_all(folder); }

  model::Model model() const {
    nn::Network network(
        nn::strided({.stem = 4, .channels = {4}, .dense = 4}, {1, 8, 8}, {.classes = 3, .noise_features = 4}), 1);
    return {network.graph(),
            {engine::prepare(network.graph(), network.effective_weights(), {})},
            {.classes = 3, .noise = model::NoiseScale{}},
            settings};
  }

  fs::path folder;
  model::Settings settings;
  CurveOptions options;
  Observer nobody;
};

TEST_F(CurveTest, IsWhatEvaluateTellsOfEachBudget) {
  const auto points = curve(model(), options, nobody);
  ASSERT_EQ(points.size(), 2U);
  for (const CurvePoint& point : points) {
    settings.sampling.budget = point.budget;
    const Evaluation one =
        evaluate(model(), 12, {.metrics = {"frechet", "diversity"}, .features = options.features, .seed = 3}, nobody);
    for (const char* metric : {"frechet", "diversity", "labels_right"}) {
      EXPECT_EQ(point.evaluation.samples.find(metric)->mean(), one.samples.find(metric)->mean()) << metric;
      EXPECT_EQ(point.evaluation.real.find(metric)->mean(), one.real.find(metric)->mean()) << metric;
    }
    EXPECT_LE(point.gradients, point.budget);
    EXPECT_GT(point.gradients, 0);
    EXPECT_GT(point.seconds, 0);
    EXPECT_TRUE(point.samples.labels.equal(at::arange(12).remainder(3)));
  }
  EXPECT_EQ(points[0].budget, 12);
  // Three columns of two rows, twice as large.
  EXPECT_EQ(picture_of(points, 3).sizes().vec(), (std::vector<std::int64_t>{2 * 18 + 2, 3 * 18 + 2, 1}));
}

TEST_F(CurveTest, RefusesBeforeItDraws) {
  class Draws : public Observer {
    void progress(std::string_view, std::int64_t, std::int64_t) override { ADD_FAILURE() << "drew samples"; }
  } draws;
  options.budgets = {12, 0};
  EXPECT_SAYS(curve(model(), options, draws), "budgets: expected numbers from 1 up, got 0");
  options.budgets = {};
  EXPECT_SAYS(curve(model(), options, draws), "budgets: expected at least one");
  options.budgets = {12};
  options.count = 5;
  EXPECT_SAYS(curve(model(), options, draws), "5 samples, where two of each of 3 classes are expected");
}

}  // namespace
}  // namespace igebm::evaluation
