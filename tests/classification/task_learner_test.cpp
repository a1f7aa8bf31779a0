#include "igebm/classification/task_learner.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/classification/ebm_cl.h"
#include "igebm/classification/perceptron.h"

namespace igebm::classification {
namespace {

at::Tensor normal_numbers(at::IntArrayRef shape, std::uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, at::kDouble);
}

/// Points around four corners, one a class.
LabelledRecords corners(std::int64_t count, std::uint64_t seed) {
  const at::Tensor classes = at::arange(count, at::kLong).remainder(4);
  at::Tensor x = normal_numbers({count, 2}, seed).to(at::kFloat) * 0.1;
  x.select(1, 0) += classes.remainder(2);
  x.select(1, 1) += classes.div(2, "floor");
  return {x, classes};
}

const LearnerKind& kind_of(std::string_view name) {
  const auto& all = learner_kinds();
  return *std::find_if(all.begin(), all.end(), [&](const LearnerKind& k) { return k.name == name; });
}

Continual learned(std::string_view name, const std::vector<LearnedTask>& tasks, LearnerOptions options = {}) {
  const LabelledRecords train = corners(4000, 1), test = corners(400, 2);
  options.hidden = 40, options.features = 100, options.first = 1000;
  if (!options.learning_rate) options.learning_rate = 1e-2;
  const LearnerKind& kind = kind_of(name);
  return learn_tasks(*kind.make(2, 4, options, kind), train, test, tasks, 20, options.seed, [](auto, auto) {});
}

TEST(LabelEnergy, GradientIsThatOfFiniteDifferences) {
  LabelEnergy e{normal_numbers({5, 6}, 1), normal_numbers({6}, 2), normal_numbers({3, 6}, 3), normal_numbers({6}, 4)};
  const at::Tensor x = normal_numbers({4, 5}, 5), classes = at::tensor({0, 1, 2, 0}, at::kLong),
                   others = at::tensor({1, 2, 0, 2}, at::kLong);
  for (const at::Tensor& p : e.parameters()) p.requires_grad_(true);
  const auto gradients = torch::autograd::grad({contrast_loss(e, x, classes, others)}, e.parameters());
  constexpr double step = 1e-6;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    at::Tensor flat = e.parameters()[i].detach().view({-1});
    for (std::int64_t j = 0; j < flat.size(0); ++j) {
      const auto loss_at = [&](double by) {
        flat[j] += by;
        const double loss = contrast_loss(e, x, classes, others).item<double>();
        flat[j] -= by;
        return loss;
      };
      EXPECT_NEAR(gradients[i].view({-1})[j].item<double>(), (loss_at(step) - loss_at(-step)) / (2 * step), 1e-7);
    }
  }
}

// x = 1, h = (2, -1), e = (.6, .8) for class 0 and (-1, 0), at any length, for class 1; w = (1, 3).
TEST(LabelEnergy, IsTheFormula) {
  const auto t = [](std::initializer_list<double> v) { return at::tensor(std::vector<double>(v), at::kDouble); };
  const LabelEnergy e{t({1.5, -1}).view({1, 2}), t({0.5, 0}), t({3, 4, -2, 0}).view({2, 2}), t({1, 3})};
  const at::Tensor x = t({1}).view({1, 1}), zero = at::zeros({1}, at::kLong), one = at::ones({1}, at::kLong);
  EXPECT_NEAR(energy_of(e, body_of(e, x), zero).item<double>(), 3.2, 1e-12);
  EXPECT_NEAR(energy_of(e, body_of(e, x), one).item<double>(), 0, 1e-12);
  EXPECT_NEAR(contrast_loss(e, x, zero, one).item<double>(), 3.2 + std::log(std::exp(-3.2) + 1), 1e-12);
}

TEST(LabelEnergy, OtherLabelsAreOfTheBatchAndNotOnesOwn) {
  const at::Tensor classes = at::tensor({2, 5, 7}, at::kLong).repeat({2000});
  const at::Tensor others = other_labels(classes, 1, 0);
  EXPECT_FALSE(others.eq(classes).any().item<bool>());
  for (const std::int64_t y : {2, 5, 7}) EXPECT_NEAR(others.eq(y).sum().item<double>(), 2000, 150);
  EXPECT_TRUE(others.equal(other_labels(classes, 1, 0)));
  EXPECT_FALSE(others.equal(other_labels(classes, 1, 1)));
  const at::Tensor alone = at::full({3}, 4, at::kLong);
  EXPECT_TRUE(other_labels(alone, 1, 0).equal(alone));
}

TEST(Hold, PullsTowardsTheLastAnchorsByAllImportance) {
  Hold hold({at::tensor({0.0, 0.0}, at::kDouble)});
  hold.add({at::tensor({1.0, 2.0}, at::kDouble)}, {at::tensor({1.0, 1.0}, at::kDouble)});
  hold.add({at::tensor({3.0, 0.0}, at::kDouble)}, {at::tensor({2.0, 3.0}, at::kDouble)});
  std::vector<at::Tensor> gradients = {at::tensor({0.5, 0.5}, at::kDouble)};
  hold.pull(gradients, {at::tensor({2.5, 1.0}, at::kDouble)}, 10);
  // 0.5 + 10 * 4 * (2.5 - 2), 0.5 + 10 * 2 * (1 - 3)
  EXPECT_TRUE(gradients[0].allclose(at::tensor({20.5, -39.5}, at::kDouble)));
}

TEST(PathIntegral, IsWorkDoneOverTheWaySquared) {
  const auto t = [](double a, double b) { return std::vector<at::Tensor>{at::tensor({a, b}, at::kDouble)}; };
  PathIntegral path(t(0, 0));
  path.step(t(-2, 1), t(0, 0), t(0.5, 0.5));  // work 1 and -0.5
  path.step(t(-1, 1), t(0.5, 0.5), t(1, 1));  // .5 more and .5 less: 1.5 and -1
  const auto importance = path.finish(t(1, 1), t(0, 0), 0.5);
  EXPECT_TRUE(importance[0].allclose(at::tensor({2.0, 0.0}, at::kDouble)));  // 2 * 1.5 / (1 + .5)
  EXPECT_TRUE(path.finish(t(2, 2), t(1, 1), 0.5)[0].equal(at::zeros({2}, at::kDouble)));
}

TEST(FisherInformation, IsTheExpectedSquareOfEachRecordsGradient) {
  PerceptronWeights p = {normal_numbers({3, 4}, 1), normal_numbers({4}, 2),    normal_numbers({4, 4}, 3),
                         normal_numbers({4}, 4),    normal_numbers({4, 3}, 5), normal_numbers({3}, 6)};
  const at::Tensor x = normal_numbers({5, 3}, 7), open = at::tensor({1, 0, 1}, at::kLong).eq(1);
  const auto found = fisher_information(p, x, open);
  for (const at::Tensor& t : p) t.requires_grad_(true);
  std::vector<at::Tensor> expected;
  for (const at::Tensor& t : p) expected.push_back(at::zeros_like(t).detach());
  for (std::int64_t n = 0; n < 5; ++n)
    for (const std::int64_t y : {0, 2}) {
      const at::Tensor logits = logits_of(p, x.slice(0, n, n + 1))[0];
      const at::Tensor log_p = logits[y] - at::logaddexp(logits[0], logits[2]);
      const auto gradients = torch::autograd::grad({log_p}, p);
      for (std::size_t i = 0; i < p.size(); ++i) expected[i] += log_p.detach().exp() * gradients[i].square() / 5;
    }
  for (std::size_t i = 0; i < p.size(); ++i) EXPECT_TRUE(found[i].allclose(expected[i], 1e-9, 1e-12)) << i;
}

// What a network learns of later classes alone overwrites what it knew; if records of earlier tasks came again, or
// tests told the task, it would not.
TEST(LearnTasks, FineTuningForgetsAndKeptBodiesDoNot) {
  const auto tasks = split_tasks(4, 2);
  const Continual forgot = learned("fine-tuning", tasks);
  EXPECT_GT(forgot.accuracy[0][0].value, 0.99);
  EXPECT_LT(forgot.accuracy[1][0].value, 0.1);
  EXPECT_GT(forgot.accuracy[1][1].value, 0.99);
  for (const auto* name : {"shared body", "early body"}) EXPECT_GT(learned(name, tasks).overall.back().value, 0.97);
  EXPECT_GT(learned("EBM-CL", tasks).accuracy[0][0].value, 0.99);
}

// All at once they are learned: what is lost one after another is lost by that.
TEST(LearnTasks, OneTaskOfAllClassesIsLearned) {
  for (const LearnerKind& kind : learner_kinds())
    EXPECT_GT(learned(kind.name, {{{0, 1, 2, 3}}}).overall.back().value, 0.97) << kind.name;
}

TEST(LearnTasks, EwcAndSiHoldByTheirStrength) {
  // The same classes, their corners exchanged in the second task.
  const std::vector<LearnedTask> tasks = {{{0, 1, 2, 3}}, {{0, 1, 2, 3}, at::tensor({1, 0}, at::kLong)}};
  for (const auto* name : {"EWC", "SI"}) {
    LearnerOptions options;
    options.strength = 0;
    const Continual loose = learned(name, tasks, options);
    const Continual plain = learned("fine-tuning", tasks);
    EXPECT_EQ(loose.accuracy[1][0].value, plain.accuracy[1][0].value) << name;  // without strength it is fine-tuning
    options.strength = 1e6;
    const Continual held = learned(name, tasks, options);
    EXPECT_LT(plain.accuracy[1][0].value, 0.6) << name;
    EXPECT_GT(held.accuracy[1][0].value, 0.9) << name;
  }
}

TEST(LearnTasks, ASeedRepeatsBitForBit) {
  const auto tasks = split_tasks(4, 2);
  LearnerOptions other;
  other.seed = 1;
  const LabelledRecords train = corners(200, 1);
  for (const LearnerKind& kind : learner_kinds()) {
    const auto scores = [&](std::uint64_t seed) {
      LearnerOptions options;
      options.seed = seed, options.hidden = 20, options.features = 20, options.first = 50;
      const auto one = kind.make(2, 4, options, kind);
      learn_tasks(*one, train, train, tasks, 20, options.seed, [](auto, auto) {});
      return one->scores(train.x);
    };
    const at::Tensor first = scores(0);
    EXPECT_TRUE(first.equal(scores(0))) << kind.name;
    EXPECT_FALSE(first.equal(scores(1))) << kind.name;
  }
}

/// Remembers what it is shown.
class Witness : public TaskLearner {
 public:
  void learn(const at::Tensor& x, const at::Tensor& classes) override { seen.push_back(x), told.push_back(classes); }
  void end_task(const at::Tensor& x) override { again.push_back(x); }
  at::Tensor scores(const at::Tensor& x) const override {
    asked.push_back(x);
    return at::zeros({x.size(0), 4});
  }
  std::int64_t numbers() const override { return 0; }
  std::vector<at::Tensor> seen, told, again;
  mutable std::vector<at::Tensor> asked;
};

TEST(LearnTasks, EachRecordIsShownOnceInItsTaskAndNoTestRecordIs) {
  const std::int64_t n = 40;
  const LabelledRecords train{at::arange(n, at::kFloat).view({n, 1}), at::arange(n, at::kLong).remainder(4)};
  const LabelledRecords test{at::arange(100, 120, at::kFloat).view({20, 1}), at::arange(20, at::kLong).remainder(4)};
  Witness witness;
  const Continual c = learn_tasks(witness, train, test, split_tasks(4, 2), 7, 0, [](auto, auto) {});
  const at::Tensor seen = at::cat(witness.seen).flatten().to(at::kLong), told = at::cat(witness.told);
  EXPECT_TRUE(std::get<0>(seen.sort()).equal(at::arange(n, at::kLong)));
  EXPECT_TRUE(told.equal(seen.remainder(4)));
  EXPECT_TRUE(told.slice(0, 0, 20).lt(2).all().item<bool>());
  EXPECT_TRUE(told.slice(0, 20).ge(2).all().item<bool>());
  EXPECT_TRUE(witness.again[1].flatten().to(at::kLong).remainder(4).ge(2).all().item<bool>());
  EXPECT_TRUE(at::cat(witness.asked).ge(100).all().item<bool>());
  EXPECT_EQ(c.accuracy[1].size(), 2);
  EXPECT_EQ(c.overall[0].high, fraction_right(5, 10).high);
  EXPECT_EQ(c.overall[1].high, fraction_right(5, 20).high);
}

TEST(PermutedTasks, AreOrdersOfTheirOwnThatRepeat) {
  const auto tasks = permuted_tasks(3, 50, 4), again = permuted_tasks(3, 50, 4);
  EXPECT_FALSE(tasks[0].order.defined());
  for (const std::size_t t : {1, 2}) {
    EXPECT_TRUE(std::get<0>(tasks[t].order.sort()).equal(at::arange(50, at::kLong)));
    EXPECT_TRUE(tasks[t].order.equal(again[t].order));
  }
  EXPECT_FALSE(tasks[1].order.equal(tasks[2].order));
  // Training and test records are in the task's order.
  Witness witness;
  const LabelledRecords one{at::arange(50, at::kFloat).view({1, 50}), at::zeros({1}, at::kLong)};
  const Continual c = learn_tasks(witness, one, one, tasks, 10, 0, [](auto, auto) {});
  EXPECT_TRUE(witness.seen[1].equal(tasks[1].order.to(at::kFloat).unsqueeze(0)));
  EXPECT_TRUE(witness.asked.back().equal(tasks[2].order.to(at::kFloat).unsqueeze(0)));
  // A record in three orders is one record: the interval is not narrower for it.
  EXPECT_EQ(c.overall[2].low, fraction_right(1, 1).low);
}

}  // namespace
}  // namespace igebm::classification
