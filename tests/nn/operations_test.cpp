#include "igebm/nn/operations.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <set>
#include <stdexcept>

#include "igebm/base/error.h"
#include "igebm/nn/graph.h"
#include "tests/nn/operations.h"

namespace igebm::nn {
namespace {

TEST(Operations, AreNamedOnceAndInTheOrderOfOp) {
  std::set<std::string> names;
  std::size_t i = 0;
  for (const Operation& o : operations()) {
    EXPECT_EQ(static_cast<std::size_t>(o.op), i++);
    EXPECT_EQ(&operation(o.op), &o);
    EXPECT_TRUE(names.insert(o.name).second) << o.name;
    EXPECT_NE(std::string(o.value), "") << o.name;
  }
}

TEST(Operations, OneThatIsNotInTheTableOrThatABackendDoesNotHandleIsRefusedByName) {
  const auto said = [](const auto& act) -> std::string {
    try {
      act();
    } catch (const std::logic_error& e) {
      return e.what();
    }
    return "";
  };
  Graph graph = around(Op::silu, true);
  graph.nodes[1].op = static_cast<Op>(operations().size());
  EXPECT_EQ(said([&] { shapes(graph); }),
            "operation number " + std::to_string(operations().size()) + ": not in the table");
  EXPECT_EQ(said([] { unhandled(Op::unshuffle, "engine on the moon", "gradient of the "); }),
            "engine on the moon: has no gradient of the operation unshuffle");
}

TEST(Operations, AreWrittenAndReadBackAndRefuseAnotherNumberOfInputs) {
  for (const Operation& o : operations()) {
    Graph graph = around(o.op, true);
    EXPECT_EQ(to_json(graph_from_json(to_json(graph))), to_json(graph)) << o.name;
    for (Node& n : graph.nodes) {
      if (n.op != o.op) continue;
      n.inputs.push_back(0);
      break;
    }
    try {
      shapes(graph);
      ADD_FAILURE() << o.name;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(o.name), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("inputs"), std::string::npos) << e.what();
    }
  }
}

// Of x and of every parameter that the table tells, in double.
TEST(Operations, GradientsAreFiniteDifferences) {
  for (const Operation& o : operations()) {
    for (const bool within : {false, true}) {
      const Graph graph = around(o.op, within);
      EffectiveWeights leaves = weights_of(graph);
      leaves["x"] = at::randn({3, 2, 4, 4}, at::kDouble);
      for (auto& [_, t] : leaves) t.requires_grad_();
      const at::Tensor labels = graph.classes > 0 ? at::tensor({0, 2, 1}, at::kLong) : at::Tensor();
      const auto energy = [&](const EffectiveWeights& of) { return evaluate(graph, of, of.at("x"), labels).sum(); };
      Tensors gradients;
      add_gradients(energy(leaves), at::ones({}, at::kDouble), leaves, gradients);
      for (const Node& n : graph.nodes) {
        for (const Parameter& p : operation(n.op).parameters(n)) {
          const std::string name = n.name + "." + p.name;
          ASSERT_EQ(leaves.at(name).sizes(), at::IntArrayRef(p.shape)) << name;
          EXPECT_TRUE(gradients.contains(name)) << o.name << ": " << name << " is not read";
        }
      }
      const at::NoGradGuard no_grad;
      for (const auto& [name, g] : gradients) {
        const at::Tensor direction = at::randn_like(g);
        constexpr double h = 1e-5;
        const auto moved = [&](double s) {
          EffectiveWeights at_place = leaves;
          at_place[name] = leaves.at(name) + s * direction;
          return energy(at_place).item<double>();
        };
        const double expected = (g * direction).sum().item<double>();
        EXPECT_NEAR((moved(h) - moved(-h)) / (2 * h), expected, 1e-6 * (1 + std::fabs(expected)))
            << o.name << (within ? " within: " : ": ") << name;
      }
    }
  }
}

}  // namespace
}  // namespace igebm::nn
