#include "igebm/classification/attacks.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "igebm/engine/engine.h"
#include "igebm/io/npz.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "tests/refusals.h"

namespace igebm::classification {
namespace {

namespace fs = std::filesystem;

/// Two layers in double.
struct Small : Logits {
  at::Tensor first, first_bias, second, second_bias;

  explicit Small(double size, std::int64_t elements = 36, std::int64_t classes = 5) {
    at::manual_seed(3);
    first = size * at::randn({24, elements}, at::kDouble), first_bias = at::randn({24}, at::kDouble);
    second = size * at::randn({classes, 24}, at::kDouble), second_bias = at::randn({classes}, at::kDouble);
  }
  at::Tensor of(const at::Tensor& x) const override {
    return at::linear(at::silu(at::linear(x.flatten(1), first, first_bias)), second, second_bias);
  }
  Pulled pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& /*asked*/) const override {
    const at::AutoGradMode enable(true);
    const at::Tensor input = x.detach().requires_grad_(), z = of(input);
    return {z.detach(), torch::autograd::grad({(z * cross_entropy_slopes(z.detach(), labels)).sum()}, {input})[0]};
  }
};

struct Pictures {
  at::Tensor x, labels, which;
};

/// Pictures with the labels that the network gives them, so that attacks have work to do.
Pictures told_right(const Logits& logits, std::int64_t count = 40) {
  at::manual_seed(5);
  const at::Tensor x = at::rand({count, 1, 6, 6}, at::kDouble);
  return {x, logits.of(x).argmax(1), at::arange(count)};
}

at::Tensor length(const at::Tensor& x, Norm norm) {
  return norm == Norm::linf ? x.flatten(1).abs().amax(1) : x.flatten(1).norm(2, 1);
}

class InBothNorms : public testing::TestWithParam<Norm> {};
INSTANTIATE_TEST_SUITE_P(Attacks, InBothNorms, testing::Values(Norm::linf, Norm::l2),
                         [](const auto& norm) { return std::string(name_of(norm.param)); });

double usual_eps(Norm norm) { return norm == Norm::linf ? 0.08 : 0.4; }

TEST_P(InBothNorms, TenStepsEqualPyTorchs) {
  const std::string python = IGEBM_SOURCE_DIR "/.venv/bin/python";
  if (std::system((python + " -c 'import numpy, torch' 2>/dev/null").c_str()) != 0) GTEST_SKIP() << "no torch";
  const fs::path folder = fs::temp_directory_path() / fmt::format("igebm-attacks-{}", getpid());
  fs::create_directories(folder);
  const Small logits(1);
  const Pictures c = told_right(logits);
  AttackOptions o{
      .norm = GetParam(), .eps = usual_eps(GetParam()), .steps = 10, .step_size = 0.3 * usual_eps(GetParam())};
  const at::Tensor start = project(c.x + 0.5 * o.eps * (at::rand_like(c.x) - 0.5), c.x, o.norm, o.eps);
  io::write_npz(folder / "attacks.npz", {{"x", c.x},
                                         {"labels", c.labels},
                                         {"start", start},
                                         {"eps", at::full({}, o.eps, at::kDouble)},
                                         {"size", at::full({}, o.step_size, at::kDouble)},
                                         {"steps", at::full({}, o.steps, at::kLong)},
                                         {"first", logits.first},
                                         {"first_bias", logits.first_bias},
                                         {"second", logits.second},
                                         {"second_bias", logits.second_bias}});
  ASSERT_EQ(std::system((python + " " IGEBM_SOURCE_DIR "/tests/classification/attacks.py " + folder.string() + " " +
                         name_of(o.norm))
                            .c_str()),
            0);
  const io::NpzFile file(folder / "expected.npz");
  const at::Tensor pgd = file.open("pgd").read(), apgd = file.open("apgd").read();
  const auto compare = [](const at::Tensor& expected) {
    return [&expected](std::int64_t step, const at::Tensor& x) {
      // PyTorch's adds 1e-12 to lengths.
      EXPECT_LT((x - expected[step]).abs().max().item<double>(), 1e-8) << "step " << step;
    };
  };
  pgd_from(start, logits, c.x, c.labels, o, /*stop=*/false, compare(pgd));
  apgd_from(start, logits, c.x, c.labels, o, /*stop=*/false, compare(apgd));
  EXPECT_GT(file.open("halved").read().item<std::int64_t>(), 5) << "the test is to see steps that are halved";
  fs::remove_all(folder);
}

TEST_P(InBothNorms, TheBallNeverMoves) {
  const Small logits(1);
  const Pictures c = told_right(logits);
  const AttackOptions o{
      .norm = GetParam(), .eps = usual_eps(GetParam()), .steps = 30, .step_size = 0.5 * usual_eps(GetParam())};
  double farthest = 0;
  const auto within = [&](std::int64_t step, const at::Tensor& x) {
    const double far = length(x - c.x, o.norm).max().item<double>();
    farthest = std::max(farthest, far);
    EXPECT_LE(far, o.eps * (1 + 1e-9)) << "step " << step;
    EXPECT_GE(x.min().item<double>(), 0);
    EXPECT_LE(x.max().item<double>(), 1);
  };
  pgd_from(c.x, logits, c.x, c.labels, o, /*stop=*/false, within);
  apgd_from(c.x, logits, c.x, c.labels, o, /*stop=*/false, within);
  EXPECT_GT(farthest, 0.99 * o.eps);
  for (const Attack one : {Attack::pgd, Attack::apgd, Attack::square}) {
    if (one == Attack::square && o.norm == Norm::l2) continue;
    AttackOptions few = o;
    few.restarts = 3, few.queries = 50;
    const Attacked found = attack(one, logits, c.x, c.labels, c.which, few);
    EXPECT_LE(length(found.x - c.x, o.norm).max().item<double>(), o.eps * (1 + 1e-9)) << name_of(one);
    // What is called wrong is told wrong, and the others are as they were.
    const at::Tensor told = logits.of(found.x).argmax(1).eq(c.labels);
    EXPECT_TRUE(told.equal(found.right)) << name_of(one);
    EXPECT_TRUE(found.x.index({found.right}).equal(c.x.index({found.right}))) << name_of(one);
  }
}

double accuracy_under(Attack one, const Logits& logits, const Pictures& c, const AttackOptions& o) {
  return attack(one, logits, c.x, c.labels, c.which, o).right.to(at::kDouble).mean().item<double>();
}

TEST_P(InBothNorms, AccuracyFallsWithEpsToNothing) {
  const Small logits(0.5);
  const Pictures c = told_right(logits);
  for (const Attack one : {Attack::pgd, Attack::apgd}) {
    double before = 1;
    for (const double factor : {0.0, 0.5, 1.0, 2.0, 1000.0}) {
      const AttackOptions o{.norm = GetParam(), .eps = factor * usual_eps(GetParam()), .restarts = 3};
      const double now = accuracy_under(one, logits, c, o);
      EXPECT_LE(now, before + 0.05) << name_of(one) << " " << o.eps;
      if (factor == 0 || factor == 1000) {
        EXPECT_EQ(now, factor == 0 ? 1 : 0) << name_of(one);
      }
      before = now;
    }
  }
}

TEST(Attacks, GradientsFindWhatQueriesFind) {
  const Small logits(0.6);
  const Pictures c = told_right(logits, 80);
  const AttackOptions o{.eps = 0.05, .steps = 50, .restarts = 3, .queries = 1000};
  const double white = accuracy_under(Attack::apgd, logits, c, o), black = accuracy_under(Attack::square, logits, c, o);
  EXPECT_LE(white, black);
  EXPECT_LT(black, 0.95);
  EXPECT_GT(white, 0.05);
}

/// Loss and gradient where the probability of the label is 1 to the last bit of a double.
TEST(Attacks, SureLogitsMaskNothing) {
  const at::Tensor slopes =
      cross_entropy_slopes(at::tensor({200.0, 0.0, 1.0}, at::kDouble).unsqueeze(0), at::zeros({1}, at::kLong))[0];
  EXPECT_NEAR(slopes[2].item<double>() / std::exp(-199), 1, 1e-9);
  EXPECT_NEAR(slopes[0].item<double>() / -(std::exp(-199) + std::exp(-200)), 1, 1e-9);
  const Small usual(1);
  Small sure(1);
  sure.second = 200 * sure.second, sure.second_bias = 200 * sure.second_bias;
  const Pictures c = told_right(usual);
  EXPECT_LT(cross_entropies(sure.of(c.x), c.labels).min().item<double>(), 1e-40);
  for (const Attack one : {Attack::pgd, Attack::apgd})
    EXPECT_LT(accuracy_under(one, sure, c, {.eps = 0.08, .restarts = 2}), 0.5) << name_of(one);
}

TEST(Attacks, DoNotGoByTheBatch) {
  const Small logits(0.7);
  const Pictures c = told_right(logits);
  const AttackOptions o{.eps = 0.05, .steps = 5, .restarts = 2, .queries = 40, .seed = 7};
  for (const Attack one : {Attack::pgd, Attack::apgd, Attack::square}) {
    const Attacked all = attack(one, logits, c.x, c.labels, c.which, o);
    const auto half = [](const at::Tensor& t) { return t.slice(0, 20); };
    const Attacked some = attack(one, logits, half(c.x), half(c.labels), half(c.which), o);
    EXPECT_TRUE(half(all.right).equal(some.right)) << name_of(one);
    EXPECT_LT((half(all.x) - some.x).abs().max().item<double>(), 1e-12) << name_of(one);
  }
}

/// All steps are taken, so that the end is worse than where the class first changes, for the network and for one like
/// it.
TEST_P(InBothNorms, EndsFoolWhatIsAlike) {
  const Small logits(0.7);
  Small alike(0.7);
  alike.first = alike.first + 0.2 * at::randn_like(alike.first);
  const Pictures c = told_right(logits, 80);
  const AttackOptions o{.norm = GetParam(), .eps = usual_eps(GetParam()), .restarts = 1, .seed = 7};
  const at::Tensor end = pgd_end(logits, c.x, c.labels, c.which, o);
  EXPECT_LE(length(end - c.x, o.norm).max().item<double>(), o.eps * (1 + 1e-9));
  EXPECT_TRUE(end.slice(0, 0, 9).allclose(
      pgd_end(logits, c.x.slice(0, 0, 9), c.labels.slice(0, 0, 9), c.which.slice(0, 0, 9), o), 1e-9, 1e-12));
  const at::Tensor first = attack(Attack::pgd, logits, c.x, c.labels, c.which, o).x;
  const auto loss = [&](const Logits& of, const at::Tensor& x) {
    return cross_entropies(of.of(x), c.labels).mean().item<double>();
  };
  EXPECT_GT(loss(logits, end), 1.3 * loss(logits, first));
  EXPECT_GT(loss(alike, end), 1.3 * loss(alike, first));
}

/// Tells what it was asked, and only that.
struct Asked : Small {
  using Small::Small;
  mutable std::vector<at::Tensor> asked;
  Pulled pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& some) const override {
    asked.push_back(some);
    const at::AutoGradMode enable(true);
    const at::Tensor input = x.detach().requires_grad_();
    const at::Tensor z = some.defined() ? of(input).masked_fill(some.logical_not(), -INFINITY) : of(input);
    const at::Tensor slopes = cross_entropy_slopes(z.detach(), labels);
    return {z.detach(), torch::autograd::grad({(of(input) * slopes).sum()}, {input})[0]};
  }
};

TEST(Attacks, AskAllClassesNowAndThen) {
  const Asked logits(1.5);
  const Pictures c = told_right(logits, 200);
  for (const Attack one : {Attack::pgd, Attack::apgd}) {
    AttackOptions o{.eps = 0.04, .steps = 12, .restarts = 1, .all_classes_every = 5};
    logits.asked.clear();
    const Attacked few = attack(one, logits, c.x, c.labels, c.which, o);
    ASSERT_EQ(logits.asked.size(), 13U);
    double share = 0;
    for (std::size_t i = 0; i < logits.asked.size(); ++i) {
      EXPECT_EQ(logits.asked[i].defined(), i % 5 != 0 && i != 12) << i;
      if (logits.asked[i].defined()) share += logits.asked[i].to(at::kDouble).mean().item<double>() / 9;
    }
    EXPECT_LT(share, 0.8);
    // What is called wrong is told wrong by all classes, and as much is found as where all are always asked.
    EXPECT_TRUE(logits.of(few.x).argmax(1).eq(c.labels).equal(few.right));
    o.all_classes_every = 1;
    const Attacked all = attack(one, logits, c.x, c.labels, c.which, o);
    const double differ = few.right.ne(all.right).to(at::kDouble).mean().item<double>();
    const double right = all.right.to(at::kDouble).mean().item<double>();
    EXPECT_LT(differ, 0.03) << name_of(one);
    EXPECT_GT(right, 0.2);
    EXPECT_LT(right, 0.8);
  }
}

/// Energies of three classes at two levels, in f32.
struct ThreeClasses {
  std::vector<double> sigmas = {0.3, 1};
  Calibration calibration{.weights = at::tensor({2.0, 5.0}, at::kDouble),
                          .bias = at::tensor({0.5, -1.0, 0.2}, at::kDouble)};

  static model::Model model(engine::Kind kind = engine::Kind::fast) {
    const nn::Network network(
        nn::strided({.stem = 4, .channels = {4}, .dense = 4}, {1, 8, 8}, {.classes = 3, .noise_features = 4}), 1);
    const model::Settings settings;
    return {network.graph(),
            {engine::prepare(network.graph(), network.effective_weights(), {.engine = kind})},
            {.classes = 3, .noise = model::NoiseScale{}},
            settings};
  }
  EnergyLogits logits() const {
    EnergyLogits all(model(), sigmas);
    all.use(calibration);
    return all;
  }
};

TEST(EnergyLogits, GradientIsThatOfTheCrossEntropy) {
  const ThreeClasses c;
  at::manual_seed(6);
  const at::Tensor x = at::rand({70, 1, 8, 8}, at::kDouble), labels = at::arange(70).remainder(3);
  const auto pulled = c.logits().pull(x, labels);
  const model::Model by_autograd = ThreeClasses::model(engine::Kind::reference);
  const at::AutoGradMode enable(true);
  const at::Tensor input = x.to(at::kFloat).requires_grad_();
  at::Tensor z = c.calibration.bias.unsqueeze(0);
  for (std::int64_t l = 0; l < 2; ++l) {
    std::vector<at::Tensor> of_class;
    for (std::int64_t y = 0; y < 3; ++y)
      of_class.push_back(
          of_unit(by_autograd, by_autograd.energy(nn::Condition::of_class(y), c.sigmas[static_cast<std::size_t>(l)]))
              ->energy(input));
    z = z - at::stack(of_class, 1) * c.calibration.weights[l];
  }
  const at::Tensor expected = torch::autograd::grad({cross_entropies(z, labels).sum()}, {input})[0];
  EXPECT_LT((pulled.logits - z).abs().max().item<double>(), 1e-4);
  EXPECT_LT((pulled.gradient - expected).abs().max().item<double>(), 1e-3 * expected.abs().max().item<double>());
}

/// Energies are those of the noised picture in the model's own range, one noise for all classes and pictures.
TEST(EnergyLogits, NoiseIsThatOfTheLevelAndCountsInValuesAndGradients) {
  const ThreeClasses c;
  const model::Model model = ThreeClasses::model();
  const scoring::LevelNoise noise{.draws = 2, .seed = 5};
  EnergyLogits logits(model, c.sigmas, noise);
  logits.use(c.calibration);
  at::manual_seed(6);
  const at::Tensor x = at::rand({70, 1, 8, 8}, at::kDouble), labels = at::arange(70).remainder(3);
  const auto& space = model.space();
  const double bins = model.settings().data.dequantize ? 256 : INFINITY, range = space.high - space.low;
  const at::Tensor native = x * (range - range / bins) + space.low + range / bins / 2;
  at::Tensor expected = at::zeros({70, 2, 3}, at::kDouble);
  for (std::int64_t l = 0; l < 2; ++l) {
    const double sigma = c.sigmas[static_cast<std::size_t>(l)];
    const auto shifts = scoring::level_noise(space.shape, sigma, noise);
    ASSERT_EQ(shifts.size(), 2U);
    EXPECT_TRUE(at::equal(shifts[0], -shifts[1]));
    EXPECT_NEAR(shifts[0].square().mean().sqrt().item<double>(), sigma, sigma * 4 / std::sqrt(2.0 * 64));
    for (std::int64_t y = 0; y < 3; ++y)
      for (const at::Tensor& shift : shifts)
        expected.select(1, l).select(1, y) +=
            model.energy(nn::Condition::of_class(y), sigma)->energy((native + shift).to(at::kFloat)).to(at::kDouble) /
            2;
  }
  EXPECT_LT((logits.energies(x) - expected).abs().max().item<double>(), 1e-4);
  EXPECT_GT((logits.energies(x) - c.logits().energies(x)).abs().max().item<double>(), 1e-2);
  const auto pulled = logits.pull(x, labels);
  EXPECT_LT((pulled.logits - logits.of(x)).abs().max().item<double>(), 1e-3);
  // Along a direction, by central differences of the sum of all pictures' cross entropies.
  const at::Tensor along = at::randn_like(x);
  const auto loss = [&](double t) { return cross_entropies(logits.of(x + t * along), labels).sum().item<double>(); };
  const double step = 1e-2, slope = (pulled.gradient * along).sum().item<double>();
  EXPECT_NEAR((loss(step) - loss(-step)) / (2 * step), slope, 2e-2 * std::abs(slope));
}

/// A class that is not asked is as one that is never likely.
TEST(EnergyLogits, ClassesThatAreNotAskedDoNotCount) {
  const EnergyLogits logits = ThreeClasses().logits();
  at::manual_seed(6);
  const at::Tensor x = at::rand({70, 1, 8, 8}, at::kDouble), labels = at::arange(70).remainder(2);
  at::Tensor asked = at::ones({70, 3}, at::kBool);
  asked.select(1, 2).fill_(false);
  const auto pulled = logits.pull(x, labels, asked);
  const at::Tensor all = logits.of(x);
  EXPECT_TRUE(pulled.logits.select(1, 2).eq(-INFINITY).all().item<bool>());
  EXPECT_LT((pulled.logits - all).slice(1, 0, 2).abs().max().item<double>(), 1e-4);
  const at::Tensor both = logits.pull(x, labels, at::ones_like(asked)).gradient;
  EXPECT_LT((both - logits.pull(x, labels).gradient).abs().max().item<double>(),
            1e-3 * both.abs().max().item<double>());
  EXPECT_GT((both - pulled.gradient).abs().max().item<double>(), 0.05 * both.abs().max().item<double>());
}

TEST(Attacks, Refuse) {
  EXPECT_SAYS(check(Attack::square, {.norm = Norm::l2}), "linf alone");
  EXPECT_SAYS(check(Attack::pgd, {.eps = -1}), "eps");
  EXPECT_SAYS(check(Attack::pgd, {.steps = 0}), "steps");
  EXPECT_SAYS(check(Attack::apgd, {.all_classes_every = 0}), "all classes every");
  EXPECT_SAYS(check(Attack::apgd, {.class_margin = NAN}), "class margin");
}

}  // namespace
}  // namespace igebm::classification
