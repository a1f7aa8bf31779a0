#include "igebm/scoring/ood.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "igebm/io/npz.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "igebm/scoring/anomaly.h"
#include "igebm/scoring/pixel_baselines.h"
#include "tests/refusals.h"

namespace igebm::scoring {
namespace {

namespace fs = std::filesystem;

at::Tensor numbers(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

TEST(Separation, ByHand) {
  // In order: 4 odd; 3 usual; 2 both; 1 usual.
  const Separation s = separation(numbers({1, 2, 3}), numbers({2, 4}));
  EXPECT_DOUBLE_EQ(s.auroc.value, (3 + 1.5) / 6);
  EXPECT_DOUBLE_EQ(s.aupr.value, 0.5 * 1 + 0.5 * 2 / 4);
  EXPECT_DOUBLE_EQ(s.fpr95.value, 2 / 3.0);
  EXPECT_LE(s.auroc.low, s.auroc.value);
  EXPECT_GE(s.auroc.high, s.auroc.value);
  const Separation perfect = separation(numbers({1, 2}), numbers({3, std::numeric_limits<double>::infinity()}));
  EXPECT_EQ(perfect.auroc.value, 1);
  EXPECT_EQ(perfect.aupr.low, 1);
  EXPECT_EQ(perfect.fpr95.high, 0);
  const Separation alike = separation(numbers({5, 5}), numbers({5, 5, 5}));
  EXPECT_EQ(alike.auroc.value, 0.5);
  EXPECT_DOUBLE_EQ(alike.aupr.value, 0.6);
  EXPECT_EQ(alike.fpr95.value, 1);
}

/// The normal approximation of an AUROC's deviation (Hanley & McNeil 1982) is about (1/12 (1/n + 1/m))^(1/2) at .5.
TEST(Separation, IntervalsHoldWhatChanceMoves) {
  at::manual_seed(1);
  const at::Tensor usual = at::randn({300}, at::kDouble), odd = at::randn({200}, at::kDouble);
  const Separation s = separation(usual, odd, {.draws = 1000, .seed = 3});
  const double deviation = std::sqrt((1 / 300.0 + 1 / 200.0) / 12);
  EXPECT_NEAR(s.auroc.high - s.auroc.low, 2 * 1.96 * deviation, 0.3 * deviation);
  EXPECT_LT(s.auroc.low, 0.5);
  EXPECT_GT(s.auroc.high, 0.5);
  const Separation again = separation(usual, odd, {.draws = 1000, .seed = 3}),
                   other = separation(usual, odd, {.draws = 1000, .seed = 4});
  EXPECT_EQ(again.aupr.low, s.aupr.low);
  EXPECT_NE(other.aupr.low, s.aupr.low);
}

TEST(Separation, Refuses) {
  EXPECT_SAYS(separation(numbers({}), numbers({1})), "no usual scores");
  EXPECT_SAYS(separation(numbers({1}), numbers({NAN})), "odd scores hold NaN");
}

TEST(Mahalanobis, IsTheDistance) {
  at::manual_seed(2);
  const at::Tensor mix = numbers({2, 0.5, 0, 1000}).view({2, 2}),
                   z = at::matmul(at::randn({400, 2}, at::kDouble), mix) + 3;
  const at::Tensor centred = z - z.mean(0), covariance = at::matmul(centred.t(), centred) / 399.0;
  const at::Tensor x = z.slice(0, 0, 5) * 1.5, d = x - z.mean(0),
                   expected = at::matmul(at::matmul(d, at::linalg_inv(covariance)), d.t()).diagonal();
  EXPECT_TRUE(Mahalanobis(z).of(x).allclose(expected, 1e-4, 1e-6));
  // A figure that follows from others, and one that never changes.
  const at::Tensor more = at::cat({z, z.sum(1, true), at::ones({400, 1}, at::kDouble)}, 1);
  EXPECT_TRUE(Mahalanobis(more).of(more).isfinite().all().item<bool>());
  EXPECT_EQ(Mahalanobis(z).of(numbers({NAN, 1}).view({1, 2}))[0].item<double>(),
            std::numeric_limits<double>::infinity());
  EXPECT_SAYS(Mahalanobis(z.slice(0, 0, 3)), "at least 4 usual inputs, got 3");
}

TEST(Anomaly, IsTheOdderOfTwo) {
  at::manual_seed(4);
  const at::Tensor figures = at::randn({300, 3}, at::kDouble), excess = at::randn({300}, at::kDouble) * 2 + 1;
  const Anomaly both(figures, excess), one(figures, {});
  EXPECT_TRUE(one.of(figures, {}).equal(both.of(figures, at::full({300}, -1e9, at::kDouble))));
  EXPECT_NEAR(one.of(figures, {}).mean().item<double>(), 0, 1e-9);
  EXPECT_NEAR(one.of(figures, {}).std().item<double>(), 1, 1e-9);
  // 10 deviations of the excess; little of it is no oddity.
  const at::Tensor usual = figures.slice(0, 0, 1), mean = excess.mean(), deviation = excess.std();
  EXPECT_NEAR(both.of(usual, (mean + 10 * deviation).view({1})).item<double>(), 10, 1e-9);
  EXPECT_EQ(both.of(usual, (mean - 10 * deviation).view({1})).item<double>(), one.of(usual, {}).item<double>());
  EXPECT_GT(both.of(figures.slice(0, 0, 1) + 50, excess.slice(0, 0, 1)).item<double>(), 3);
}

TEST(PValues, AreRanks) {
  const at::Tensor p = p_values(numbers({0, 2, 2.5, 9}), numbers({3, 1, 2}));
  EXPECT_TRUE(p.allclose(numbers({1, 0.75, 0.5, 0.25})));
}

TEST(PixelGaussian, IsTheGaussian) {
  at::manual_seed(3);
  const at::Tensor pictures = at::randint(256, {200, 1, 3, 2}).to(at::kByte), x = pictures.slice(0, 0, 4);
  const at::Tensor rows = pictures.flatten(1).to(at::kDouble) / 255, centred = rows - rows.mean(0);
  const double sigma = 0.3;
  const at::Tensor covariance = at::matmul(centred.t(), centred) / 199.0 + sigma * sigma * at::eye(6, at::kDouble);
  const at::Tensor z = (x.flatten(1).to(at::kDouble) / 255 - rows.mean(0)).requires_grad_();
  const at::Tensor energy =
      at::matmul(at::matmul(z, at::linalg_inv(covariance)), z.t()).diagonal() / 2 + covariance.logdet() / 2;
  const Profile profile = PixelGaussian(pictures).profile(x, {1, sigma});
  EXPECT_TRUE(profile.energy.select(1, 1).allclose(energy.detach(), 1e-4, 1e-4));
  energy.sum().backward();
  EXPECT_TRUE(profile.log_norm.select(1, 1).allclose((z.grad().norm(2, {1}) * sigma).log(), 1e-4, 1e-4));
}

// Sprites on black: most eigenvalues are 0, and float gave up on them.
TEST(PixelGaussian, OfFewPicturesWithMuchBlack) {
  at::Tensor pictures = at::zeros({10, 1, 28, 28}, at::kByte);
  for (std::int64_t i = 0; i < 10; ++i) pictures[i][0].slice(0, 8 + i % 3, 16).slice(1, 9, 15 + i / 2).fill_(255);
  EXPECT_TRUE(PixelGaussian(pictures).profile(pictures, {0.1}).energy.isfinite().all().item<bool>());
}

TEST(Baselines, OfFlatAndBusyPictures) {
  at::Tensor pictures = at::zeros({2, 1, 8, 8}, at::kByte);
  pictures[1].copy_(at::randint(256, {1, 8, 8}));
  const at::Tensor lengths = png_lengths(pictures), variations = total_variations(pictures);
  EXPECT_LT(lengths[0].item<double>(), lengths[1].item<double>());
  EXPECT_EQ(variations[0].item<double>(), 0);
  pictures[0].select(2, 3).fill_(255);  // a column: two of 7 steps to the right in each row
  EXPECT_NEAR(total_variations(pictures)[0].item<double>(), 2 / 7.0 / 2, 1e-12);
}

/// A small network of random weights over pictures in a file.
class OodTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() /
             fmt::format("igebm-ood-{}-{}", getpid(), testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
    at::manual_seed(7);
    train = at::randint(100, {700, 1, 8, 8}).to(at::kByte);
    test = at::randint(100, {230, 1, 8, 8}).to(at::kByte);
    other = at::randint(50, {40, 1, 8, 8}).to(at::kByte);
  }
  void TearDown() override { fs::remove_all(folder); }

  model::Model model(double validation = 0.4) {
    io::write_npz(folder / "set.npz", {{"x_train", train}, {"x_test", test}});
    io::write_npz(folder / "other.npz", {{"images", other}});
    const at::NoGradGuard no_grad;
    const nn::Graph graph = nn::unet({.channels = {8}, .blocks = {1}, .groups = 4}, {1, 8, 8}, {.noise_features = 4});
    nn::Network network(graph, 3);
    for (auto& [_, p] : network.parameters()) p.add_(at::linspace(-1, 1, p.numel()).reshape(p.sizes()), 0.1);
    model::Settings settings;
    settings.data = {.name = "npz", .path = folder / "set.npz", .low = -1, .validation = validation};
    return {graph,
            {engine::prepare(graph, network.effective_weights(), {.engine = engine::Kind::reference})},
            {.noise = model::NoiseScale{}},
            settings};
  }
  OodOptions options() const {
    return {.sets = {"other=" + (folder / "other.npz").string(), "uniform", "interpolation"},
            .usual = 220,
            .pixels = 100,
            .refine = 2,
            .draws = 20};
  }

  fs::path folder;
  at::Tensor train, test, other;
};

/// Neither thresholds nor statistics come from the test split or from other sets.
TEST_F(OodTest, NothingIsFittedOnTheTestSplit) {
  Observer observer;
  const Ood before = out_of_distribution(model(), options(), observer);
  test = at::randint(256, {230, 1, 8, 8}).to(at::kByte);
  const Ood other_test = out_of_distribution(model(), options(), observer);
  ASSERT_EQ(before.sets.size(), 3U);
  EXPECT_EQ(before.usual, "held out from training");
  for (std::size_t i = 0; i < ood_scores().size(); ++i) {
    EXPECT_TRUE(before.sets[0].scores[i].equal(other_test.sets[0].scores[i])) << ood_scores()[i].name;
    EXPECT_FALSE(before.test[i].equal(other_test.test[i])) << ood_scores()[i].name;
  }
  other = at::randint(256, {40, 1, 8, 8}).to(at::kByte);
  const Ood other_set = out_of_distribution(model(), options(), observer);
  for (std::size_t i = 0; i < ood_scores().size(); ++i)
    EXPECT_TRUE(other_set.test[i].equal(other_test.test[i])) << ood_scores()[i].name;
}

/// What the Gaussian is fitted on is not what its figures are usual for, also where training held nothing out.
TEST_F(OodTest, UsualAndTrainingPicturesAreDifferentOnes) {
  for (const double validation : {0.0, 0.4}) {
    const model::Model m = model(validation);
    const PictureSet usual = load_own(m, Own::held_out, 200, 5), trained = load_own(m, Own::training, 300, 5);
    EXPECT_EQ(usual.name, validation > 0 ? "held out from training" : "trained on");
    EXPECT_FALSE(usual.x.unsqueeze(1).eq(trained.x).flatten(2).all(2).any().item<bool>()) << validation;
  }
}

TEST_F(OodTest, SetsThatAreNotThereAreNamed) {
  Observer observer;
  OodOptions asked = options();
  asked.sets = {"constant", "no-such-set"};
  const Ood ood = out_of_distribution(model(), asked, observer);
  ASSERT_EQ(ood.sets.size(), 1U);
  ASSERT_EQ(ood.missing.size(), 1U);
  EXPECT_TRUE(ood.missing[0].starts_with("no-such-set: "));
  EXPECT_TRUE(ood.mean_auroc(0, false).has_value());
  EXPECT_FALSE(ood.mean_auroc(0, true).has_value());
  const at::Tensor picture = histograms(ood, 0);
  EXPECT_EQ(picture.size(2), 3);
  asked.sets = {"no-such-set"};
  EXPECT_SAYS(out_of_distribution(model(), asked, observer), "no set to compare with");
  asked.sets = {"uniform", "uniform"};
  EXPECT_SAYS(out_of_distribution(model(), asked, observer), "given twice");
}

/// What a gradient's layout says, of gradients whose layout is known.
TEST(Layout, OfFlatAndLonePixels) {
  /// E = sum of x times a fixed picture: the gradient is that picture, wherever x is.
  class Plain : public energy::Energy {
   public:
    explicit Plain(at::Tensor g) : g_(std::move(g)) {}
    at::Tensor energy(const at::Tensor& x) const override { return (x * g_).sum(at::IntArrayRef{1, 2, 3}); }

   private:
    at::Tensor g_;
  };
  const at::Tensor flat = at::ones({3, 4, 4}), lone = at::zeros({3, 4, 4});
  lone[1][2][1].fill_(5);
  const auto layout = [](const at::Tensor& g) {
    return NoiseProfile({0.5}, {std::make_shared<Plain>(g)}).of(at::zeros({1, 3, 4, 4})).layout[0];
  };
  EXPECT_TRUE(layout(flat).allclose(numbers({0, 1, 1, 1}), 1e-6, 1e-9));
  EXPECT_TRUE(layout(lone).allclose(numbers({std::log(16.0), 0, 0, 1 / 3.0}), 1e-6, 1e-9));
}

/// log sigma |dE/dx| of a profile against differences of its energies.
TEST_F(OodTest, ProfilesHoldTheGradient) {
  const model::Model m = model();
  const NoiseProfile profile(m, {}, 4);
  ASSERT_EQ(profile.sigmas().size(), 4U);
  EXPECT_NEAR(profile.sigmas().front(), m.condition_spec().noise->sigma_min, 1e-9);
  const at::Tensor x = at::rand({2, 1, 8, 8}) * 2 - 1;
  const Profile at_x = profile.of(x, 2);
  const at::Tensor unit = at_x.gradient / at_x.gradient.flatten(1).norm(2, {1}).view({2, 1, 1, 1});
  const double step = 2e-2;
  const at::Tensor slope =
      (profile.of(x + step * unit).energy - profile.of(x - step * unit).energy).select(1, 2) / (2 * step);
  EXPECT_TRUE(at_x.log_norm.select(1, 2).exp().allclose(slope * profile.sigmas()[2], 2e-2, 1e-3));
}

}  // namespace
}  // namespace igebm::scoring
