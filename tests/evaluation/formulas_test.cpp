#include "igebm/evaluation/formulas.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/evaluation/fidelity.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "tests/refusals.h"

namespace igebm::evaluation {
namespace {

namespace fs = std::filesystem;

/// Features that vary together, with means away from zero, as a network's do.
at::Tensor correlated(std::int64_t n, std::int64_t d, double shift) {
  return at::matmul(at::randn({n, d}, at::kDouble), at::randn({d, d}, at::kDouble)) / std::sqrt(d) + shift;
}

// scikit-image 0.26: structural_similarity(a, b, data_range=1, gaussian_weights=True, sigma=1.5,
// use_sample_covariance=False).
TEST(Fidelity, AgreesWithScikitImage) {
  const at::Tensor i = at::arange(16 * 14, at::kDouble).view({1, 1, 16, 14});
  const at::Tensor a = (i * 37).remainder(101) / 100, b = (a + 0.3 * at::sin(i * 0.7)).clamp(0, 1);
  EXPECT_NEAR(ssim(a, b), 0.7912936744217295, 1e-9);
  EXPECT_NEAR(ssim(a, a), 1, 1e-12);
  EXPECT_THROW(ssim(a.slice(2, 0, 10), b.slice(2, 0, 10)), UserError);
  EXPECT_NEAR(psnr(a + 0.1, a), 20, 1e-9);
  EXPECT_NEAR(psnr(a + 0.1 * (i < 50).to(at::kDouble), a, i < 50), 20, 1e-9);
  EXPECT_EQ(psnr(a, a), 120);
}

/// The formulas of published figures, in numpy and scipy, on the same features: full rank, fewer pictures than features
/// (so that both covariances lack rank, in different directions), and features that never vary.
TEST(Metrics, AgreeWithScipy) {
  const std::string python = IGEBM_SOURCE_DIR "/.venv/bin/python";
  if (std::system((python + " -c 'import numpy, scipy' 2>/dev/null").c_str()) != 0) GTEST_SKIP() << "no scipy";
  const fs::path folder = fs::temp_directory_path() / fmt::format("igebm-metrics-{}", getpid());
  fs::create_directories(folder);
  at::manual_seed(3);
  std::map<std::string, at::Tensor> arrays = {
      {"full.a", correlated(300, 16, 1)},        {"full.b", correlated(250, 16, 1.2)},
      {"few.a", correlated(20, 64, 0)},          {"few.b", correlated(40, 64, 0.5)},
      {"idle.a", correlated(100, 12, 1).relu()}, {"idle.b", correlated(90, 12, 1).relu()},
      {"wide.a", correlated(400, 256, 0)},       {"wide.b", correlated(500, 256, 0.1)}};
  for (const char* name : {"idle.a", "idle.b"}) arrays[name].slice(1, 0, 4).zero_();
  arrays["probabilities"] = at::softmax(3 * at::randn({203, 10}, at::kDouble), 1);
  io::write_npz(folder / "features.npz", arrays);
  const std::string script = python + " " IGEBM_SOURCE_DIR "/tests/evaluation/formulas.py " + folder.string();
  ASSERT_EQ(std::system(script.c_str()), 0);
  const auto expected = nlohmann::json::parse(io::read_file(folder / "expected.json"));
  for (const char* name : {"full", "few", "idle", "wide"}) {
    const at::Tensor a = arrays.at(fmt::format("{}.a", name)), b = arrays.at(fmt::format("{}.b", name));
    const double distance = frechet_distance(moments(a), moments(b));
    for (const char* route : {"sqrtm", "eigenvalues"}) {
      const double e = expected[name][route];
      EXPECT_NEAR(distance, e, 1e-6 * e) << name << " " << route;
    }
    const double kid = expected[name]["kid"];
    EXPECT_NEAR(kernel_distance(a, b), kid, 1e-6 * std::fabs(kid)) << name;
    EXPECT_NEAR(frechet_distance(moments(b), moments(a)), distance, 1e-9 * distance) << name;
  }
  const auto score = inception_score(arrays.at("probabilities"));
  EXPECT_NEAR(score.mean, expected["inception"][0].get<double>(), 1e-6);
  EXPECT_NEAR(score.deviation, expected["inception"][1].get<double>(), 1e-6);
  fs::remove_all(folder);
}

/// The features of fidelity.py.
at::Tensor waves(std::int64_t n, std::int64_t d, double phase) {
  const at::Tensor i = at::arange(n, at::kDouble).unsqueeze(1), j = at::arange(d, at::kDouble);
  return (phase + 1.3 * i + 0.7 * j).sin() + (0.11 * (i + 1) * (j + 1) + phase).cos();
}

TEST(Metrics, AgreeWithTorchFidelity) {
  const auto expected = nlohmann::json::parse(io::read_file(IGEBM_SOURCE_DIR "/tests/evaluation/fidelity.json"));
  const auto expect = [&](const char* name, double found) {
    const double figure = expected.at(name);
    EXPECT_NEAR(found, figure, 1e-6 * std::fabs(figure)) << name;
  };
  const at::Tensor a = waves(120, 16, 0), b = waves(150, 16, 0.4);
  expect("frechet_inception_distance", frechet_distance(moments(a), moments(b)));
  expect("kernel_inception_distance_mean", kernel_distance(a, b.slice(0, 0, 120)));
  const Estimate score = inception_score(at::softmax(3 * a, 1));
  expect("inception_score_mean", score.mean);
  expect("inception_score_std", score.deviation);
}

TEST(Frechet, KnownCases) {
  // Diagonal covariances commute: the distance is |m_a - m_b|^2 + sum (s_a - s_b)^2.
  const auto diagonal = [](std::vector<double> mean, std::vector<double> deviation) {
    return Moments{at::tensor(mean, at::kDouble), at::diag(at::tensor(deviation, at::kDouble).square())};
  };
  EXPECT_NEAR(frechet_distance(diagonal({1, 2, 3}, {1, 2, 3}), diagonal({1, 0, 3}, {4, 2, 1})), 4 + 9 + 0 + 4, 1e-12);
  EXPECT_NEAR(frechet_distance(diagonal({0, 0}, {1, 0}), diagonal({0, 0}, {0, 1})), 2, 1e-12);
  EXPECT_NEAR(frechet_distance(diagonal({0, 0}, {0, 0}), diagonal({3, 4}, {0, 0})), 25, 1e-12);
  // Of features to themselves it is zero, also where the covariance has far from full rank: the root of its noise
  // would leave about 1e-8 for each direction.
  at::manual_seed(1);
  for (const std::int64_t n : {10, 1000}) {
    const Moments m = moments(correlated(n, 200, 0));
    EXPECT_NEAR(frechet_distance(m, m), 0, 1e-10 * m.covariance.trace().item<double>()) << n;
  }
}

TEST(Frechet, MomentsAreNumpys) {
  const at::Tensor x = at::tensor({1.0, 2.0, 3.0, 6.0}, at::kDouble).reshape({2, 2});
  const Moments m = moments(x);
  EXPECT_TRUE(at::equal(m.mean, at::tensor({2.0, 4.0}, at::kDouble)));
  EXPECT_TRUE(at::allclose(m.covariance, at::tensor({2.0, 4.0, 4.0, 8.0}, at::kDouble).reshape({2, 2})));
}

/// Unbiased: the mean over many subsets of one distribution is zero within its error, where the biased estimate is
/// off by about (mean k(x, x) - mean k(x, y)) / 25 = 0.2, thirty of these errors.
TEST(KernelDistance, IsUnbiased) {
  at::manual_seed(0);
  const at::Tensor a = at::randn({20000, 8}, at::kDouble), b = at::randn({20000, 8}, at::kDouble);
  const Estimate e = kernel_distance(a, b, {.subsets = 400, .subset_size = 50, .seed = 1});
  EXPECT_LT(std::fabs(e.mean), 4.5 * e.deviation / std::sqrt(400));
  EXPECT_LT(e.deviation / std::sqrt(400), 0.2 / 20);
}

TEST(KernelDistance, AveragesSubsetsOfBoth) {
  at::manual_seed(0);
  const at::Tensor a = at::randn({60, 4}, at::kDouble), b = at::randn({80, 4}, at::kDouble) + 0.5;
  const Estimate e = kernel_distance(a, b, {.subsets = 3, .subset_size = 20, .seed = 7});
  std::vector<double> values;
  for (std::uint64_t i = 0; i < 3; ++i) {
    values.push_back(
        kernel_distance(a.index_select(0, choose(60, 20, 7, 2 * i)), b.index_select(0, choose(80, 20, 7, 2 * i + 1))));
  }
  const double mean = (values[0] + values[1] + values[2]) / 3;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  EXPECT_DOUBLE_EQ(e.mean, mean);
  EXPECT_NEAR(e.deviation, std::sqrt(squares / 3), 1e-12);
  // Subsets of everything are all alike.
  const Estimate whole = kernel_distance(a, b.slice(0, 0, 60), {.subsets = 5, .subset_size = 60});
  EXPECT_NEAR(whole.mean, kernel_distance(a, b.slice(0, 0, 60)), 1e-10);
  EXPECT_NEAR(whole.deviation, 0, 1e-10);
  EXPECT_NE(e.mean, kernel_distance(a, b, {.subsets = 3, .subset_size = 20, .seed = 8}).mean);
}

/// By hand, d = 1: k(x, y) = (x y + 1)^3. Rows 1, 2 against 0, 1: k(1, 2) = 27; k(0, 1) = 1; between: 1, 8, 1, 27.
TEST(KernelDistance, ByHand) {
  const at::Tensor a = at::tensor({1.0, 2.0}, at::kDouble).unsqueeze(1),
                   b = at::tensor({0.0, 1.0}, at::kDouble).unsqueeze(1);
  EXPECT_DOUBLE_EQ(kernel_distance(a, b), 27 + 1 - 2 * (1 + 8 + 1 + 27) / 4.0);
}

TEST(InceptionScore, KnownCases) {
  // Sure of one class each, all classes alike: K. The same answer for all: 1.
  const at::Tensor sure = at::eye(4, at::kDouble).repeat({5, 1});
  EXPECT_NEAR(inception_score(sure, 1).mean, 4, 1e-12);
  EXPECT_NEAR(inception_score(at::full({20, 4}, 0.25, at::kDouble), 2).mean, 1, 1e-12);
  // Parts are in order: in five parts of four each class is there once, in ten parts of two only two are.
  EXPECT_NEAR(inception_score(sure, 5).mean, 4, 1e-12);
  EXPECT_NEAR(inception_score(sure, 10).mean, 2, 1e-12);
  EXPECT_NEAR(inception_score(sure, 10).deviation, 0, 1e-12);
}

TEST(Choose, DifferentRowsAllAlike) {
  // Each of 10 is chosen with probability 3/10: over 4000 draws within 4.5 deviations (29) of 1200; a shuffle that
  // never moves the first or never reaches the last is off by hundreds.
  at::Tensor counts = at::zeros({10}, at::kLong);
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const at::Tensor rows = choose(10, 3, 5, i);
    EXPECT_EQ(std::get<0>(at::_unique(rows)).size(0), 3);
    counts.index_add_(0, rows, at::ones({3}, at::kLong));
  }
  EXPECT_LT((counts - 1200).abs().max().item<std::int64_t>(), 131);
  EXPECT_TRUE(at::equal(choose(50, 50, 1, 2), choose(50, 50, 1, 2)));
  EXPECT_TRUE(at::equal(std::get<0>(choose(50, 50, 1, 2).sort()), at::arange(50)));
}

TEST(NearestRows, AreThoseOfAllDistances) {
  at::manual_seed(3);
  const at::Tensor x = at::rand({20, 2, 3}), among = at::rand({5000, 2, 3});
  const at::Tensor distances = at::cdist(x.flatten(1).to(at::kDouble), among.flatten(1).to(at::kDouble));
  const at::Tensor rows = nearest_rows(x, among);
  EXPECT_TRUE(at::equal(rows, distances.argmin(1)));
  EXPECT_GE(rows.max().item<int>(), 4096);  // beyond the first part
  EXPECT_TRUE(
      at::equal(nearest_rows(at::full({1, 2}, 0.5), at::tensor({0, 0, 130, 120, 255, 255}, at::kByte).view({3, 2})),
                at::tensor({1}, at::kLong)));
  EXPECT_THROW(nearest_rows(x, at::zeros({4, 5})), UserError);
  // Near duplicates: a level of one pixel apart.
  const at::Tensor same = at::full({300, 3072}, 250, at::kByte);
  same.select(1, 0).copy_(at::arange(300).remainder(200).sub(150).abs().to(at::kByte).add(1));
  EXPECT_TRUE(at::equal(nearest_rows(same.slice(0, 150, 151), same), at::tensor({150}, at::kLong)));
}

TEST(Metrics, BadInputIsRefused) {
  const at::Tensor x = at::zeros({5, 3}, at::kDouble);
  EXPECT_THROW(moments(at::zeros({1, 3})), UserError);
  EXPECT_THROW(moments(at::full({5, 3}, NAN)), UserError);
  EXPECT_THROW(frechet_distance(moments(x), moments(at::zeros({5, 4}))), UserError);
  EXPECT_THROW(kernel_distance(x, at::zeros({5, 4})), UserError);
  EXPECT_THROW(kernel_distance(x, x, {.subset_size = 6}), UserError);
  EXPECT_THROW(inception_score(x, 6), UserError);
}

/// scipy 1.17: mannwhitneyu(a, b, alternative="less", method="asymptotic"), and 1 - statistic / (N M). By hand, without
/// ties: all 12 pairs, U = 12, mean 6, variance 3 * 4 * 8 / 12 = 8, z = 5.5 / sqrt(8) = 1.9445.
TEST(RankTest, AgreesWithScipy) {
  const auto test = [](std::vector<double> a, std::vector<double> b) {
    return rank_test(at::tensor(a), at::tensor(b));
  };
  EXPECT_EQ(test({3, 1, 2}, {7, 4, 6, 5}).share, 1);
  EXPECT_NEAR(test({3, 1, 2}, {7, 4, 6, 5}).p, 0.02591496360895484, 1e-12);
  EXPECT_EQ(test({4, 5, 6, 7}, {1, 2, 3}).share, 0);
  EXPECT_NEAR(test({4, 5, 6, 7}, {1, 2, 3}).p, 0.9892218666199918, 1e-12);
  EXPECT_NEAR(test({1, 2, 2, 3, 5}, {2, 3, 3, 4, 6, 7}).share, 23.0 / 30, 1e-12);
  EXPECT_NEAR(test({1, 2, 2, 3, 5}, {2, 3, 3, 4, 6, 7}).p, 0.08152252792711867, 1e-12);
  EXPECT_NEAR(test({.5, .5, .5, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 2, 2}).p, 0.017842221070106325, 1e-12);
  EXPECT_EQ(test({1, 1, 1}, {1, 1}).p, 1);
  EXPECT_EQ(test({1, 1, 1}, {1, 1}).share, 0.5);
  EXPECT_SAYS(test({}, {1}), "at least one on either side");
  EXPECT_SAYS(test({1}, {1, NAN}), "finite");
}

/// p of numbers of one distribution is uniform: of 400 tests 20 are below 1/20, give or take 4 standard errors.
TEST(RankTest, IsRightAboutChance) {
  at::manual_seed(11);
  int below = 0;
  for (int i = 0; i < 400; ++i) below += rank_test(at::randint(30, {60}), at::randint(30, {50})).p < 0.05 ? 1 : 0;
  EXPECT_NEAR(below, 20, 4 * std::sqrt(400 * 0.05 * 0.95));
}

TEST(MeanDistance, IsOverPairs) {
  const at::Tensor x = at::tensor({0.0F, 0.0F, 3.0F, 4.0F, 0.0F, 8.0F}).view({3, 2});
  EXPECT_NEAR(mean_distance(x), (5 + 8 + 5) / 3.0, 1e-6);
  EXPECT_NEAR(mean_distance((51 * x.narrow(0, 0, 2)).to(at::kByte)), 1, 1e-6);
}

}  // namespace
}  // namespace igebm::evaluation
