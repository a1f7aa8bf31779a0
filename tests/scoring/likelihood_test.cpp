#include "igebm/scoring/likelihood.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <numbers>

#include "igebm/energy/analytic.h"
#include "igebm/io/npz.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "igebm/scoring/plane_law.h"
#include "tests/refusals.h"

namespace igebm::scoring {
namespace {

namespace fs = std::filesystem;

TEST(PlaneLaws, IntegrateAndSampleExactly) {
  const energy::GaussianMixture clusters(at::tensor({0.8, 0.2}),
                                         at::tensor({-1.0, 0.0, 1.0, 0.5}, at::kDouble).view({2, 2}),
                                         at::tensor({0.3, 0.1}, at::kDouble));
  const PlaneLaw law(clusters, 4, at::kCPU);
  EXPECT_NEAR(law.log_z(), 0, 1e-4);
  const at::Tensor x = law.sample(4000, 3), left = x.select(1, 0) < 0.4;
  EXPECT_NEAR(left.to(at::kDouble).mean().item<double>(), 0.8, 0.02);
  EXPECT_NEAR(x.index({left}).select(1, 1).std().item<double>(), 0.3, 0.01);
  EXPECT_NEAR(x.index({left.logical_not()}).select(1, 1).std().item<double>(), 0.1, 0.01);
  EXPECT_TRUE(at::equal(law.sample(4000, 3).slice(0, 0, 10), x.slice(0, 0, 10)));
  EXPECT_FALSE(at::equal(law.sample(10, 4), x.slice(0, 0, 10)));
}

/// Models of chance weights, and data made for them.
class Likelihoods : public testing::Test {
 protected:
  void SetUp() override {
    file = fs::temp_directory_path() / fmt::format("igebm-likelihood-{}-{}.npz", getpid(),
                                                   testing::UnitTest::GetInstance()->current_test_info()->name());
    at::manual_seed(3);
  }
  void TearDown() override { fs::remove(file); }

  /// Of n pictures 4 x 4, whose pixels go together.
  static at::Tensor pictures(std::int64_t n) {
    const at::Tensor common = at::randn({n, 1, 1}), own = at::randn({n, 4, 4});
    return (128 + 40 * common + 20 * own).clamp(0, 255).to(at::kByte);
  }

  static model::Model model_of(const nn::Graph& graph, const data::Options& data, double sigma_data = 1) {
    const nn::Network network(graph, 1);
    model::Settings settings;
    settings.data = data;
    return {network.graph(),
            {engine::prepare(network.graph(), network.effective_weights(), {})},
            {.noise = model::NoiseScale{.sigma_min = 0.1,
                                        .sigma_max = 20,
                                        .sigma_data = sigma_data,
                                        .form = model::EnergyForm::preconditioned}},
            settings};
  }
  model::Model of_pictures() const {
    return model_of(nn::mlp({.widths = {8}}, {1, 4, 4}, {.noise_features = 4}),
                    {.name = "npz", .path = file, .low = -1, .high = 1, .validation = 0});
  }

  static const MeanLogDensity& row(const Likelihood& l, const std::string& name) {
    for (const auto& r : l.rows) {
      if (r.name == name) return r;
    }
    throw std::out_of_range(name);
  }
  static const LogNormaliser& normaliser(const Likelihood& l, const std::string& name) {
    for (const auto& n : l.normalisers) {
      if (n.name == name) return n;
    }
    throw std::out_of_range(name);
  }

  fs::path file;
  Observer nobody;
};

// All is known of a Gaussian at the records that it is fitted on: mean -log p = 1/2 log det 2 pi e (S + sigma^2).
TEST_F(Likelihoods, GaussiansAreDensitiesOfNoisedPictures) {
  const at::Tensor train = pictures(4000), labels = at::arange(4000).remainder(2);
  io::write_npz(
      file,
      {{"x_train", train}, {"y_train", labels}, {"x_test", pictures(50)}, {"y_test", at::arange(50).remainder(2)}});
  const Likelihood l = likelihood(of_pictures(), {.count = 4000, .integrated = 0}, nobody);
  const at::Tensor x = (train.to(at::kDouble) + 0.5).flatten(1) / 128 - 1, centred = x - x.mean(0);
  const double dequantised = 1 / 12.0 / (128 * 128), noise = 0.1 * 0.1;
  const at::Tensor variance = at::linalg_eigvalsh(at::matmul(centred.t(), centred) / 3999.0) + dequantised + noise;
  const double expected = -(variance * 2 * std::numbers::pi * std::numbers::e).log().sum().item<double>() / 2;
  const MeanLogDensity& gaussian = row(l, "gaussian");
  EXPECT_NEAR(gaussian.training->value, expected, 0.12);
  EXPECT_LT(gaussian.training->low, expected);
  EXPECT_GT(gaussian.training->high, expected);
  EXPECT_NEAR(row(l, "class-gaussians").training->value, expected, 0.4);
  EXPECT_TRUE(gaussian.baseline);
  EXPECT_EQ(l.test_count, 50);
  // A grey level is 2 / 256 wide there.
  EXPECT_NEAR(l.bits(expected), -expected / 16 / std::numbers::ln2 + 7, 1e-12);
  EXPECT_NEAR(l.noise_nats, -16 * std::log(0.1 * std::sqrt(2 * std::numbers::pi * std::numbers::e)), 1e-9);
  EXPECT_LT(gaussian.training->value, l.noise_nats);
  EXPECT_TRUE(l.normalisers.empty());
}

TEST_F(Likelihoods, LevelsAndAnnealingSaySoForThemselves) {
  io::write_npz(file, {{"x_train", pictures(300)}, {"x_test", pictures(100)}});
  LikelihoodOptions options{.count = 64, .integrated = 100, .levels_compare = true, .backwards = 16};
  options.annealed = AnnealedOptions{.levels = 40, .chains = 16};
  const Likelihood l = likelihood(of_pictures(), options, nobody);
  std::vector<std::string> names;
  for (const auto& n : l.normalisers) names.push_back(n.name);
  EXPECT_EQ(names, (std::vector<std::string>{"own", "integrated", "forwards"}));
  EXPECT_FALSE(l.exact_samples);
  EXPECT_EQ(row(l, "raise").count, 16);
  EXPECT_NEAR(row(l, "own").test.value - row(l, "forwards").test.value,
              normaliser(l, "forwards").log_z.value - normaliser(l, "own").log_z.value, 1e-6);
  const Likelihood again = likelihood(of_pictures(), options, nobody);
  EXPECT_NEAR(row(again, "raise").test.value, row(l, "raise").test.value, 1e-6);
  const Likelihood alone = likelihood(of_pictures(), {.count = 64, .integrated = 0, .levels_compare = true}, nobody);
  ASSERT_EQ(alone.normalisers.size(), 1U);
  EXPECT_NEAR(normaliser(alone, "own").log_z.value, normaliser(l, "own").log_z.value, 1e-6);
}

// Every way to log Z comes to the same of a model in the plane, but the two that need the data's law to be the model's.
TEST_F(Likelihoods, PlaneModelsAreSandwiched) {
  const model::Model model = model_of(nn::mlp({.widths = {16}}, {2}, {.noise_features = 4}),
                                      {.name = "two-moons", .validation = 0, .count = 500}, 0.4);
  LikelihoodOptions options{.count = 200, .integrated = 0, .backwards = 256};
  options.annealed = AnnealedOptions{.levels = 300, .chains = 256, .batch = 256};
  const Likelihood l = likelihood(model, options, nobody);
  const double log_z = normaliser(l, "quadrature").log_z.value;
  EXPECT_TRUE(l.exact_samples);
  EXPECT_NEAR(normaliser(l, "forwards").log_z.value, log_z, 0.05);
  EXPECT_NEAR(normaliser(l, "backwards").log_z.value, log_z, 0.05);
  EXPECT_THROW(row(l, "raise"), std::out_of_range);
  EXPECT_EQ(l.grey_levels, 0);
}

TEST_F(Likelihoods, SayWhatIsWrong) {
  const model::Model model =
      model_of(nn::mlp({.widths = {4}}, {2}, {.noise_features = 4}), {.name = "two-moons", .count = 100});
  EXPECT_SAYS(likelihood(model, {.sigma = 0.01}, nobody), "sigma: expected from 0.1 to below 20, got 0.01");
  EXPECT_SAYS(likelihood({nn::mlp({.widths = {4}}, {2}),
                          {engine::prepare(nn::mlp({.widths = {4}}, {2}),
                                           nn::Network(nn::mlp({.widths = {4}}, {2}), 1).effective_weights(), {})},
                          {},
                          model.settings()},
                         {}, nobody),
              "no noise levels");
}

}  // namespace
}  // namespace igebm::scoring
