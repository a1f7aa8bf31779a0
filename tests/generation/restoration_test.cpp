#include "igebm/generation/restoration.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "igebm/io/picture.h"
#include "igebm/model/files.h"
#include "igebm/model/noise.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "tests/refusals.h"

namespace igebm::generation {
namespace {

namespace fs = std::filesystem;

TEST(Masks, SayWhatIsKnown) {
  const std::vector<std::int64_t> shape = {2, 4, 6};
  const auto known = [&](const std::string& text) { return read_mask(text, shape, 3); };
  EXPECT_TRUE(known("bottom").slice(1, 0, 2).all().item<bool>());
  EXPECT_FALSE(known("bottom").slice(1, 2).any().item<bool>());
  EXPECT_FALSE(known("top").slice(1, 0, 2).any().item<bool>());
  EXPECT_FALSE(known("left").slice(2, 0, 3).any().item<bool>());
  EXPECT_FALSE(known("right").slice(2, 3).any().item<bool>());
  const at::Tensor box = known("box:1,2,3,1");
  EXPECT_FALSE(box.slice(1, 2, 3).slice(2, 1, 4).any().item<bool>());
  EXPECT_EQ(box.sum().item<std::int64_t>(), 2 * (24 - 3));
  const at::Tensor random = read_mask("random:.3", {3, 40, 50}, 3);
  EXPECT_TRUE(at::equal(random[0], random[2]));
  EXPECT_NEAR(random.to(at::kDouble).mean().item<double>(), 0.7, 4 * std::sqrt(0.21 / 2000));
  EXPECT_FALSE(at::equal(random, read_mask("random:.3", {3, 40, 50}, 4)));
}

TEST(Masks, ArePicturesToo) {
  const fs::path path = fs::temp_directory_path() / ("igebm-mask-" + std::to_string(getpid()) + ".png");
  at::Tensor picture = at::zeros({4, 6, 1}, at::kByte);
  picture[1][2] = 255;
  io::write_png(path, picture);
  const at::Tensor known = read_mask(path.string(), {1, 4, 6}, 0);
  EXPECT_FALSE((known[0][1][2].item<bool>()));
  EXPECT_EQ(known.sum().item<std::int64_t>(), 23);
  EXPECT_SAYS(read_mask(path.string(), {1, 4, 7}, 0), "6 x 4 pixels, where the model's pictures have 7 x 4");
  fs::remove(path);
}

TEST(Masks, BadOnesAreRefused) {
  const auto refused = [](const std::string& text) { return error_of([&] { read_mask(text, {1, 4, 6}, 0); }); };
  EXPECT_NE(refused("middle").find("mask \"middle\": expected bottom, top"), std::string::npos);
  EXPECT_NE(refused("box:1,2,3").find("expected 4 numbers"), std::string::npos);
  EXPECT_NE(refused("box:1,2,3,4,").find("expected 4 numbers"), std::string::npos);
  EXPECT_NE(refused("box:4,0,3,1").find("within 6 x 4 pixels"), std::string::npos);
  EXPECT_NE(refused("box:.5,0,3,1").find("whole"), std::string::npos);
  EXPECT_NE(refused("box:nan,0,3,1").find("within"), std::string::npos);
  EXPECT_NE(refused("random:1").find("between 0 and 1"), std::string::npos);
  EXPECT_NE(refused("box:0,0,6,4").find("nothing is known"), std::string::npos);
  EXPECT_SAYS(read_mask("top", {2}, 0), "no pictures");
}

Composite composite_of(const std::string& text) {
  Vocabulary vocabulary;
  return {parse(text), vocabulary};
}

// A thin ring where x is known: two equal modes of y, +- sqrt(r^2 - x^2), and the Gaussian's y as it is without x.
TEST(Inpainting, CompletesByTheConditionalLaw) {
  const std::int64_t count = 2000;
  sampling::SamplerOptions sampler{.steps = 10, .kernel = "mala"};
  sampler.annealing.levels = 40, sampler.annealing.step_share = 0.7;
  const at::Tensor x = at::tensor({0.6F, 9.0F}).unsqueeze(0), known = at::tensor({1, 0}).to(at::kBool);
  const at::Tensor on_ring =
      inpaint(composite_of("ring(1,.05)"), x, known, {.samples = count, .seed = 1, .sampler = sampler, .batch = count});
  EXPECT_EQ(on_ring.sizes().vec(), (std::vector<std::int64_t>{1, count, 2}));
  EXPECT_TRUE(on_ring.select(2, 0).eq(0.6F).all().item<bool>());
  const at::Tensor y = on_ring.select(2, 1).flatten().to(at::kDouble);
  EXPECT_NEAR(y.gt(0).to(at::kDouble).mean().item<double>(), 0.5, 4 * std::sqrt(0.25 / count));
  EXPECT_NEAR(y.abs().mean().item<double>(), 0.8, 0.01);
  EXPECT_NEAR(y.abs().std().item<double>(), 0.05 / 0.8, 0.006);
  const at::Tensor of_gaussian = inpaint(composite_of("gaussian(2,-1,.5)"), x, known,
                                         {.samples = count, .seed = 1, .sampler = sampler, .batch = count})
                                     .select(2, 1);
  EXPECT_NEAR(of_gaussian.mean().item<double>(), -1, 4 * 0.5 / std::sqrt(count));
  EXPECT_NEAR(of_gaussian.std().item<double>(), 0.5, 4 * 0.5 / std::sqrt(2 * count));
}

/// A network of pictures 1 x 4 x 4 of three classes.
class Network : public testing::TestWithParam<bool> {
 protected:
  Network() {
    const nn::Graph graph =
        nn::mlp({.widths = {8}}, {1, 4, 4},
                {.classes = 3, .noise_features = GetParam() ? 4 : 0, .optional_condition = GetParam()});
    const nn::Network made(graph, 5);
    model::write_network_file(path_, {.graph = graph, .parameters = made.parameters(), .buffers = made.buffers()},
                              made.parameters());
  }
  ~Network() override { fs::remove(path_); }
  const fs::path path_ = fs::temp_directory_path() / ("igebm-inpaint-" + std::to_string(getpid()) + ".safetensors");
};

TEST_P(Network, KeepsWhatIsKnownAndEachChainItsOwn) {
  const auto model = model::Model::open(path_);
  sampling::SamplerOptions sampler{.steps = 2, .langevin = {.step_size = 0.1, .noise = 0.1}};
  sampler.annealing.levels = 5;
  const at::Tensor x = at::rand({3, 1, 4, 4}), known = read_mask("box:1,1,2,2", {1, 4, 4}, 0);
  RestorationOptions options{
      .samples = 4, .condition = {.classes = at::tensor({0, 1, 2}, at::kLong)}, .sampler = sampler};
  const at::Tensor whole = inpaint(model, x, known, options);
  EXPECT_EQ(whole.sizes().vec(), (std::vector<std::int64_t>{3, 4, 1, 4, 4}));
  EXPECT_TRUE(at::equal(at::where(known, whole, at::zeros({})),
                        at::where(known, x.unsqueeze(1), at::zeros({})).expand_as(whole)));
  EXPECT_TRUE(whole.isfinite().all().item<bool>());
  const at::Tensor missing = whole.masked_select(known.logical_not().expand_as(whole)).reshape({12, 4});
  for (int i = 1; i < 12; ++i) EXPECT_FALSE(at::equal(missing[0], missing[i]));  // one noise each
  // What lies under the mask is of no account, nor how chains are batched.
  options.batch = 5;
  EXPECT_TRUE(at::equal(inpaint(model, at::where(known, x, at::full({}, 7.0F)), known, options), whole));
}
INSTANTIATE_TEST_SUITE_P(WithNoiseLevelsAndWithout, Network, testing::Bool());

TEST(Operators, AreTheirMatricesAndFallApartIntoNumbers) {
  const at::Tensor x = at::rand({2, 3, 6, 4}), y = at::rand({2, 3, 6, 4});
  const auto mean = LinearOperator::downsample(2, 6, 4);
  EXPECT_TRUE(at::allclose(mean.apply(x), at::avg_pool2d(x, {2, 2}), 1e-5, 1e-6));
  const auto blur = LinearOperator::blur(0.8, 6, 4);
  EXPECT_TRUE(at::allclose(blur.apply(at::ones({1, 1, 6, 4})), at::ones({1, 1, 6, 4}), 1e-5, 1e-6));
  for (const LinearOperator& a : {mean, blur}) {
    const at::Tensor ax = a.apply(x), by = at::rand(ax.sizes());
    EXPECT_NEAR((ax * by).sum().item<double>(), (x * a.adjoint(by)).sum().item<double>(), 1e-4);
    const at::Tensor z = a.to_coordinates(x);
    EXPECT_TRUE(at::allclose(a.from_coordinates(z), x, 1e-4, 1e-5));
    EXPECT_TRUE(at::allclose(a.observed(ax), at::where(a.singular() > 0, z, 0), 1e-2, 1e-4));
  }
  EXPECT_EQ(mean.singular().gt(0).sum().item<std::int64_t>(), 6);
  EXPECT_SAYS(LinearOperator::downsample(3, 6, 4), "a factor from 2 that divides 6 and 4");
  EXPECT_SAYS(LinearOperator::blur(0, 6, 4), "above 0");
}

/// A model of pictures 1 x 4 x 4 whose energy is exactly that of N(0, s^2 I), s = 0.5: its network's weights are 0.
class Gaussian : public testing::Test {
 protected:
  /// Its range, beyond which answers are clamped.
  model::Model model(const std::string& low, const std::string& high) const {
    const nn::Graph graph = nn::mlp({.widths = {8}}, {1, 4, 4}, {.noise_features = 4});
    const nn::Network made(graph, 5);
    model::NetworkFile file{.graph = graph, .parameters = made.parameters(), .buffers = made.buffers()};
    for (auto& [_, t] : file.parameters) t = at::zeros_like(t);
    file.metadata = {
        {"low", low},
        {"high", high},
        {"noise",
         model::to_json(model::NoiseScale{
             .sigma_min = 0.02, .sigma_max = 20, .sigma_data = 0.5, .form = model::EnergyForm::preconditioned})}};
    model::write_network_file(path_, file, file.parameters);
    return model::Model::open(path_);
  }
  ~Gaussian() override { fs::remove(path_); }
  /// Mean and variance of answers to one y, of each coordinate, against those of N(0, s^2) given y of deviation d. The
  /// error of a variance is 2.6 %. It comes out 20 % too small where steps between levels, too, have y's likelihood.
  static void expect_law(const at::Tensor& answers, const at::Tensor& y, const at::Tensor& d) {
    const at::Tensor share = 0.25 / (0.25 + d.square()), variance = 0.25 - 0.25 * share;
    EXPECT_LT((answers.mean(0) - share * y).abs().max().item<double>(), 0.04) << answers.mean(0) << share * y;
    EXPECT_LT((answers.var(0) / variance - 1).abs().max().item<double>(), 0.1) << answers.var(0) << variance;
  }
  const fs::path path_ = fs::temp_directory_path() / ("igebm-restore-" + std::to_string(getpid()) + ".safetensors");
  static constexpr std::int64_t count = 3000;
  static RestorationOptions options() {
    sampling::SamplerOptions sampler{.steps = 10};
    sampler.annealing.levels = 60, sampler.annealing.step_share = 0.1;
    return {.samples = count, .antithetic = false, .seed = 7, .sampler = sampler, .batch = count};
  }
};

TEST_F(Gaussian, NoiseIsTakenOutByTheConditionalLaw) {
  const model::Model wide = model("-9", "9");
  const at::Tensor y = at::linspace(-1, 1, 16).view({1, 1, 4, 4});
  const at::Tensor answers = restore(wide, y, 0.4, nullptr, options())[0];
  expect_law(answers, y[0], at::full({1, 4, 4}, 0.4));
}

// Of a Gaussian's energy a chain is linear in its noise, which leaves pairs' means.
TEST_F(Gaussian, AnswersComeInAntitheticPairs) {
  const model::Model wide = model("-9", "9");
  const at::Tensor y = at::linspace(-1, 1, 16).view({1, 1, 4, 4});
  RestorationOptions some = options();
  some.samples = 5, some.batch = 3, some.antithetic = true;
  const auto far = [](const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); };
  const at::Tensor paired = restore(wide, y, 0.4, nullptr, some)[0], mean = (paired[0] + paired[1]) / 2;
  EXPECT_LT(far((paired[2] + paired[3]) / 2, mean), 1e-3);
  EXPECT_GT(far(paired[0], paired[2]), 0.1);
  EXPECT_GT(far(paired[4], mean), 0.1);
  some.antithetic = false;
  const at::Tensor alone = restore(wide, y, 0.4, nullptr, some)[0];
  EXPECT_TRUE(at::equal(alone[0], paired[0]));
  EXPECT_GT(far((alone[0] + alone[1]) / 2, mean), 0.1);
}

// Coordinates of four deviations, d / s, and those of which y says nothing.
TEST_F(Gaussian, ChangesAreUndoneByTheConditionalLaw) {
  const model::Model wide = model("-9", "9");
  for (const auto& change : {LinearOperator::downsample(2, 4, 4), LinearOperator::blur(0.7, 4, 4)}) {
    const at::Tensor y = change.apply(at::linspace(-0.9, 0.9, 16).view({1, 1, 4, 4}));
    const at::Tensor answers = restore(wide, y, 0.1, &change, options())[0];
    expect_law(change.to_coordinates(answers), change.observed(y)[0],
               (0.1 / change.singular()).clamp_max(1e3).unsqueeze(0));
  }
}

TEST_F(Gaussian, SaltGoesAndTheRestStays) {
  const model::Model narrow = model("-1", "1");
  at::Tensor y = at::full({1, 1, 4, 4}, 0.1F);
  y[0][0][1][2] = 1, y[0][0][3][0] = -1;
  const at::Tensor answers = remove_salt(narrow, y, 0.3, options())[0];
  EXPECT_TRUE(answers.select(2, 0).eq(0.1F).all().item<bool>());
  // Kept with (1 - p) times the Gaussian's density there beside p / 2: sometimes, not always.
  const double kept = answers.select(2, 1).select(2, 2).gt(0.98).to(at::kDouble).mean().item<double>();
  EXPECT_GT(kept, 0.001);
  EXPECT_LT(kept, 0.7);
  EXPECT_SAYS(remove_salt(narrow, y, 1, options()), "a probability between 0 and 1");
  EXPECT_SAYS(restore(narrow, y, 0, nullptr, options()), "a noise above 0");
  EXPECT_SAYS(restore(narrow, at::zeros({1, 1, 3, 4}), 0.1, nullptr, options()), "records of shape (1, 4, 4)");
}

TEST(Inpainting, WhatDoesNotFitIsRefused) {
  const Composite ring = composite_of("ring(1,.1)");
  const at::Tensor known = at::tensor({1, 0}).to(at::kBool);
  EXPECT_SAYS(inpaint(ring, at::zeros({1, 3}), known), "expected records of shape (2), at least one, got (3)");
  EXPECT_SAYS(inpaint(ring, at::zeros({1, 2}), known, {.sampler = sampling::SamplerOptions{.steps = 0}}),
              "at least one step at each noise level");
  EXPECT_SAYS(inpaint(ring, at::zeros({1, 2}), known, {.samples = 0}), "at least 1");
}

}  // namespace
}  // namespace igebm::generation
