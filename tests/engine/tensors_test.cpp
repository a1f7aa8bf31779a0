#include "igebm/engine/tensors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <random>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/energy/compose.h"
#include "igebm/nn/architectures.h"
#include "tests/engine/by_autograd.h"
#include "tests/engine/networks.h"

namespace igebm::engine {
namespace {

using Case = Named;

/// Networks of every kind with sizes drawn at random.
std::vector<Case> random_networks(int count) {
  std::mt19937 random(7);
  const auto between = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  std::vector<Case> cases;
  for (int i = 0; i < count; ++i) {
    const std::int64_t classes = i % 2 == 0 ? 0 : between(2, 5), channels = between(1, 3);
    nn::ResidualOptions residual;
    residual.stem = between(1, 9);
    residual.stem_kernel = between(3, 4);
    residual.blocks = fmt::format("{}d {} {}", between(1, 9), residual.stem, between(1, 9));
    residual.activation = i % 3 == 0 ? nn::Activation::silu : nn::Activation::leaky_relu;
    cases.push_back({fmt::format("residual {}", i), nn::residual(residual, {channels, 8, 12}, {.classes = classes})});
    nn::UNetOptions unet;
    unet.groups = between(0, 2);
    unet.channels = {2 * between(1, 4), 2 * between(1, 4)};
    unet.blocks = {between(1, 2), between(1, 2)};
    cases.push_back({fmt::format("unet {}", i), nn::unet(unet, {channels, 8, 12}, {.classes = classes})});
    cases.push_back({fmt::format("mlp {}", i),
                     nn::mlp({.widths = {between(1, 9), between(1, 9)}}, {channels}, {.classes = classes})});
  }
  return cases;
}

/// Every operation, in orders that no builder makes: label gain after an activation, a value with four users, a sum of
/// a value with itself, group norm without an activation behind it, concatenation of pictures of two types.
Case odd() {
  using nn::Op;
  nn::Graph g;
  g.input_shape = {2, 8, 8};
  g.classes = 3;
  const int x = g.add({.op = Op::input});
  const int a = g.add({.op = Op::affine, .inputs = {x}, .scale = 1.5, .shift = -0.25});
  const int c =
      g.add({.op = Op::conv2d, .inputs = {a}, .name = "c", .in = 2, .out = 4, .k = 3, .padding = 1, .bias = true});
  const int act = g.add({.op = Op::silu, .inputs = {c}});
  const int gain = g.add({.op = Op::label_gain, .inputs = {act}, .name = "gain", .in = 4, .classes = 3});
  const int bias = g.add({.op = Op::label_bias, .inputs = {gain}, .name = "bias", .in = 4, .classes = 3});
  const int norm = g.add({.op = Op::group_norm, .inputs = {bias}, .name = "norm", .in = 4, .groups = 2});
  const int leaky = g.add({.op = Op::leaky_relu, .inputs = {norm}, .slope = 0.1});
  const int twice = g.add({.op = Op::add, .inputs = {leaky, leaky}});
  const int three = g.add({.op = Op::add, .inputs = {twice, leaky}});
  const int pool = g.add({.op = Op::avg_pool, .inputs = {three}, .k = 2});
  const int up = g.add({.op = Op::upsample, .inputs = {pool}, .k = 2});
  const int joined = g.add({.op = Op::concat, .inputs = {up, a}});
  const int squeezed = g.add({.op = Op::unshuffle, .inputs = {joined}, .k = 2});
  const int last =
      g.add({.op = Op::conv2d, .inputs = {squeezed}, .name = "last", .in = 24, .out = 4, .k = 2, .stride = 2});
  const int product = g.add({.op = Op::inner, .inputs = {leaky, three}});
  const int square = g.add({.op = Op::half_square, .inputs = {last}});
  const int flat = g.add({.op = Op::flatten, .inputs = {last}});
  const int layer = g.add({.op = Op::linear, .inputs = {flat}, .name = "layer", .in = 16, .out = 5, .bias = true});
  const int head = g.add(
      {.op = Op::linear, .inputs = {g.add({.op = Op::silu, .inputs = {layer}})}, .name = "head", .in = 5, .out = 1});
  const int means = g.add({.op = Op::linear,
                           .inputs = {g.add({.op = Op::mean_pool, .inputs = {act}})},
                           .name = "means",
                           .in = 4,
                           .out = 1,
                           .bias = true});
  const int sums = g.add(
      {.op = Op::linear, .inputs = {g.add({.op = Op::sum_pool, .inputs = {bias}})}, .name = "sums", .in = 4, .out = 1});
  int e = g.add({.op = Op::add, .inputs = {product, square}});
  for (const int more : {head, means, sums})
    e = g.add({.op = Op::add, .inputs = {e, g.add({.op = Op::squeeze, .inputs = {more}})}});
  return {"odd", g};
}

std::vector<Case> cases() {
  auto all = random_networks(6);
  all.push_back(odd());
  for (const Named& n : handmade_networks()) all.push_back(n);
  return all;
}

void compare(const std::vector<Case>& networks, at::Device device, at::ScalarType compute, double tolerance) {
  for (const Case& c : networks) {
    const nn::EffectiveWeights weights = random_weights(c.graph);
    const auto exact = prepare(c.graph, weights, {.engine = Kind::reference});
    const auto engine = tensor_engine(c.graph, weights, device, compute);
    for (const std::int64_t count : {1, 5}) {
      const at::Tensor x = inputs(c.graph, count), labels = random_labels(c.graph, count);
      const auto want = exact->given(labels)->energy_and_gradient(x);
      const auto energy = engine->given(labels);
      const at::Tensor mine = x.to(device, compute == at::kDouble ? at::kDouble : at::kFloat);
      const auto got = energy->energy_and_gradient(mine);
      const double scale = 1 + want.energy.abs().max().item<double>();
      EXPECT_LT((got.energy.cpu() - want.energy).abs().max().item<double>() / scale, tolerance)
          << c.name << ' ' << count;
      EXPECT_LT(relative(got.gradient, want.gradient), tolerance) << c.name << ' ' << count;
      EXPECT_EQ(got.gradient.sizes(), x.sizes());
      EXPECT_EQ(got.gradient.scalar_type(), mine.scalar_type());
      EXPECT_TRUE(got.gradient.is_contiguous());
      const at::NoGradGuard no_grad;
      EXPECT_TRUE(at::equal(energy->energy(mine), got.energy)) << c.name;
      const auto moved = energy->energy_and_gradient(0.5 * mine), again = energy->energy_and_gradient(mine);
      EXPECT_FALSE(at::equal(moved.energy, got.energy)) << c.name;
      EXPECT_LT(relative(again.gradient.cpu(), got.gradient.cpu()), 1e-2 * tolerance + 1e-12) << c.name;
    }
  }
}

TEST(TensorEngine, InDoubleItIsAutogradToRounding) {
  auto all = cases();
  for (unsigned seed = 0; seed < 60; ++seed) all.push_back(random_network(seed));
  compare(all, at::kCPU, at::kDouble, 1e-12);
}
TEST(TensorEngine, InFloat) { compare(cases(), at::kCPU, at::kFloat, 1e-4); }
// Eight bits a factor, and slopes of leaky ReLUs that fall on the other side: one decimal of so small a network.
TEST(TensorEngine, InBfloat16) { compare(cases(), at::kCPU, at::kBFloat16, 0.1); }

TEST(TensorEngine, OnACudaDevice) {
  if (cuda_devices() == 0) GTEST_SKIP() << "no CUDA device";
  compare(cases(), at::Device("cuda:0"), at::kDouble, 1e-10);
  compare(cases(), at::Device("cuda:0"), at::kFloat, 5e-3);  // convolutions in TF32
  compare(cases(), at::Device("cuda:0"), at::kBFloat16, 0.1);
}

/// Of a size that rounding averages out in.
Case smooth_unet() {
  nn::UNetOptions unet;
  unet.channels = {16, 32};
  unet.blocks = {1, 1};
  return {"unet", nn::unet(unet, {3, 16, 16}, {.classes = 3})};
}

/// Of each weight, and those that nothing depends on.
void expect_near(const Case& c, const nn::EffectiveWeights& weights, const nn::Tensors& got, const nn::Tensors& want,
                 double tolerance) {
  double largest = 0;
  for (const auto& [_, g] : want) largest = std::max(largest, g.norm().item<double>());
  for (const auto& [name, w] : weights) {
    const at::Tensor a = want.contains(name) ? want.at(name) : at::zeros_like(w),
                     b = got.contains(name) ? got.at(name).cpu().to(at::kDouble) : at::zeros_like(w);
    EXPECT_EQ(a.sizes(), b.sizes());
    EXPECT_LT((a - b).norm().item<double>(), tolerance * (a.norm().item<double>() + 1e-3 * largest) + 1e-12)
        << c.name << ' ' << name;
  }
}

/// Tangent::pull against a gradient of a gradient by autograd in double. Returns how many networks have tangents.
int compare_tangents(const std::vector<Case>& networks, at::Device device, at::ScalarType compute, double tolerance) {
  int count = 0;
  for (const Case& c : networks) {
    const nn::EffectiveWeights weights = random_weights(c.graph);
    nn::EffectiveWeights others;
    for (const auto& [name, w] : weights) others[name] = 0.9 * w;
    const auto engine = tensor_engine(c.graph, others, device, compute);
    const auto exact = compute == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor x = inputs(c.graph, 4), labels = random_labels(c.graph, 4), v = at::randn_like(x);
    // What a device records, of other inputs, labels and weights.
    if (const auto before = engine->tangent(x.to(device, exact) + 1, labels.defined() ? labels.flip(0) : labels)) {
      nn::Tensors unused;
      before->pull(v.to(device, exact) - 1, unused);
    }
    engine->refresh(weights);
    const auto tangent = engine->tangent(x.to(device, exact), labels);
    EXPECT_EQ(tangent != nullptr, !has(c.graph, nn::Op::label_gain) && !has(c.graph, nn::Op::dropout)) << c.name;
    if (!tangent) continue;
    ++count;
    nn::EffectiveWeights leaves;
    for (const auto& [name, w] : weights) leaves[name] = w.detach().requires_grad_();
    const at::Tensor leaf = x.detach().requires_grad_(), e = nn::evaluate(c.graph, leaves, leaf, labels);
    const at::Tensor slope = torch::autograd::grad({e.sum()}, {leaf}, {}, true, true)[0];
    nn::Tensors want, got;
    nn::add_gradients(slope, v, leaves, want);
    tangent->pull(v.to(device, exact), got);
    EXPECT_LT(relative(tangent->gradient, slope.detach()), tolerance) << c.name;
    EXPECT_LT(relative(tangent->energy, e.detach()), tolerance) << c.name;
    expect_near(c, weights, got, want, tolerance);
  }
  return count;
}

/// Prepared::match with a Motion against autograd in double, on a device that records after other inputs.
void compare_joint_tangents(const std::vector<Case>& networks, at::Device device, at::ScalarType compute,
                            double tolerance) {
  for (const Case& c : networks) {
    const nn::EffectiveWeights weights = random_weights(c.graph);
    const auto engine = tensor_engine(c.graph, weights, device, compute);
    const auto exact = compute == at::kDouble ? at::kDouble : at::kFloat;
    for (int repeat = 0; repeat < 2; ++repeat) {
      const at::Tensor x = inputs(c.graph, 4), labels = random_labels(c.graph, 4);
      const Joint j = random_joint(c.graph, x, labels);
      nn::Tensors want, got;
      const Matched matched = engine->match(x.to(device, exact), labels, j.target, j.coefficients, got, &j.motion);
      EXPECT_EQ(matched.gradient.defined(), !has(c.graph, nn::Op::label_gain) && !has(c.graph, nn::Op::dropout));
      if (!matched.gradient.defined()) continue;
      const at::Tensor residuals = joint_by_autograd(c.graph, weights, x, labels, j, want);
      EXPECT_LT(relative(matched.residuals, residuals), tolerance) << c.name;
      expect_near(c, weights, got, want, tolerance);
    }
  }
}

TEST(TensorEngine, TangentsInDoubleAreAGradientOfAGradient) {
  auto all = cases();
  for (unsigned seed = 0; seed < 60; ++seed) all.push_back(random_network(seed));
  EXPECT_GT(compare_tangents(all, at::kCPU, at::kDouble, 1e-10), 40);
}
TEST(TensorEngine, JointTangentsAreAutogradsInDouble) {
  auto all = cases();
  for (Named& n : built_networks()) all.push_back(std::move(n));
  for (unsigned seed = 0; seed < 60; ++seed) all.push_back(random_network(seed));
  compare_joint_tangents(all, at::kCPU, at::kDouble, 1e-6);  // of labels that nn::evaluate may take in float
}
TEST(TensorEngine, JointTangentsInFloat) { compare_joint_tangents(random_networks(6), at::kCPU, at::kFloat, 1e-3); }
TEST(TensorEngine, TangentsInFloat) { compare_tangents(random_networks(6), at::kCPU, at::kFloat, 1e-3); }
TEST(TensorEngine, TangentsInBfloat16) { compare_tangents({smooth_unet()}, at::kCPU, at::kBFloat16, 0.1); }

/// Prepared::given's Hessian products against autograd in double; how many by hand.
int compare_hessian_products(const std::vector<Case>& networks, at::Device device, at::ScalarType compute,
                             double tolerance) {
  int by_hand = 0;
  for (const Case& c : networks) {
    const nn::EffectiveWeights weights = random_weights(c.graph);
    const auto engine = tensor_engine(c.graph, weights, device, compute);
    const auto exact = compute == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor x = inputs(c.graph, 4), labels = random_labels(c.graph, 4), v = at::randn_like(x);
    const at::Tensor want = product_by_autograd(c.graph, weights, x, labels, v);
    const at::Tensor got = engine->given(labels)->hessian_product(x.to(device, exact), v.to(device, exact));
    EXPECT_EQ(got.sizes(), x.sizes());
    EXPECT_LE((got.cpu() - want).norm().item<double>(), tolerance * want.norm().item<double>()) << c.name;
    by_hand += !has(c.graph, nn::Op::label_gain) && !has(c.graph, nn::Op::dropout) ? 1 : 0;
  }
  return by_hand;
}

TEST(TensorEngine, HessianProductsAreAutogradsInDouble) {
  auto all = cases();
  for (unsigned seed = 0; seed < 60; ++seed) all.push_back(random_network(seed));
  EXPECT_GT(compare_hessian_products(all, at::kCPU, at::kDouble, 1e-10), 40);
  // By hand they are of the type that convolutions are computed in; autograd's would be exact.
  const Case c = smooth_unet();
  const nn::EffectiveWeights weights = random_weights(c.graph);
  const at::Tensor x = inputs(c.graph, 4), labels = random_labels(c.graph, 4), v = at::randn_like(x),
                   got = tensor_engine(c.graph, weights, at::kCPU, at::kBFloat16)
                             ->given(labels)
                             ->hessian_product(x.to(at::kFloat), v.to(at::kFloat));
  const double error = relative(got, product_by_autograd(c.graph, weights, x, labels, v));
  EXPECT_GT(error, 1e-4);
  EXPECT_LT(error, 0.1);
}

TEST(TensorEngine, TangentsOnACudaDevice) {
  if (cuda_devices() == 0) GTEST_SKIP() << "no CUDA device";
  compare_tangents(cases(), at::Device("cuda:0"), at::kDouble, 1e-9);
  compare_tangents(random_networks(6), at::Device("cuda:0"), at::kFloat, 2e-2);  // TF32
  compare_tangents({smooth_unet()}, at::Device("cuda:0"), at::kBFloat16, 0.1);
  compare_joint_tangents(cases(), at::Device("cuda:0"), at::kDouble, 1e-6);
  compare_hessian_products(cases(), at::Device("cuda:0"), at::kDouble, 1e-9);
}

TEST(TensorEngine, RefreshChangesTheWeightsInPlace) {
  for (const Case& c : cases()) {
    const nn::EffectiveWeights first = random_weights(c.graph);
    nn::EffectiveWeights second;
    for (const auto& [name, w] : first) second[name] = w * 0.9;
    const auto engine = tensor_engine(c.graph, first, at::kCPU, at::kDouble);
    const at::Tensor x = inputs(c.graph, 3), labels = random_labels(c.graph, 3);
    const auto energy = engine->given(labels);
    const at::Tensor before = energy->energy_and_gradient(x).gradient;
    const auto* kept = recordings(*energy);
    engine->refresh(second);
    const at::Tensor after = energy->energy_and_gradient(x).gradient;
    EXPECT_EQ(recordings(*energy), kept);
    EXPECT_LT(
        relative(after,
                 prepare(c.graph, second, {.engine = Kind::reference})->given(labels)->energy_and_gradient(x).gradient),
        1e-12);
    EXPECT_GT(relative(after, before), 0.01) << c.name;
  }
}

// What a recording refers to is lent again once its energy is gone, and never to two energies at once.
TEST(TensorEngine, RecordingsOutliveAnEnergyAndAreNotShared) {
  const Case c = odd();
  const auto engine = tensor_engine(c.graph, random_weights(c.graph), at::kCPU, at::kDouble);
  const at::Tensor ones = at::ones({4}, at::kLong), x = inputs(c.graph, 4);
  const at::Tensor expected = engine->given(0 * ones)->energy_and_gradient(x).gradient;
  auto a = engine->given(ones), b = engine->given(2 * ones);
  auto* of_a = energy::recordings(*a);
  EXPECT_NE(of_a, energy::recordings(*b));
  EXPECT_GT(relative(a->energy_and_gradient(x).gradient, b->energy_and_gradient(x).gradient), 1e-3);
  (*of_a)["kept"] = std::make_shared<int>(1);
  a.reset();
  EXPECT_NE(energy::recordings(*engine->given(at::ones({3}, at::kLong))), of_a);
  a = engine->given(0 * ones);
  EXPECT_EQ(energy::recordings(*a), of_a);
  EXPECT_EQ(energy::recordings(*a)->count("kept"), 1U);
  EXPECT_TRUE(at::equal(a->energy_and_gradient(x).gradient, expected));
}

TEST(TensorEngine, CompositionsAreRecordedWhereAllTheirPartsAre) {
  const Case c = odd();
  const at::Tensor ones = at::ones({4}, at::kLong), none = at::zeros({1}), all = at::ones({1}, at::kBool);
  const auto recorded = tensor_engine(c.graph, random_weights(c.graph), at::kCPU, at::kDouble)->given(ones),
             other = prepare(c.graph, random_weights(c.graph), {.engine = Kind::reference})->given(ones);
  for (const bool good : {true, false}) {
    const auto part = good ? recorded : other;
    const energy::Sum sum({recorded, part});
    const energy::Mixture mixture({part, recorded});
    const energy::Masked masked(part, all, none);
    const auto rescaled = energy::rescaled(part, 0.5, 2);
    for (const energy::Energy* e :
         {static_cast<const energy::Energy*>(&sum), static_cast<const energy::Energy*>(&mixture),
          static_cast<const energy::Energy*>(&masked), rescaled.get()}) {
      EXPECT_EQ(energy::recordings(*e) != nullptr, good);
      EXPECT_NE(energy::recordings(*e),
                energy::recordings(*part) == nullptr ? recordings(*recorded) : recordings(*part));
    }
  }
}

TEST(TensorEngine, LabelsOutOfRangeAreRefused) {
  const Case c = odd();
  const auto engine = tensor_engine(c.graph, random_weights(c.graph), at::kCPU, at::kDouble);
  const at::Tensor x = inputs(c.graph, 2);
  EXPECT_THROW(engine->given({})->energy_and_gradient(x), UserError);
  EXPECT_THROW(engine->given(at::tensor({0, 3}, at::kLong)), UserError);
  EXPECT_THROW(engine->given(at::tensor({0, -1}, at::kLong)), UserError);
  EXPECT_THROW(engine->given(at::tensor({0}, at::kLong))->energy_and_gradient(x), UserError);
}

TEST(TensorEngine, ConditionsAreRefusedWhereTheyDoNotFitAndElseChangeNoRecording) {
  Net n({2, 4, 4}, 0, 3);
  n.head(n.vector(nn::Op::sum_pool, n.label(nn::Op::label_bias, n.conv(n.label(nn::Op::label_planes, 0), 4, 1))));
  const auto engine = tensor_engine(n.graph, random_weights(n.graph), at::kCPU, at::kFloat);
  const at::Tensor x = inputs(n.graph, 2).to(at::kFloat);
  for (const at::Tensor& wrong : {at::ones({2, 2}), at::ones({2, 3}, at::kLong), at::ones({3})})
    EXPECT_THROW(engine->given(wrong), UserError);
  EXPECT_THROW(engine->given(at::ones({1, 3}))->energy_and_gradient(x), UserError);
  EXPECT_THROW(engine->given({})->energy_and_gradient(x), UserError);
  auto energy = engine->given(at::ones({2, 3}));
  const auto* kept = recordings(*energy);
  const at::Tensor first = energy->energy_and_gradient(x).energy;
  energy.reset();
  energy = engine->given(at::zeros({2, 3}, at::kDouble));
  EXPECT_EQ(recordings(*energy), kept);
  EXPECT_GT(relative(energy->energy_and_gradient(x).energy, first), 1e-3);
}

TEST(TensorEngine, OperationsAreThoseOfTheCpuEngineAndWithoutDropout) {
  Net n({3, 8, 8});
  const int x = n.dropout(n.conv(0, 16, 3, 1, 1), 0.5), mixed = n.attention(n.conv(x, 4, 1), n.conv(x, 4, 1), x);
  n.head(n.vector(nn::Op::sum_pool, mixed));
  const double multiplications = 64 * (27 * 16 + 2 * 16 * 4) + 16;
  const double expected = 4 * multiplications + 6 * 64 * 64 * (4 + 16);
  const nn::EffectiveWeights weights = random_weights(n.graph, at::kFloat);
  EXPECT_NEAR(prepare(n.graph, weights, {})->operations(), expected, 1e-6);
  EXPECT_NEAR(tensor_engine(n.graph, weights, at::kCPU, at::kFloat)->operations(), expected, 1e-6);
}

}  // namespace
}  // namespace igebm::engine
