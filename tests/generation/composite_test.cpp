#include "igebm/generation/composite.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "igebm/energy/analytic.h"
#include "igebm/energy/compose.h"
#include "igebm/generation/composing.h"
#include "igebm/generation/plane.h"
#include "igebm/model/files.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/conditions.h"
#include "igebm/nn/network.h"
#include "igebm/sampling/registry.h"
#include "tests/refusals.h"

namespace igebm::generation {
namespace {

namespace fs = std::filesystem;

Composite compose(const std::string& text, const CompositeOptions& options = {}) {
  Vocabulary vocabulary;
  return {parse(text), vocabulary, options};
}

const at::Tensor& points() {
  static const at::Tensor x = at::tensor({0.3, -0.2, 1.4, 0.8, -2.0, 1.0}).reshape({3, 2}).to(at::kFloat);
  return x;
}

/// Is the composition's energy, and its gradient's, this one?
void expect_energy(const Composite& c, double sigma, const at::Tensor& energy) {
  EXPECT_TRUE(at::allclose(c.energy(sigma)->energy(points()), energy, 1e-5, 1e-5))
      << c.energy(sigma)->energy(points()) << energy;
}

TEST(Composites, LawsAreTheirFormulas) {
  const double sigma = 0.7;
  const at::Tensor a = blurred_gaussian(1, 0, 0.5, sigma)->energy(points()),
                   b = blurred_ring(1, 0.2, sigma)->energy(points()),
                   c = blurred_box(0, 0, 1, 2, sigma)->energy(points());
  const std::string A = "gaussian(1,0,.5)", B = "ring(1,.2)", C = "box(0,0,1,2)";
  expect_energy(compose(A), sigma, a);
  expect_energy(compose(A + "&" + B), sigma, a + b);
  expect_energy(compose("2*" + A + "& .5*" + B), sigma, 2 * a + 0.5 * b);
  expect_energy(compose("3*" + A), sigma, 3 * a);
  expect_energy(compose(A + "& !" + B, {.negation = 0.3}), sigma, a - 0.3 * b);
  expect_energy(compose("2*" + A + "& !2*" + B, {.negation = 0.3}), sigma, 2 * a - 0.6 * b);
  expect_energy(compose(A + "|" + B), sigma, -at::logsumexp(at::stack({-a, -b}), 0) + std::log(2));
  expect_energy(compose("3*" + A + "|" + B), sigma, -at::log(0.75 * at::exp(-a) + 0.25 * at::exp(-b)));
  expect_energy(compose("(" + A + "|" + B + ") &" + C), sigma, -at::log(0.5 * at::exp(-a) + 0.5 * at::exp(-b)) + c);
  const auto without = [](const at::Tensor& kept, const at::Tensor& others) {
    return 2 * kept + at::log(at::exp(-kept) + 20 * others) - std::log(61);
  };
  expect_energy(compose(A + "\\" + B + "\\ 2*" + C), sigma, without(a, at::exp(-b) + 2 * at::exp(-c)));
  // Each "and" has the weight 1 beside what its parts share.
  expect_energy(compose(A + "&" + B, {.given = C}), sigma, a + b - c);
  expect_energy(compose(A + "& !" + B, {.negation = 0.5, .given = C}), sigma, c + (a - c) - 0.5 * (b - c));
}

TEST(Composites, WeightsAddUp) {
  const std::string A = "gaussian(1,0,.5)", B = "ring(1,.2)";
  EXPECT_DOUBLE_EQ(compose(A).range()->weight, 1);
  EXPECT_DOUBLE_EQ(compose(A + "& 2*" + B).range()->weight, 3);
  EXPECT_DOUBLE_EQ(compose(A + "& !" + B).range()->weight, 0.5);
  EXPECT_DOUBLE_EQ(compose(A + "|" + B).range()->weight, 1);
  EXPECT_DOUBLE_EQ(compose(A + "| (" + A + "&" + B + ")").range()->weight, 2);
  EXPECT_DOUBLE_EQ(compose("2*(" + A + "|" + B + ")").range()->weight, 2);
  EXPECT_DOUBLE_EQ(compose(A + "\\" + B).range()->weight, 1);
  EXPECT_DOUBLE_EQ(compose(A + "&" + B, {.given = A}).range()->weight, 1);
}

TEST(Composites, WhatDoesNotFitIsRefusedByColumn) {
  const auto refused = [](const std::string& text, const CompositeOptions& options = {}) {
    return error_of([&] { compose(text, options); });
  };
  EXPECT_EQ(refused("!ring(1,.2)"), "column 1: \"not\" needs something beside it to be taken from, as in a & !b");
  EXPECT_NE(refused("ring(1,.2) | !ring(2,.2)").find("column 14: \"not\" needs something beside it"),
            std::string::npos);
  EXPECT_EQ(refused("2*ring(1,.2) \\ ring(2,.2)"),
            "column 1: what is kept has no weight; expected it around all, as in 2*(a \\ b)");
  EXPECT_NE(refused("ring(1,.2) \\ !ring(2,.2)").find("column 14: \"not\" needs"), std::string::npos);
  EXPECT_NE(refused("1e300*ring(1,.2) | 1e-300*ring(2,.2)").find("column 20: this weight is nothing"),
            std::string::npos);
  EXPECT_NE(refused("ring(1,.2)", {.given = "ring(2,.2)"}).find("given: expected an \"and\""), std::string::npos);
  EXPECT_NE(refused("ring(1e9,.2)").find("within a million"), std::string::npos);
  EXPECT_NE(refused("ring(1,.2) & 2*!ring(2,.2)").find("column 1: the weights here add up to 0:"), std::string::npos);
  EXPECT_EQ(refused("ring(1,.2) & box(1,2)"),
            "column 14: box(1,2): expected 4 numbers, left, lower, right, upper, got 2");
  EXPECT_EQ(refused("ring(1,x)"), "column 6: ring(1,x): expected a number, got \"x\"");
  EXPECT_EQ(refused("ring(0,1)"), "column 6: ring(0,1): ring: expected a radius and a width above 0");
  EXPECT_NE(refused("rings(1,2)").find("did you mean \"ring\"?"), std::string::npos);
  EXPECT_NE(refused("ring(1,.2)", {.given = "a & b"}).find("given: expected one term alone"), std::string::npos);
  EXPECT_NE(refused("ring(1,.2)", {.negation = 0}).find("negation: expected a number above 0"), std::string::npos);
}

TEST(Vocabularies, NamesAreNamesAndOfOneThing) {
  Vocabulary v;
  v.define("a-1.b", "x");
  EXPECT_EQ(error_of([&] { v.define("a-1.b", "y"); }), "a-1.b is defined twice");
  for (const char* name : {"", "1a", "a b", "a(1)", "a&b", "!a"})
    EXPECT_NE(error_of([&] { v.define(name, "x"); }).find("expected a name of letters"), std::string::npos) << name;
}

// A square divided into 12 x 12 cells, their probabilities by quadrature, 6,000 samples: chi^2 beyond its value at p =
// 1e-6 fails.
void expect_law(const Composite& c, double bound, std::int64_t moves = 25) {
  constexpr std::int64_t side = 12, fine = 20;
  const at::Tensor axis = (at::arange(side * fine, at::kDouble) + 0.5) / (side * fine) * 2 * bound - bound;
  const at::Tensor grid = at::stack({axis.repeat_interleave(side * fine), axis.repeat({side * fine})}, 1);
  at::Tensor p = at::exp(-c.energy(0.01)->energy(grid)).reshape({side, fine, side, fine}).sum({1, 3}).flatten();
  p = p / p.sum();
  sampling::SamplerOptions sampler{.steps = moves, .kernel = "mala"};
  sampler.annealing = {.levels = 25, .step_share = 0.7, .predictor = false, .denoise = false};
  const auto count = std::int64_t{6000};
  const at::Tensor x =
      c.sample({.count = count, .seed = 4, .sampler = sampler, .batch = count, .energies = false}).x.to(at::kDouble);
  const at::Tensor cell = ((x + bound) / (2 * bound) * side).floor().clamp(0, side - 1).to(at::kLong);
  const at::Tensor seen = at::bincount(cell.select(1, 0) * side + cell.select(1, 1), {}, side * side).to(at::kDouble);
  // Cells that expect fewer than 20 count as one.
  const at::Tensor many = p * count >= 20;
  const auto joined = [&](const at::Tensor& t) {
    return at::cat({t.masked_select(many), t.masked_select(many.logical_not()).sum().unsqueeze(0)});
  };
  const at::Tensor expected = joined(p) * count;
  const double cells = static_cast<double>(expected.size(0));
  const double chi = ((joined(seen) - expected).square() / expected.clamp_min(5)).sum().item<double>();
  // Wilson and Hilferty's approximation; 4.75 is the normal's deviate of 1e-6.
  const double bound_of_chi = cells * std::pow(1 - 2 / (9 * cells) + 4.75 * std::sqrt(2 / (9 * cells)), 3);
  EXPECT_LT(chi, bound_of_chi) << cells << " cells, bound " << bound << ", " << moves;
}

TEST(Composites, SamplesHaveTheLaw) {
  expect_law(compose("ring(2,.2) & gaussian(1,0,1)"), 3.2);
  expect_law(compose("0.3*gaussian(-1,-1,.3) | 0.7*ring(2,.2)"), 3.2);
  // Steps that fit one part are far too great for the other.
  expect_law(compose("ring(2.5,.4) | gaussian(0,0,.15)"), 3.8);
  expect_law(compose("ring(2,.2) & !gaussian(2,0,1.5)"), 3.2);
  expect_law(compose("box(-2,-2,2,2) \\ box(-1,-1,1,1)"), 2.4, 40);
  expect_law(compose("(box(-3,-3,-1,3) | box(1,-3,3,3)) & gaussian(0,0,2)"), 4, 60);
}

// Parts of other weights and products as parts, whose Z is found: W = 1 and W = 4 and 2.
TEST(Composites, SharesOfAnOrHold) {
  const auto left = [](const std::string& text, std::int64_t count = 4000, std::int64_t moves = 20) {
    Composite c = compose(text);
    Observer silent;
    c.normalise(1, silent);
    sampling::SamplerOptions sampler{.steps = moves, .kernel = "mala"};
    sampler.annealing.step_share = 0.7;
    return c.sample({.count = count, .seed = 2, .sampler = sampler, .batch = count, .energies = false})
        .x.select(1, 0)
        .lt(0)
        .to(at::kDouble)
        .mean()
        .item<double>();
  };
  const std::string g = "gaussian(2,0,.4)";
  // Few moves leave what the steps between levels do: at one pace for both parts .472.
  EXPECT_NEAR(left("gaussian(-2,0,.3) | (" + g + "&" + g + "&" + g + "&" + g + ")", 20000, 4), 0.5, 0.02);
  // 4 standard errors, and what normalisers leave open.
  EXPECT_NEAR(left("gaussian(-2,0,.3) | (" + g + "&" + g + "&" + g + "&" + g + ")"), 0.5, 0.032 + 0.03);
  EXPECT_NEAR(left("0.8*(gaussian(-3,0,.6) & gaussian(-1,0,.6)) | 0.2*gaussian(2,0,.4)"), 0.8, 0.025 + 0.03);
}

// Carried by the gradient alone, without a kernel's moves, chains come to the modes in other shares than the product's:
// .49 to the left of it instead of .075.
TEST(Composites, ParticlesCorrectWhatTheGradientAloneGetsWrong) {
  const Composite c = compose("0.5*(gaussian(-2,0,.2) | gaussian(2,0,1)) & 0.5*(gaussian(-2,1,.2) | gaussian(2,0,1))");
  const at::Tensor axis = at::linspace(-6, 6, 601, at::kDouble);
  const at::Tensor grid = at::stack({axis.repeat_interleave(601), axis.repeat({601})}, 1);
  const at::Tensor p = at::exp(-c.energy(0.01)->energy(grid));
  const double right = (p.masked_select(grid.select(1, 0).lt(0)).sum() / p.sum()).item<double>();
  sampling::SamplerOptions sampler{.steps = 0};
  sampler.annealing = {.levels = 80, .denoise = false};
  const auto left = [&](std::int64_t particles) {
    const model::SampleRequest request{.count = 1000, .seed = 3, .sampler = sampler, .batch = 4000, .energies = false};
    return c.sample(request, particles).x.select(1, 0).lt(0).to(at::kDouble).mean().item<double>();
  };
  EXPECT_NEAR(left(16), right, 4 * std::sqrt(right * (1 - right) / 1000) + 0.01);
  EXPECT_GT(left(1), right + 0.2);
  EXPECT_NE(error_of([&] { compose("ring(1,.2) & ring(2,.2)").sample({.count = 2}, 4); }).find("add up to 1"),
            std::string::npos);
  EXPECT_NE(error_of([&] { compose("ring(1,.2) | ring(2,.2)").sample({.count = 2}, 4); }).find("expected an \"and\""),
            std::string::npos);
}

// By chains that each go alone .918: modes' shares change from level to level, and few moves lead from one to another.
TEST(Composites, APopulationHasTheSharesOfModes) {
  const Composite c = compose("ring(2,.1) \\ box(0,-3,3,3)");
  const at::Tensor axis = at::linspace(-3, 3, 1201, at::kDouble);
  const at::Tensor grid = at::stack({axis.repeat_interleave(1201), axis.repeat({1201})}, 1);
  const at::Tensor p = at::exp(-c.energy(0.01)->energy(grid));
  const double right = (p.masked_select(grid.select(1, 0).lt(0)).sum() / p.sum()).item<double>();
  model::SampleRequest request{.count = 2000, .seed = 3, .sampler = sampler_of(with_defaults({}, c), c), .batch = 640};
  const at::Tensor x = c.sample(request).x;
  const double left = x.select(1, 0).lt(0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(left, right, 4.5 * std::sqrt(right * (1 - right) / 2000));
  // However many there are, and are moved at once, and no more are seen.
  request.count = 70, request.batch = 1100;
  std::int64_t most = 0, least = 1000;
  request.on_step = [&](sampling::Position, const sampling::StepInfo&, const sampling::Chains& chains) {
    most = std::max(most, chains.size()), least = std::min(least, chains.size());
  };
  EXPECT_TRUE(at::equal(c.sample(request).x, x.slice(0, 0, 70)));
  EXPECT_EQ(most, 70);
  EXPECT_EQ(least, 70);
}

/// A folder of runs that are gone at the end.
class Models : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  /// A small network of pictures 1 x 4 x 4 in [low, high], of three classes or one number, written as a file.
  std::string network(const std::string& name, double low, double high, std::int64_t classes, std::int64_t numbers,
                      bool noise = true) {
    nn::MlpOptions options{.widths = {8}};
    const nn::Graph graph = nn::mlp(
        options, {1, 4, 4},
        {.classes = classes, .conditions = numbers, .noise_features = noise ? 4 : 0, .optional_condition = true});
    const nn::Network made(graph, 5);
    model::NetworkFile file{.graph = graph, .parameters = made.parameters(), .buffers = made.buffers()};
    at::manual_seed(5);
    for (auto& [_, t] : file.parameters) {  // what conditions do begins with nothing
      if (t.eq(0).all().item<bool>()) t = 0.3 * at::randn_like(t);
    }
    file.metadata = {{"low", std::to_string(low)}, {"high", std::to_string(high)}};
    const fs::path path = folder_ / (name + ".safetensors");
    model::write_network_file(path, file, file.parameters);
    return path.string();
  }

  const fs::path folder_ = fs::temp_directory_path() / ("igebm-generation-" + std::to_string(getpid()));
};

TEST_F(Models, RangesAreBroughtToTheFirstOnes) {
  Vocabulary v;
  v.define("a", network("a", -1, 1, 3, 0));
  v.define("b", network("b", 0, 1, 3, 0));
  const Composite both(parse("a(1) & b(2)"), v);
  EXPECT_EQ(both.space().low, -1);
  const auto a = model::Model::open(folder_ / "a.safetensors"), b = model::Model::open(folder_ / "b.safetensors");
  const at::Tensor x = at::rand({5, 1, 4, 4}) * 2 - 1;
  const at::Tensor theirs = b.energy(nn::Condition::of_class(2), 0.3 / 2)->energy((x + 1) / 2);
  // 16 elements, each half as wide in b's range.
  EXPECT_TRUE(at::allclose(both.energy(0.3)->energy(x),
                           a.energy(nn::Condition::of_class(1), 0.3)->energy(x) + theirs + 16 * std::log(2.0), 1e-4,
                           1e-4));
  EXPECT_NEAR(both.range()->sigma_max, 50, 1e-9);  // the least of 50 and 2 * 50
  EXPECT_NEAR(both.range()->sigma_min, 0.02, 1e-9);
}

// What tells a class goes, what makes a picture stays: by E_none, once for each class that is taken away.
TEST_F(Models, NotOfAClassKeepsWhatAllClassesShare) {
  Vocabulary v;
  v.define("a", network("a", -1, 1, 3, 0));
  const auto model = model::Model::open(folder_ / "a.safetensors");
  const at::Tensor x = at::rand({5, 1, 4, 4}) * 2 - 1;
  const auto of = [&](std::int64_t label) { return model.energy(nn::Condition::of_class(label), 0.4)->energy(x); };
  const auto expect = [&](const std::string& text, const at::Tensor& energy, double weight,
                          const CompositeOptions& o = {}) {
    const Composite c(parse(text), v, o);
    EXPECT_TRUE(at::allclose(c.energy(0.4)->energy(x), energy, 1e-4, 1e-3)) << text;
    EXPECT_NEAR(c.range()->weight, weight, 1e-9) << text;
  };
  const at::Tensor none = of(nn::no_class);
  expect("a(0) & !a(1)", of(0) - 0.5 * (of(1) - none), 1);
  expect("a(0) & !2*a(1)", of(0) - (of(1) - none), 1);
  expect("a(0) & !(a(1) & a(2))", of(0) - 0.5 * (of(1) + of(2) - 2 * none), 1);
  expect("a & !a(2)", none - 0.5 * (of(2) - none), 1);
  expect("a(0) & !a(none)", of(0) - 0.5 * none, 0.5);
  expect("a(0) & !a", of(0) - 0.5 * none, 0.5);
  expect("a(0) & !a(1)", none + (of(0) - none) - 0.5 * (of(1) - none), 1, {.given = "a"});
  EXPECT_NE(error_of([&] { Composite(parse("a(0) & !2*a"), v); }).find("add up to 0"), std::string::npos);
}

TEST_F(Models, GivenOwnIsWhatEachTellsBesideTheirMean) {
  Vocabulary v;
  v.define("a", network("a", -1, 1, 3, 0));
  v.define("b", network("b", -1, 1, 0, 2));
  const auto a = model::Model::open(folder_ / "a.safetensors"), b = model::Model::open(folder_ / "b.safetensors");
  const at::Tensor x = at::rand({5, 1, 4, 4}) * 2 - 1;
  const auto of_a = [&](std::int64_t label) { return a.energy(nn::Condition::of_class(label), 0.4)->energy(x); };
  const at::Tensor b_told = b.energy({.values = at::tensor({0.3F, 0.4F}).view({1, 2})}, 0.4)->energy(x),
                   b_none = b.energy(nn::Condition::of_none(2), 0.4)->energy(x), a_none = of_a(nn::no_class);
  EXPECT_FALSE(at::allclose(b_told, b_none, 1e-3, 1e-3));
  const auto expect = [&](const std::string& text, const at::Tensor& energy, const std::string& base = "") {
    const Composite c(parse(text), v, {.given = "own", .base = base});
    EXPECT_TRUE(at::allclose(c.energy(0.4)->energy(x), energy, 1e-4, 1e-3)) << text;
    EXPECT_NEAR(c.range()->weight, 1, 1e-6) << text;
  };
  const at::Tensor mean = (a_none + b_none) / 2;
  expect("a(0) & b(.3,.4)", mean + (of_a(0) - a_none) + (b_told - b_none));
  expect("a(0) & b", a_none / 2 + b_none / 2 + (of_a(0) - a_none));
  expect("a(0) & a(1)", of_a(0) + of_a(1) - a_none);
  expect("2*a(0) & b(.3,.4)", (2 * a_none + b_none) / 3 + 2 * (of_a(0) - a_none) + (b_told - b_none));
  expect("a(0) & !a(1) & b(.3,.4)", mean + (of_a(0) - a_none) - 0.5 * (of_a(1) - a_none) + (b_told - b_none));
  expect("a(0) & b(.3,.4)", b_none + (of_a(0) - a_none) + (b_told - b_none), "b");
  expect("2*a(0) & b(.3,.4)", b_none + 2 * (of_a(0) - a_none) + (b_told - b_none), "b");
  EXPECT_NE(
      error_of([&] { Composite(parse("a(0) & b(.3,.4)"), v, {.given = "a", .base = "b"}); }).find("base: expected"),
      std::string::npos);
  EXPECT_NE(error_of([&] {
              Composite(parse("a(0) & b(.3,.4)"), v, {.given = "own", .base = "2*b"});
            }).find("base: expected one term alone"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              Composite(parse("ring(1,.2) & ring(2,.2)"), v, {.given = "own"});
            }).find("given: own: column 1: ring(1,.2) knows none in particular"),
            std::string::npos);
}

TEST_F(Models, OrNeedsNormalisersAndFindsThem) {
  Vocabulary v;
  v.define("a", network("a", -1, 1, 3, 0));
  Composite either(parse("a(0) | a(1)"), v);
  EXPECT_TRUE(either.needs_normalisers());
  EXPECT_NE(error_of([&] { either.energy(0.3); }).find("normalise first"), std::string::npos);
  Observer silent;
  either.normalise(1, silent);
  EXPECT_FALSE(either.needs_normalisers());
  EXPECT_TRUE(either.energy(0.3)->energy(at::zeros({2, 1, 4, 4})).isfinite().all().item<bool>());
}

TEST_F(Models, WithAndWithoutNoiseLevelsDoNotMix) {
  Vocabulary v;
  v.define("a", network("a", -1, 1, 3, 0));
  v.define("b", network("b", -1, 1, 3, 0, false));
  EXPECT_EQ(error_of([&] { Composite(parse("a(1) & b(2)"), v); }),
            "column 8: b(2) takes none, a(1) takes noise levels: they cannot be sampled together");
  EXPECT_EQ(error_of([&] { Composite(parse("a(1) & ring(1,2)"), v); }),
            "column 8: ring(1,2) is of shape (2), a(1) of (1, 4, 4)");
  EXPECT_NE(error_of([&] { Composite(parse("a(7)"), v); }).find("column 3: a(7): \"7\": expected 0 to 2"),
            std::string::npos);
  EXPECT_NE(error_of([&] { Composite(parse("b(0) | b(1)"), v); }).find("without noise levels"), std::string::npos);
  EXPECT_NE(error_of([&] { Composite(parse("a(0) | (a(1) & a(2))"), v); }).find("column 8: of pictures"),
            std::string::npos);
}

TEST(Conditions, ArgumentsAreClassesNumbersOrAngles) {
  const auto row = [](const model::ConditionSpec& spec, const std::vector<std::string>& arguments) {
    const at::Tensor v = condition_of(spec, arguments).values.contiguous();
    return std::vector<float>(v.const_data_ptr<float>(), v.const_data_ptr<float>() + v.numel());
  };
  const model::ConditionSpec place{.values = 2, .numbers = {.names = {"position.x", "position.y"}}},
      turn{.values = 2, .numbers = {.names = {"rotation.cos", "rotation.sin"}}},
      shape{.values = 3, .numbers = {.names = {"shape.square", "shape.ellipse", "shape.heart"}}}, none{};
  EXPECT_EQ(row(place, {".25", "-1"}), (std::vector<float>{0.25F, -1}));
  EXPECT_NEAR(row(turn, {"60"})[0], 0.5, 1e-6);
  EXPECT_NEAR(row(turn, {"60"})[1], std::sqrt(0.75), 1e-6);
  EXPECT_EQ(row(turn, {"1", "0"}), (std::vector<float>{1, 0}));
  EXPECT_NE(error_of([&] { condition_of(place, {"x"}); }).find("expected 2 numbers"), std::string::npos);
  EXPECT_EQ(row(shape, {"ellipse"}), (std::vector<float>{0, 1, 0}));
  EXPECT_NE(error_of([&] { condition_of(shape, {"elipse"}); }).find("did you mean \"ellipse\"?"), std::string::npos);
  EXPECT_NE(error_of([&] { condition_of(place, {"1"}); }).find("expected 2 numbers, position.x, position.y, got 1"),
            std::string::npos);
  EXPECT_NE(error_of([&] { condition_of(none, {"1"}); }).find("expected no arguments"), std::string::npos);
  const model::ConditionSpec classes{.classes = 2}, optional{.classes = 2, .optional_condition = true};
  EXPECT_EQ(condition_of(classes, {"1"}).classes.item<std::int64_t>(), 1);
  EXPECT_EQ(condition_of(optional, {}).classes.item<std::int64_t>(), nn::no_class);
  EXPECT_NE(error_of([&] { condition_of(classes, {}); }).find("expected one class"), std::string::npos);
}

}  // namespace
}  // namespace igebm::generation
