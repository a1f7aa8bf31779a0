#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "igebm/base/error.h"
#include "igebm/training/optimizer.h"
#include "igebm/training/replay_buffer.h"
#include "igebm/training/transport.h"

namespace igebm::training {
namespace {

TEST(Transport, IsTheBestOfAllPermutations) {
  at::manual_seed(1);
  for (int trial = 0; trial < 50; ++trial) {
    constexpr std::int64_t n = 6;
    at::Tensor cost = at::randn({n, n}, at::kDouble).contiguous();
    if (trial % 5 == 0) cost = cost.round();  // ties
    const double* c = cost.const_data_ptr<double>();
    const auto total = [&](const std::vector<std::int64_t>& columns) {
      double sum = 0;
      for (std::int64_t i = 0; i < n; ++i) sum += c[i * n + columns[static_cast<std::size_t>(i)]];
      return sum;
    };
    std::vector<std::int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    double best = 1e9;
    do {
      best = std::min(best, total(order));
    } while (std::next_permutation(order.begin(), order.end()));
    auto found = assign(std::vector<double>(c, c + n * n), n);
    EXPECT_NEAR(total(found), best, 1e-12);
    std::sort(found.begin(), found.end());
    for (std::int64_t i = 0; i < n; ++i) EXPECT_EQ(found[static_cast<std::size_t>(i)], i);
  }
}

TEST(Transport, FindsShuffledPairsAgain) {
  at::manual_seed(2);
  const at::Tensor data = at::randn({64, 3, 4}), order = at::randperm(64);
  const at::Tensor noise = data.index_select(0, order) + 0.01 * at::randn({64, 3, 4});
  EXPECT_TRUE(at::equal(order.index_select(0, pair_by_transport(noise, data)), at::arange(64)));
}

// Across labels the nearest noise is another label's here; it is only to be had within them.
TEST(Transport, MovesNoiseAmongEqualLabelsOnly) {
  at::manual_seed(3);
  const std::int64_t n = 60;
  const at::Tensor classes = at::randint(0, 4, {n}, at::kLong), data = at::randn({n, 5});
  const at::Tensor rows = at::stack({classes.to(at::kFloat), at::zeros({n})}, 1);
  const at::Tensor noise = data.index_select(0, at::randperm(n)) + 0.01 * at::randn({n, 5});
  const at::Tensor pairs = pair_by_transport(noise, data, classes);
  EXPECT_TRUE(at::equal(classes.index_select(0, pairs), classes));
  EXPECT_TRUE(at::equal(std::get<0>(pairs.sort()), at::arange(n)));
  EXPECT_TRUE(at::equal(pair_by_transport(noise, data, rows), pairs));
  for (std::int64_t k = 0; k < 4; ++k) {  // the best within each label
    const at::Tensor of = classes.eq(k).nonzero().squeeze(1), got = pairs.index_select(0, of);
    const at::Tensor best = of.index_select(0, pair_by_transport(noise.index_select(0, of), data.index_select(0, of)));
    EXPECT_TRUE(at::equal(got, best));
  }
  EXPECT_FALSE(at::equal(pair_by_transport(noise, data), pairs));
}

// float's lowest number is a usual mark of "no data"; products of it are beyond float, and all costs are compared.
TEST(Transport, ComesToAnEndWhateverTheData) {
  at::manual_seed(4);
  const std::int64_t n = 40;
  const at::Tensor classes = at::arange(n).remainder(4), noise = at::randn({n, 2});
  for (const float far : {1e30F, 1e38F, std::numeric_limits<float>::lowest()}) {
    at::Tensor data = at::randn({n, 2});
    data[17][1] = far;
    data[18][0] = -far;
    const at::Tensor pairs = pair_by_transport(noise, data, classes);
    EXPECT_TRUE(at::equal(classes.index_select(0, pairs), classes)) << far;
    EXPECT_TRUE(at::equal(std::get<0>(pair_by_transport(noise, data).sort()), at::arange(n))) << far;
  }
  for (const float never : {INFINITY, NAN}) {
    at::Tensor data = at::randn({n, 2});
    data[17][1] = never;
    EXPECT_THROW(pair_by_transport(noise, data, classes), UserError);
    EXPECT_THROW(pair_by_transport(noise, data), UserError);
  }
}

// Adam against its own formulas, one parameter by hand.
TEST(Adam, StepsAsPublished) {
  nn::Tensors parameters = {{"a", at::tensor({1.0F, 2.0F})}, {"b", at::tensor({3.0F})}};
  Adam adam(parameters);
  const OptimizerOptions o{.beta1 = 0.9, .beta2 = 0.99, .clip = Clip::none};
  double m = 0, v = 0, p = 3;
  for (int t = 1; t <= 5; ++t) {
    const double g = 0.3 * t - 1;
    adam.update(o, 0.1, parameters, {at::tensor({0.0F, 0.0F}), at::tensor({static_cast<float>(g)})});
    m = 0.9 * m + 0.1 * g;
    v = 0.99 * v + 0.01 * g * g;
    p -= 0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.99, t))) + 1e-8);
    EXPECT_NEAR(parameters.at("b").item<double>(), p, 1e-5);
  }
  EXPECT_TRUE(at::equal(parameters.at("a"), at::tensor({1.0F, 2.0F})));
}

TEST(Adam, ClipsByNormAndBySecondMoment) {
  const auto moved = [](const OptimizerOptions& o, float g0, float g1) {
    nn::Tensors parameters = {{"a", at::zeros({2})}};
    Adam adam(parameters);
    EXPECT_NEAR(adam.update(o, 1, parameters, {at::tensor({g0, g1})}), std::hypot(g0, g1), 1e-4);
    return adam.state().at("m");  // beta1 = 0: the clipped gradient itself
  };
  EXPECT_TRUE(at::allclose(moved({.clip = Clip::norm, .clip_norm = 1}, 3, 4), at::tensor({0.6F, 0.8F})));
  EXPECT_TRUE(at::allclose(moved({.clip = Clip::norm, .clip_norm = 10}, 3, 4), at::tensor({3.0F, 4.0F})));
  EXPECT_TRUE(
      at::allclose(moved({.clip = Clip::second_moment}, 3, 0.05F), at::tensor({0.1F, 0.05F})));  // v is 0 at first
}

// By hand, v with the bias correction of the steps before.
TEST(Adam, ClipsBySecondMomentsThatHaveGrown) {
  nn::Tensors parameters = {{"a", at::zeros({2})}};
  Adam adam(parameters);
  const OptimizerOptions o{.beta2 = 0.9, .clip = Clip::second_moment};
  double v[] = {0, 0};
  const float gradients[][2] = {{3, 0.05F}, {3, -0.3F}, {-0.2F, 5}, {-7, 0.01F}, {9, 9}};
  for (int t = 0; t < 5; ++t) {
    adam.update(o, 0.1, parameters, {at::tensor({gradients[t][0], gradients[t][1]})});
    const at::Tensor clipped = adam.state().at("m");  // beta1 = 0
    for (int i = 0; i < 2; ++i) {
      const double bound = 3 * std::sqrt(t == 0 ? 0 : v[i] / (1 - std::pow(0.9, t))) + 0.1;
      const double expected = std::clamp<double>(gradients[t][i], -bound, bound);
      EXPECT_NEAR(clipped[i].item<double>(), expected, 1e-5) << t << i;
      v[i] = 0.9 * v[i] + 0.1 * expected * expected;
    }
  }
}

TEST(Adam, AGradientThatIsNotFiniteChangesNothing) {
  nn::Tensors parameters = {{"a", at::ones({2})}};
  Adam adam(parameters);
  EXPECT_FALSE(std::isfinite(adam.update({}, 0.1, parameters, {at::tensor({1.0F, NAN})})));
  EXPECT_TRUE(at::equal(parameters.at("a"), at::ones({2})));
  EXPECT_EQ(adam.state().at("step").item<std::int64_t>(), 0);
}

TEST(Schedule, WarmsUpAndFallsAsACosine) {
  const OptimizerOptions o{.learning_rate = 2, .warmup = 4, .schedule = Schedule::cosine, .final_share = 0.1};
  EXPECT_NEAR(learning_rate(o, 0, 100), 0.5, 1e-6);
  EXPECT_NEAR(learning_rate(o, 50, 100), 2 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(learning_rate(o, 100, 100), 0.2, 1e-12);
  EXPECT_EQ(learning_rate({.learning_rate = 2}, 99, 100), 2);
}

TEST(ReplayBuffer, ChainsComeBackWithTheirLabelsAndStreams) {
  ReplayBuffer buffer({.size = 8, .restart_share = 0}, {sampling::Start::uniform, 0, 1}, {2});
  const at::Tensor data = at::full({4, 2}, 7.0F), labels = at::tensor({3, 1, 4, 1}, at::kLong);
  std::map<std::int64_t, std::pair<std::int64_t, float>> by_stream;
  for (std::int64_t step = 0; step < 50; ++step) {
    auto taken = buffer.take(data, labels, 1, step, 4 * step);
    for (std::int64_t i = 0; i < 4; ++i) {
      const auto stream = taken.chains.stream[i].item<std::int64_t>();
      if (taken.fresh[i].item<bool>()) {
        EXPECT_EQ(by_stream.count(stream), 0U);
        EXPECT_EQ(taken.chains.labels[i].item<std::int64_t>(), labels[i].item<std::int64_t>());
        EXPECT_EQ(taken.chains.steps[i].item<std::int64_t>(), 0);
      } else {
        const auto& [label, x] = by_stream.at(stream);
        EXPECT_EQ(taken.chains.labels[i].item<std::int64_t>(), label);
        EXPECT_EQ(taken.chains.x[i][0].item<float>(), x);
      }
      taken.chains.x[i].fill_(static_cast<float>(step + 10 * i));
      by_stream[stream] = {taken.chains.labels[i].item<std::int64_t>(), static_cast<float>(step + 10 * i)};
    }
    buffer.put(taken);
  }
  EXPECT_EQ(by_stream.size(), 8U);  // without restarts, one chain a place
}

TEST(ReplayBuffer, WhatKernelsKeepGoesWithTheChainsAndIsSaved) {
  const auto make = [] {
    return ReplayBuffer({.size = 8, .restart_share = 0.2}, {sampling::Start::uniform, 0, 1}, {2});
  };
  ReplayBuffer buffer = make();
  const nn::Tensors before = buffer.state();
  const at::Tensor data = at::full({4, 2}, 7.0F);
  std::map<std::int64_t, double> kept;
  for (std::int64_t step = 0; step < 50; ++step) {
    auto taken = buffer.take(data, {}, 1, step, 4 * step);
    at::Tensor& sizes = taken.chains.state["mala.log_step"];
    if (!sizes.defined()) sizes = at::zeros({4}, at::kDouble);
    for (std::int64_t i = 0; i < 4; ++i) {
      const auto stream = taken.chains.stream[i].item<std::int64_t>();
      EXPECT_EQ(sizes[i].item<double>(), taken.fresh[i].item<bool>() ? 0 : kept.at(stream));
      kept[stream] = static_cast<double>(step + 10 * i);
      sizes[i] = kept[stream];
    }
    buffer.put(taken);
    if (step != 25) continue;
    ReplayBuffer resumed = make();
    resumed.load(buffer.state());
    EXPECT_TRUE(at::equal(resumed.state().at("kernel.mala.log_step"), buffer.state().at("kernel.mala.log_step")));
    buffer = resumed;
  }
  EXPECT_EQ(before.count("kernel.mala.log_step"), 0U);
  buffer.load(before);  // a checkpoint of a kernel that keeps nothing
  EXPECT_EQ(buffer.state().count("kernel.mala.log_step"), 0U);
  nn::Tensors short_of_rows = before;
  short_of_rows["kernel.mala.log_step"] = at::zeros({7});
  EXPECT_THROW(buffer.load(short_of_rows), UserError);
}

TEST(ReplayBuffer, RestartsAndDataHaveTheirShares) {
  ReplayBuffer buffer({.size = 1000, .restart_share = 0.2, .data_share = 0.1}, {sampling::Start::uniform, 0, 1}, {1});
  const at::Tensor data = at::full({500, 1}, 7.0F);
  std::int64_t restarted = 0, from_data = 0, total = 0;
  for (std::int64_t step = 0; step < 60; ++step) {
    const auto taken = buffer.take(data, {}, 1, step, 500 * step);
    if (step >= 20) {  // every place has been taken once by then
      restarted += taken.fresh.sum().item<std::int64_t>();
      from_data += (taken.chains.x == 7).sum().item<std::int64_t>();
      total += 500;
    }
    auto moved = taken;
    moved.chains.x = at::full({500, 1}, 3.0F);
    moved.chains.steps = taken.chains.steps + 1;
    buffer.put(moved);
  }
  EXPECT_NEAR(static_cast<double>(restarted) / static_cast<double>(total), 0.2, 4 * 0.4 / std::sqrt(total));
  EXPECT_NEAR(static_cast<double>(from_data) / static_cast<double>(total), 0.1, 4 * 0.3 / std::sqrt(total));
}

TEST(ReplayBuffer, OthersAreChainsThatMovedAndAreNotTaken) {
  ReplayBuffer buffer({.size = 30, .restart_share = 0}, {sampling::Start::uniform, 0, 1}, {1});
  const at::Tensor data = at::zeros({10, 1});
  auto taken = buffer.take(data, {}, 1, 0, 0);
  EXPECT_EQ(buffer.others(taken, 5, 1, 0).size(0), 0);  // no chain has moved before
  std::set<float> seen;
  for (std::int64_t step = 0; step < 40; ++step) {
    taken = buffer.take(data, {}, 1, step, 10 * step);
    std::set<float> mine, others;
    const at::Tensor pool = buffer.others(taken, 7, 1, step);
    for (std::int64_t i = 0; i < 10; ++i) mine.insert(taken.chains.x[i].item<float>());
    for (std::int64_t i = 0; i < pool.size(0); ++i) others.insert(pool[i].item<float>());
    EXPECT_EQ(static_cast<std::int64_t>(others.size()), pool.size(0));  // none twice
    for (const float x : others) EXPECT_TRUE(seen.contains(x) && !mine.contains(x)) << x;
    EXPECT_TRUE(at::equal(pool, buffer.others(taken, 7, 1, step)));
    if (step > 20) {
      EXPECT_EQ(pool.size(0), 7);
      EXPECT_FALSE(at::equal(pool, buffer.others(taken, 7, 1, step + 1)));
    }
    for (std::int64_t i = 0; i < 10; ++i) {
      taken.chains.x[i].fill_(static_cast<float>(10 * step + i));
      seen.insert(static_cast<float>(10 * step + i));
    }
    buffer.put(taken);
  }
}

TEST(ReplayBuffer, AugmentsItsShareOfReplayedPicturesAndNoOthers) {
  const auto replayed = [](const ReplayAugmentation& augment, std::int64_t step) {
    ReplayBuffer buffer({.size = 200, .restart_share = 0, .augment = augment}, {sampling::Start::uniform, -1, 1},
                        {1, 6, 6}, {}, -1, 1);
    at::Tensor order;
    auto taken = buffer.take(at::zeros({200, 1, 6, 6}), {}, 1, 0, 0);
    order = at::argsort(taken.chains.stream);
    const at::Tensor before = taken.chains.x.index_select(0, order).clone();
    buffer.put(taken);
    taken = buffer.take(at::zeros({200, 1, 6, 6}), {}, 1, step, 200 * step);
    return std::pair(before, taken.chains.x.index_select(0, at::argsort(taken.chains.stream)));
  };
  const auto changed = [&](const ReplayAugmentation& augment) {
    const auto [before, after] = replayed(augment, 1);
    return after.ne(before).flatten(1).any(1);
  };
  EXPECT_FALSE(changed({}).any().item<bool>());
  // Half of the flips, half of the blurs, all of the others; of 200, 4 standard errors are 0.14.
  EXPECT_NEAR(changed({.share = 1, .flip = true}).to(at::kFloat).mean().item<double>(), 0.5, 0.14);
  EXPECT_NEAR(changed({.share = 1, .blur = 2}).to(at::kFloat).mean().item<double>(), 0.5, 0.14);
  EXPECT_NEAR(changed({.share = 0.3, .area = 0.5}).to(at::kFloat).mean().item<double>(), 0.3, 0.13);
  EXPECT_TRUE(changed({.share = 1, .brightness = 0.5}).all().item<bool>());
  const auto [before, flipped] = replayed({.share = 1, .flip = true}, 1);
  EXPECT_TRUE((flipped.eq(before).flatten(1).all(1))
                  .logical_xor(flipped.eq(before.flip({3})).flatten(1).all(1))
                  .all()
                  .item<bool>());
  // Brightness is about black, which is -1 here.
  const at::Tensor factor = [&] {
    const auto [dark, light] = replayed({.share = 1, .brightness = 0.5}, 1);
    return ((light + 1) / (dark + 1)).masked_fill(light.ge(0.999), 1).flatten(1);
  }();
  EXPECT_LE(factor.max().item<double>(), 1.5 + 1e-3);
  EXPECT_GE(factor.min().item<double>(), 0.5 - 1e-3);
  EXPECT_FALSE(at::equal(replayed({.share = 1, .area = 0.5}, 1).second, replayed({.share = 1, .area = 0.5}, 2).second));
  EXPECT_TRUE(at::equal(replayed({.share = 1, .area = 0.5}, 1).second, replayed({.share = 1, .area = 0.5}, 1).second));
  EXPECT_THROW(ReplayBuffer({.augment = {.share = 1}}, {}, {2}), UserError);
  EXPECT_THROW(ReplayBuffer({.augment = {.share = 1}}, {}, {1, 6, 6}, {}, -INFINITY, 1), UserError);
}

TEST(ReplayBuffer, CompactKeepsPixelsToHalfALevel) {
  ReplayBuffer buffer({.size = 4, .restart_share = 0, .compact = true}, {sampling::Start::normal}, {5}, {}, -1, 1);
  auto taken = buffer.take(at::zeros({4, 5}), {}, 1, 0, 0);
  taken.chains.x = at::rand({4, 5}) * 2 - 1;
  buffer.put(taken);
  const auto again = buffer.take(at::zeros({4, 5}), {}, 1, 1, 4);
  const at::Tensor sorted_rows = at::argsort(taken.rows), sorted_again = at::argsort(again.rows);
  EXPECT_LT((again.chains.x.index_select(0, sorted_again) - taken.chains.x.index_select(0, sorted_rows))
                .abs()
                .max()
                .item<double>(),
            1.0 / 255 + 1e-6);
  EXPECT_EQ(buffer.state().at("x").scalar_type(), at::kByte);
  EXPECT_THROW(ReplayBuffer({.compact = true}, {}, {5}, {}, 0, INFINITY), UserError);
}

TEST(Average, FollowsTheWeights) {
  nn::Tensors p = {{"a", at::zeros({1})}};
  Average average(p);
  p["a"].fill_(1);
  average.update(p, 0.5);  // decay min(0.5, 1 / 10)
  EXPECT_NEAR(average.weights().at("a").item<double>(), 0.9, 1e-6);
  for (int i = 0; i < 20; ++i) average.update(p, 0.5);
  EXPECT_NEAR(average.weights().at("a").item<double>(), 1, 1e-6);
}

}  // namespace
}  // namespace igebm::training
