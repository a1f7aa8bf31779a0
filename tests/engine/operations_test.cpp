#include "igebm/nn/operations.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "igebm/engine/engine.h"
#include "igebm/engine/tensors.h"
#include "tests/engine/networks.h"
#include "tests/nn/operations.h"

/// Each operation of the table by every engine: as autograd does it in double, or left to autograd by name.
namespace igebm::engine {
namespace {

using nn::Op;

class EveryOperation : public testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(Operations, EveryOperation, testing::Bool(),
                         [](const auto& within) { return within.param ? "Within" : "OnTheInput"; });

TEST_P(EveryOperation, OnTensorsInDoubleIsAutogradToRounding) {
  for (const nn::Operation& o : nn::operations()) {
    const nn::Graph graph = nn::around(o.op, GetParam());
    const nn::EffectiveWeights weights = nn::weights_of(graph);
    const at::Tensor x = inputs(graph, 5), labels = random_labels(graph, 5);
    const auto want = prepare(graph, weights, {.engine = Kind::reference})->given(labels)->energy_and_gradient(x);
    const auto got = tensor_engine(graph, weights, at::kCPU, at::kDouble)->given(labels)->energy_and_gradient(x);
    EXPECT_LT(relative(got.energy, want.energy), 1e-12) << o.name;
    EXPECT_LT(relative(got.gradient, want.gradient), 1e-12) << o.name;
  }
}

/// What the engine on the CPU leaves to autograd.
bool left_to_autograd(Op op, bool within) { return within && (op == Op::affine || op == Op::unshuffle); }

TEST_P(EveryOperation, OnTheCpuIsAutogradInDoubleOrLeftToItByName) {
  std::mt19937 random(9);
  for (const nn::Operation& o : nn::operations()) {
    const nn::Graph graph = nn::around(o.op, GetParam());
    const nn::EffectiveWeights exact = nn::weights_of(graph);
    nn::EffectiveWeights weights;
    for (const auto& [name, w] : exact) weights[name] = w.to(at::kFloat);
    const auto reference = prepare(graph, exact, {.engine = Kind::reference}),
               fast = prepare(graph, weights, {.choices = random_choices(graph, random)});
    const std::string said = fast->description();
    EXPECT_EQ(said.starts_with(std::string("autograd (the fast engine does not know ") + o.name),
              left_to_autograd(o.op, GetParam()))
        << o.name << ": " << said;
    EXPECT_EQ(said.starts_with("autograd"), left_to_autograd(o.op, GetParam())) << o.name << ": " << said;
    const at::Tensor x = inputs(graph, 5), labels = random_labels(graph, 5);
    const auto want = reference->given(labels)->energy_and_gradient(x);
    const auto got = fast->given(labels)->energy_and_gradient(x.to(at::kFloat));
    EXPECT_LT(relative(got.energy, want.energy), 1e-4) << o.name;
    EXPECT_LT(relative(got.gradient, want.gradient), 1e-4) << o.name;
    nn::Tensors wanted, made;
    const at::Tensor c = at::randn({5}, at::kDouble);
    reference->parameter_gradient(x, labels, c, {}, wanted);
    fast->parameter_gradient(x.to(at::kFloat), labels, c, {}, made);
    EXPECT_EQ(fast->derives_parameters(), !left_to_autograd(o.op, GetParam()) && o.op != Op::dropout) << o.name;
    ASSERT_EQ(made.size(), wanted.size()) << o.name;
    for (const auto& [name, g] : wanted) EXPECT_LT(relative(made.at(name), g), 1e-3) << o.name << ": " << name;
  }
}

}  // namespace
}  // namespace igebm::engine
