#include "igebm/engine/engine.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "igebm/base/error.h"
#include "igebm/energy/compose.h"
#include "igebm/engine/cpu/kernels.h"
#include "tests/engine/networks.h"

namespace igebm::engine {
namespace {

/// The same of each input, and of those the median.
double median_relative(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor exact = b.to(at::kDouble).flatten(1);
  return ((a.to(at::kDouble).flatten(1) - exact).norm(2, 1) / exact.norm(2, 1)).median().item<double>();
}

/// The engine as it usually is.
Options kept() { return {.autotuner = kept_choices()}; }

/// Choices that name Winograd, or the direct algorithm, for everything.
std::string choices_of(const std::string& choices, const std::string& algorithm) {
  std::string out = choices;
  const std::string other = algorithm == "winograd" ? "\"direct\"" : "\"winograd\"";
  for (std::size_t at = 0; (at = out.find(other, at)) != std::string::npos;)
    out.replace(at, other.size(), "\"" + algorithm + "\"");
  return out;
}

/// The same for other kernels.
std::string with_kernels(const std::string& choices, const char* level) {
  auto json = nlohmann::ordered_json::parse(choices);
  json["kernels"] = cpu::kernels(level).name;
  return json.dump();
}

TEST(Engine, ValuesAndGradientsAreThoseOfAutogradInDouble) {
  for (const Case& c : cases()) {
    const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
    const auto exact = prepare(c.graph, in_double(weights), {.engine = Kind::reference});
    std::string measured;  // once for each network; other levels take it
    for (const char* level : {"v4-bf16", "v4", "v3", "v2"}) {
      if (std::string(cpu::kernels(level).name) != level) continue;  // not on this processor
      if (!measured.empty()) measured = with_kernels(measured, level);
      auto fast = prepare(c.graph, weights, {.choices = measured, .instructions = level, .autotuner = kept_choices()});
      for (const std::int64_t count : {1, 2, 7, 33}) {
        const at::Tensor x = inputs(c.graph, count, at::kFloat), labels = random_labels(c.graph, count);
        const auto want = exact->given(labels)->energy_and_gradient(x.to(at::kDouble));
        const auto check = [&](const energy::EnergyAndGradient& got) {
          EXPECT_LT((got.energy - want.energy).abs().max().item<double>(),
                    1e-4 * (1 + want.energy.abs().max().item<double>()))
              << c.name << " " << level << " " << count;
          // At a leaky ReLU's kink to rounding either slope is right: one input may then be further off.
          EXPECT_LT(relative(got.gradient, want.gradient), nn::is_smooth(c.graph) ? 1e-4 : 1e-2)
              << c.name << " " << level << " " << count;
          if (count >= 7) {
            EXPECT_LT(median_relative(got.gradient, want.gradient), 1e-4) << c.name << " " << level << " " << count;
          }
          EXPECT_EQ(got.gradient.sizes(), x.sizes());
        };
        check(fast->given(labels)->energy_and_gradient(x));
        const at::NoGradGuard no_grad;
        EXPECT_TRUE(at::equal(fast->given(labels)->energy(x), fast->given(labels)->energy_and_gradient(x).energy))
            << c.name;
        EXPECT_TRUE(measured.empty() || fast->choices() == measured) << c.name;
        measured = fast->choices();
        for (const char* algorithm : {"winograd", "direct"}) {
          const auto forced =
              prepare(c.graph, weights, {.choices = choices_of(fast->choices(), algorithm), .instructions = level});
          check(forced->given(labels)->energy_and_gradient(x));
          EXPECT_EQ(forced->choices(), choices_of(fast->choices(), algorithm));
        }
      }
      EXPECT_NE(fast->description().find("cpu"), std::string::npos) << c.name << ": " << fast->description();
    }
  }
}

void nothing_depends_on_the_batch_or_the_threads(Precision precision) {
  const int threads = at::get_num_threads();
  std::mt19937 random(5);
  for (const Case& c : cases()) {
    Options options{.precision = precision, .autotuner = kept_choices()};
    if (precision == Precision::usual) options.choices = random_choices(c.graph, random);
    const auto fast = prepare(c.graph, random_weights(c.graph, at::kFloat), options);
    const at::Tensor x = inputs(c.graph, 64, at::kFloat), labels = random_labels(c.graph, 64);
    at::set_num_threads(1);
    const auto one = fast->given(labels)->energy_and_gradient(x);
    at::set_num_threads(2);
    const auto two = fast->given(labels)->energy_and_gradient(x);
    EXPECT_TRUE(at::equal(one.energy, two.energy) && at::equal(one.gradient, two.gradient)) << c.name;
    for (std::int64_t i = 0; i < 64; i += 21) {
      const auto single =
          fast->given(labels.defined() ? labels.slice(0, i, i + 1) : labels)->energy_and_gradient(x.slice(0, i, i + 1));
      EXPECT_TRUE(at::equal(single.gradient[0], one.gradient[i])) << c.name;
    }
  }
  at::set_num_threads(threads);
}

TEST(Engine, NothingDependsOnTheBatchOrTheThreads) {
  nothing_depends_on_the_batch_or_the_threads(Precision::usual);
  nothing_depends_on_the_batch_or_the_threads(Precision::bf16);
}

TEST(Engine, ResultsAreWrittenWhereTheyWere) {
  const Case c = cases()[4];
  const auto energy = prepare(c.graph, random_weights(c.graph, at::kFloat), kept())->given({});
  energy::EnergyAndGradient result;
  energy_and_gradient_into(*energy, inputs(c.graph, 5, at::kFloat), result);
  const void *e = result.energy.data_ptr(), *g = result.gradient.data_ptr();
  const at::Tensor x = inputs(c.graph, 5, at::kFloat);
  energy_and_gradient_into(*energy, x, result);
  EXPECT_EQ(result.energy.data_ptr(), e);
  EXPECT_EQ(result.gradient.data_ptr(), g);
  EXPECT_TRUE(at::equal(result.gradient, energy->energy_and_gradient(x).gradient));
  energy_and_gradient_into(*energy, inputs(c.graph, 6, at::kFloat), result);
  EXPECT_EQ(result.gradient.size(0), 6);
}

TEST(Engine, CompositionsAreInPlaceAndTheirPartsBitForBit) {
  const Case c = cases()[4];
  const nn::EffectiveWeights first = random_weights(c.graph, at::kFloat);
  nn::EffectiveWeights second;
  for (const auto& [name, w] : first) second[name] = w * 0.9;
  const auto a = prepare(c.graph, first, kept())->given({}), b = prepare(c.graph, second, kept())->given({});
  const at::Tensor x = inputs(c.graph, 5, at::kFloat), free = x[0].gt(0), fixed = at::full_like(x[0], 0.25);
  const auto of = [](const energy::EnergyPtr& e, const at::Tensor& at) { return e->energy_and_gradient(at); };
  const auto masked = std::make_shared<energy::Masked>(a, free, fixed);
  const energy::Sum sum({masked, b}, {0.7, -1.5});
  energy::EnergyAndGradient result;
  energy::energy_and_gradient_into(sum, inputs(c.graph, 5, at::kFloat) + 1, result);
  const void *e = result.energy.data_ptr(), *g = result.gradient.data_ptr();
  energy::energy_and_gradient_into(sum, x, result);
  EXPECT_EQ(result.energy.data_ptr(), e);
  EXPECT_EQ(result.gradient.data_ptr(), g);
  const auto [ea, ga] = of(a, at::where(free, x, fixed));
  const auto [eb, gb] = of(b, x);
  EXPECT_TRUE(at::equal(result.energy, (0.7 * ea).add(eb, -1.5)));
  EXPECT_TRUE(at::equal(result.gradient, (0.7 * at::where(free, ga, 0)).add(gb, -1.5)));
  EXPECT_TRUE(at::equal(result.gradient, sum.energy_and_gradient(x).gradient));
}

TEST(Engine, RefreshTakesNewWeightsAndEnergiesGivenOutSeeThem) {
  const nn::Graph graph = cases()[0].graph;
  const nn::EffectiveWeights first = random_weights(graph, at::kFloat);
  nn::EffectiveWeights second;
  for (const auto& [name, w] : first) second[name] = w * 0.9;
  const auto fast = prepare(graph, first, kept());
  const auto energy = fast->given({});
  const at::Tensor x = inputs(graph, 3, at::kFloat);
  const at::Tensor before = energy->energy_and_gradient(x).gradient;
  fast->refresh(second);
  const at::Tensor after = energy->energy_and_gradient(x).gradient;
  EXPECT_LT(
      relative(after, prepare(graph, second, {.engine = Kind::reference})->given({})->energy_and_gradient(x).gradient),
      1e-4);
  EXPECT_GT(relative(after, before), 0.01);
}

TEST(Engine, WhatItDoesNotKnowIsLeftToAutogradAndSaid) {
  nn::Graph graph;
  graph.input_shape = {1, 8, 8};
  const int x = graph.add({.op = nn::Op::input});
  const int y = graph.add({.op = nn::Op::conv2d, .inputs = {x}, .name = "c", .in = 1, .out = 2, .k = 5, .padding = 2});
  graph.add({.op = nn::Op::half_square, .inputs = {y}});
  nn::Network network(graph, 1);
  const auto prepared = prepare(graph, network.effective_weights(), kept());
  EXPECT_NE(prepared->description().find("autograd (the fast engine does not know conv2d"), std::string::npos)
      << prepared->description();
  EXPECT_EQ(prepared->given({})->energy_and_gradient(at::ones({2, 1, 8, 8})).gradient.size(0), 2);
}

TEST(Engine, ParameterGradientsAreThoseOfAutogradInDouble) {
  std::mt19937 random(6);
  for (const Case& c : cases()) {
    const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
    const auto exact = prepare(c.graph, in_double(weights), {.engine = Kind::reference});
    for (const char* level : {"v2", "v3", "v4"}) {
      if (std::string(cpu::kernels(level).name) != level) continue;
      const auto fast =
          prepare(c.graph, weights, {.choices = random_choices(c.graph, random, level), .instructions = level});
      for (const std::int64_t count : {1, 5, 18}) {
        const at::Tensor x = inputs(c.graph, count, at::kFloat), labels = random_labels(c.graph, count);
        const at::Tensor coefficients = at::randn({count}),
                         slopes = count == 5 ? at::Tensor() : 0.1 * at::randn({count});
        nn::Tensors want, got;
        const at::Tensor energies =
            exact->parameter_gradient(x.to(at::kDouble), labels, coefficients.to(at::kDouble),
                                      slopes.defined() ? slopes.to(at::kDouble) : at::Tensor(), want);
        EXPECT_LT(relative(fast->parameter_gradient(x, labels, coefficients, slopes, got), energies), 1e-4) << c.name;
        double difference = 0, size = 0;
        for (const auto& [name, g] : want) size += g.square().sum().item<double>();
        ASSERT_EQ(got.size(), want.size()) << c.name;
        for (const auto& [name, g] : want) {
          ASSERT_EQ(got.at(name).sizes(), g.sizes()) << c.name << " " << name;
          // A bias before its own channel's norm has the gradient 0, and what rounding leaves of it.
          EXPECT_LT((got.at(name) - g).norm().item<double>(), 1e-3 * g.norm().item<double>() + 1e-5 * std::sqrt(size))
              << c.name << " " << name << " " << level;
          difference += (got.at(name) - g).square().sum().item<double>();
        }
        EXPECT_LT(std::sqrt(difference / size), 1e-4) << c.name << " " << level << " " << count;
        nn::Tensors twice = want;
        for (auto& [name, g] : twice) g = got.at(name).clone();
        fast->parameter_gradient(x, labels, coefficients, slopes, twice);
        for (const auto& [name, g] : twice) EXPECT_TRUE(at::equal(g, 2 * got.at(name))) << c.name << " " << name;
      }
    }
  }
}

/// Values, gradients and parameters' gradients of `graph` against those of autograd in double.
void compare(const std::string& name, const nn::Graph& graph, Prepared& fast, const nn::EffectiveWeights& weights,
             std::int64_t count) {
  const auto exact = prepare(graph, in_double(weights), {.engine = Kind::reference});
  const at::Tensor x = inputs(graph, count, at::kFloat), labels = random_labels(graph, count);
  const at::Tensor wide = x.to(at::kDouble), c = at::randn({count}), s = 0.1 * at::randn({count});
  const auto want = exact->given(labels)->energy_and_gradient(wide);
  const auto got = fast.given(labels)->energy_and_gradient(x);
  EXPECT_LT((got.energy - want.energy).abs().max().item<double>(), 1e-4 * (1 + want.energy.abs().max().item<double>()))
      << name;
  EXPECT_LT((got.gradient - want.gradient).norm().item<double>(), 1e-4 * want.gradient.norm().item<double>() + 1e-6)
      << name;
  nn::Tensors of_exact, of_fast;
  exact->parameter_gradient(wide, labels, c.to(at::kDouble), s.to(at::kDouble), of_exact);
  fast.parameter_gradient(x, labels, c, s, of_fast);
  ASSERT_EQ(of_fast.size(), of_exact.size()) << name;
  double size = 0;
  for (const auto& [_, g] : of_exact) size += g.square().sum().item<double>();
  for (const auto& [parameter, g] : of_exact) {
    EXPECT_LT((of_fast.at(parameter) - g).norm().item<double>(),
              1e-3 * g.norm().item<double>() + 1e-4 * std::sqrt(size))
        << name << " " << parameter;
  }
}

TEST(Engine, RandomNetworksInRandomSubBatches) {
  std::mt19937 random(3);
  for (unsigned seed = 0; seed < 300; ++seed) {
    const Named n = random_network(seed);
    const nn::EffectiveWeights weights = random_weights(n.graph, at::kFloat);
    const char* level = std::array{"", "v2", "v3", "v4"}[seed % 4];
    const auto fast =
        prepare(n.graph, weights, {.choices = random_choices(n.graph, random, level), .instructions = level});
    ASSERT_EQ(fast->description().find("autograd"), std::string::npos) << n.name << ": " << fast->description();
    EXPECT_FALSE(fast->choices().empty()) << n.name;
    const auto count = static_cast<std::int64_t>(1 + random() % 9);
    compare(n.name, n.graph, *fast, weights, count);
    // The same algorithms in other sub-batches: the same to rounding, and of a sample bit for bit.
    auto choices = nlohmann::json::parse(fast->choices());
    choices["samples"] = 1 + random() % 7;
    for (auto& [height, chunk] : choices["chunks"].items()) chunk = 1 + random() % 3;
    const auto other = prepare(n.graph, weights, {.choices = choices.dump(), .instructions = level});
    const at::Tensor x = inputs(n.graph, count, at::kFloat), labels = random_labels(n.graph, count);
    EXPECT_TRUE(at::equal(fast->given(labels)->energy_and_gradient(x).gradient,
                          other->given(labels)->energy_and_gradient(x).gradient))
        << n.name;
  }
}

TEST(Engine, ConvolutionsOfEverySizeAreRightAndMostAreFast) {
  std::mt19937 random(4);
  int all = 0, fast = 0;
  for (const std::int64_t k : {1, 2, 3, 4, 5}) {
    for (const std::int64_t stride : {1, 2, 3}) {
      for (const std::int64_t padding : {0, 1, 2}) {
        for (const auto [side, end] : std::vector<std::array<std::int64_t, 2>>{
                 {1, 0}, {2, 0}, {3, 0}, {5, 0}, {7, 0}, {8, 0}, {1, 1}, {5, 1}, {6, 1}, {7, 1}}) {
          Net n({2, side, side + side % 3});
          const int x = n.elementwise(nn::Op::silu, n.conv(0, 5, 1));
          if (!n.fits(x, k, padding, end)) continue;
          n.head(n.vector(nn::Op::flatten, n.elementwise(nn::Op::silu, n.conv(x, 6, k, stride, padding, end))));
          const nn::EffectiveWeights weights = random_weights(n.graph, at::kFloat);
          const auto prepared = prepare(n.graph, weights, {.choices = random_choices(n.graph, random)});
          const std::string name =
              fmt::format("k {} stride {} padding {} and {} side {}", k, stride, padding, end, side);
          compare(name, n.graph, *prepared, weights, 3);
          const bool is_fast = prepared->description().find("autograd") == std::string::npos;
          const bool usual = (k == 1 && padding + end == 0) || (k == 3 && padding == 1 && end == 0) ||
                             (k == 4 && stride == 2 && padding == 1) || (k == stride && padding + end == 0);
          EXPECT_TRUE(is_fast || !usual) << name << " " << prepared->description();
          ++all, fast += is_fast ? 1 : 0;
        }
      }
    }
  }
  EXPECT_GT(fast, all / 2) << all;
}

TEST(Engine, OtherLabelsOrConditionsAreTakenAsTheyAre) {
  for (const bool numbers : {false, true}) {
    Net n({2, 8, 8}, numbers ? 0 : 4, numbers ? 4 : 0);
    const int x = n.conv(n.label(nn::Op::label_planes, 0), 20, 3, 1, 1);
    const int y = n.elementwise(nn::Op::silu, n.label(nn::Op::label_gain, n.label(nn::Op::label_bias, x)));
    n.head(n.vector(nn::Op::sum_pool, n.attend(y, y, 4, 8)));
    const nn::EffectiveWeights weights = random_weights(n.graph, at::kFloat);
    const auto exact = prepare(n.graph, weights, {.engine = Kind::reference}), fast = prepare(n.graph, weights, kept());
    const at::Tensor in = inputs(n.graph, 5, at::kFloat);
    std::string choices;
    at::Tensor last;
    for (int i = 0; i < 4; ++i) {
      const at::Tensor labels = random_labels(n.graph, 5);
      const at::Tensor got = fast->given(labels)->energy_and_gradient(in).gradient;
      EXPECT_LT(relative(got, exact->given(labels)->energy_and_gradient(in).gradient), 1e-4);
      if (last.defined()) {
        EXPECT_GT(relative(got, last), 1e-3);
        EXPECT_EQ(fast->choices(), choices);
      }
      last = got;
      choices = fast->choices();
    }
    // Two energies of one engine at once, each with its own.
    const at::Tensor first = random_labels(n.graph, 5), second = random_labels(n.graph, 5);
    const auto a = fast->given(first), b = fast->given(second);
    const at::Tensor before = a->energy_and_gradient(in).gradient;
    EXPECT_GT(relative(b->energy_and_gradient(in).gradient, before), 1e-3);
    EXPECT_TRUE(at::equal(a->energy_and_gradient(in).gradient, before));
  }
}

TEST(Engine, AClassIsTheConditionThatIsOneHot) {
  Net n({2, 6, 6}, 4);
  int x = n.conv(n.label(nn::Op::label_planes, 0), 20, 3, 1, 1);
  x = n.elementwise(nn::Op::silu, n.label(nn::Op::label_gain, n.label(nn::Op::label_bias, x)));
  n.head(n.vector(nn::Op::flatten, x));
  nn::Graph other = n.graph;
  std::swap(other.classes, other.conditions);
  const nn::EffectiveWeights weights = random_weights(n.graph, at::kFloat);
  const at::Tensor in = inputs(n.graph, 6, at::kFloat), labels = random_labels(n.graph, 6), ones = at::ones({6});
  const at::Tensor rows = at::one_hot(labels, 4).to(at::kFloat);
  const auto by_class = prepare(n.graph, weights, kept()), by_numbers = prepare(other, weights, kept());
  EXPECT_LT(relative(by_numbers->given(rows)->energy_and_gradient(in).gradient,
                     by_class->given(labels)->energy_and_gradient(in).gradient),
            1e-5);
  nn::Tensors a, b;
  by_class->parameter_gradient(in, labels, ones, {}, a);
  by_numbers->parameter_gradient(in, rows, ones, {}, b);
  for (const auto& [name, g] : a) EXPECT_LT(relative(b.at(name), g), 1e-5) << name;
}

TEST(Engine, DropoutIsForParametersAndOnlyWhereAskedFor) {
  Net n({2, 6, 6}), without({2, 6, 6});
  for (Net* net : {&n, &without}) {
    int x = net->elementwise(nn::Op::silu, net->conv(0, 20, 3, 1, 1));
    if (net == &n) x = net->dropout(x, 0.4);
    net->head(net->vector(nn::Op::flatten, net->elementwise(nn::Op::silu, net->conv(x, 20, 3, 1, 1))));
  }
  const nn::EffectiveWeights weights = random_weights(n.graph, at::kFloat);
  nn::EffectiveWeights same;  // the same weights by the other graph's names
  std::vector<std::string> names;
  for (const nn::Node& node : n.graph.nodes) {
    if (!node.name.empty()) names.push_back(node.name);
  }
  std::size_t next = 0;
  for (nn::Node& node : without.graph.nodes) {
    if (!node.name.empty()) node.name = names[next++];
  }
  for (std::size_t i = 0, j = 0; i < n.graph.nodes.size(); ++i) {
    if (n.graph.nodes[i].op != nn::Op::dropout) without.graph.nodes[j++].bias = n.graph.nodes[i].bias;
  }
  const auto fast = prepare(n.graph, weights, kept()), plain = prepare(without.graph, weights, kept());
  EXPECT_FALSE(fast->derives_parameters());
  EXPECT_TRUE(plain->derives_parameters());
  EXPECT_EQ(fast->description().find("autograd"), std::string::npos) << fast->description();
  const at::Tensor x = inputs(n.graph, 5, at::kFloat), c = at::randn({5});
  compare("dropout", n.graph, *fast, weights, 5);
  EXPECT_LT(
      relative(fast->given({})->energy_and_gradient(x).gradient, plain->given({})->energy_and_gradient(x).gradient),
      1e-5);
  const nn::Dropout dropout{7, 3}, later{7, 4};
  const auto gradient = [&](Prepared& p, const nn::Dropout* d) {
    nn::Tensors into;
    p.parameter_gradient(x, {}, c, {}, into, d);
    return into;
  };
  const nn::Tensors masked = gradient(*fast, &dropout), again = gradient(*fast, &dropout),
                    bare = gradient(*fast, nullptr), next_step = gradient(*fast, &later),
                    exact = gradient(*prepare(n.graph, weights, {.engine = Kind::reference}), &dropout),
                    unmasked = gradient(*plain, &dropout), unasked = gradient(*plain, nullptr);
  for (const auto& [name, g] : masked) {
    EXPECT_TRUE(at::equal(g, again.at(name))) << name;
    EXPECT_LT(relative(g, exact.at(name)), 1e-5) << name;
    EXPECT_LT(relative(bare.at(name), unasked.at(name)), 1e-5) << name;
    EXPECT_TRUE(at::equal(unmasked.at(name), unasked.at(name))) << name;
  }
  const std::string first = n.graph.nodes[1].name + ".weight";
  EXPECT_GT(relative(masked.at(first), bare.at(first)), 0.05);
  EXPECT_GT(relative(masked.at(first), next_step.at(first)), 0.05);
}

TEST(Engine, ConditionsOfAnotherShapeAreRefused) {
  Net n({2, 4, 4}, 0, 3);
  n.head(n.vector(nn::Op::sum_pool, n.label(nn::Op::label_bias, n.conv(0, 4, 3, 1, 1))));
  const auto fast = prepare(n.graph, random_weights(n.graph, at::kFloat), kept());
  const at::Tensor x = inputs(n.graph, 2, at::kFloat);
  EXPECT_NO_THROW(fast->given(at::ones({2, 3}))->energy_and_gradient(x));
  EXPECT_NO_THROW(fast->given(at::ones({2, 3}, at::kDouble))->energy_and_gradient(x));
  for (const at::Tensor& wrong : {at::Tensor(), at::ones({2, 2}), at::ones({1, 3}), at::ones({2, 3}, at::kLong)})
    EXPECT_THROW(fast->given(wrong)->energy_and_gradient(x), UserError);
}

TEST(Engine, LabelsOutOfRangeAreRefused) {
  const nn::Graph graph = cases()[1].graph;
  nn::Network network(graph, 1);
  const auto fast = prepare(graph, network.effective_weights(), kept());
  const at::Tensor x = inputs(graph, 2, at::kFloat);
  EXPECT_THROW(fast->given({})->energy_and_gradient(x), UserError);
  EXPECT_THROW(fast->given(at::tensor({0, 5}, at::kLong))->energy_and_gradient(x), UserError);
  EXPECT_THROW(fast->given(at::tensor({0}, at::kLong))->energy_and_gradient(x), UserError);
}

TEST(Engine, CompositionsOfPreparedEnergiesAgreeWithAutograd) {
  const nn::Graph graph = cases()[4].graph;
  const nn::EffectiveWeights weights = random_weights(graph, at::kFloat);
  nn::EffectiveWeights other = weights;
  for (auto& [name, w] : other) w = w * 0.8;
  const auto both = [&](Kind engine) {
    const auto a = prepare(graph, weights, {.engine = engine})->given({});
    const auto b = prepare(graph, other, {.engine = engine})->given({});
    return std::make_shared<energy::Mixture>(
        std::vector<energy::EnergyPtr>{std::make_shared<energy::Sum>(std::vector<energy::EnergyPtr>{a, b}), b});
  };
  const at::Tensor x = inputs(graph, 5, at::kFloat);
  EXPECT_LT(relative(both(Kind::fast)->energy_and_gradient(x).gradient,
                     both(Kind::reference)->energy_and_gradient(x).gradient),
            1e-4);
}

}  // namespace
}  // namespace igebm::engine
