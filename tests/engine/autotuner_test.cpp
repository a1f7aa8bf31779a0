#include "igebm/engine/autotuner.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "igebm/engine/engine.h"
#include "tests/engine/networks.h"

namespace igebm::engine {
namespace {

/// With layers that have a choice of algorithms, forwards and backwards.
nn::Graph graph_of(int layers) {
  Net n({3, 8, 8});
  int x = n.elementwise(nn::Op::silu, n.conv(0, 16, 3, 1, 1));
  for (int i = 0; i < layers; ++i) x = n.elementwise(nn::Op::silu, n.conv(x, 16, 3, 1, 1));
  n.head(n.vector(nn::Op::sum_pool, x));
  return n.graph;
}

TEST(Autotuner, MeasuresOnceForEachKey) {
  Autotuner tuner;
  int measured = 0;
  const auto choose = [&](const char* key) {
    return tuner.choose(key, [&] { return Tuned{.samples = ++measured}; }).samples;
  };
  EXPECT_EQ(choose("a"), 1);
  EXPECT_EQ(choose("b"), 2);
  EXPECT_EQ(choose("a"), 1);
  EXPECT_EQ(choose("b"), 2);
  Autotuner other;
  EXPECT_EQ(other.choose("a", [] { return Tuned{.samples = 7}; }).samples, 7);
}

// Two that measure the same at once wait for one another within: a lock held meanwhile would keep one of them out.
TEST(Autotuner, HoldsNoLockWhileItMeasuresAndAllGetTheSame) {
  Autotuner tuner;
  std::mutex mutex;
  std::condition_variable arrived;
  int measuring = 0, got[2] = {0, 0};
  const auto run = [&](int which) {
    got[which] =
        tuner
            .choose("key",
                    [&] {
                      std::unique_lock lock(mutex);
                      ++measuring;
                      arrived.notify_all();
                      EXPECT_TRUE(arrived.wait_for(lock, std::chrono::seconds(20), [&] { return measuring == 2; }));
                      return Tuned{.samples = which + 1};
                    })
            .samples;
  };
  std::thread first(run, 0), second(run, 1);
  first.join();
  second.join();
  EXPECT_EQ(measuring, 2);
  EXPECT_EQ(got[0], got[1]);
  EXPECT_TRUE(got[0] == 1 || got[0] == 2);
}

TEST(Autotuner, EnginesThatShareItMeasureOnceAndThoseOfOtherNetworksMeasureTheirOwn) {
  const nn::Graph one = graph_of(1), other = graph_of(2);
  const auto tuner = std::make_shared<Autotuner>();
  const at::Tensor x = inputs(one, 64, at::kFloat), c = at::ones({64});
  const auto choices = [&](const nn::Graph& g) {
    const auto fast = prepare(g, random_weights(g, at::kFloat), {.autotuner = tuner});
    fast->given({})->energy_and_gradient(x);
    nn::Tensors into;
    fast->parameter_gradient(x, {}, c, {}, into);
    return network_choices(fast->choices());
  };
  const NetworkChoices first = choices(one), again = choices(one), different = choices(other);
  EXPECT_EQ(to_json(first), to_json(again));
  EXPECT_GT(first.training_samples, 0);
  EXPECT_EQ(first.f32.algorithms.size(), 2U);  // forwards and the gradient's
  EXPECT_EQ(different.f32.algorithms.size(), 4U) << "its second layer's too";
}

// Engines are for one caller each; what they share is for all.
TEST(Autotuner, EnginesInSeveralThreadsShareIt) {
  const nn::Graph graph = built_networks()[4].graph;
  const nn::EffectiveWeights weights = random_weights(graph, at::kFloat);
  const at::Tensor x = inputs(graph, 6, at::kFloat);
  const at::Tensor want = prepare(graph, in_double(weights), {.engine = Kind::reference})
                              ->given({})
                              ->energy_and_gradient(x.to(at::kDouble))
                              .gradient;
  const auto tuner = std::make_shared<Autotuner>();
  at::Tensor got[2];
  const auto run = [&](int which) {
    at::set_num_threads(1);
    got[which] = prepare(graph, weights, {.autotuner = tuner})->given({})->energy_and_gradient(x).gradient;
  };
  std::thread first(run, 0), second(run, 1);
  first.join();
  second.join();
  EXPECT_LT(relative(got[0], want), 1e-4);
  EXPECT_TRUE(at::equal(got[0], got[1]));
}

TEST(Autotuner, ChoicesAreReadAsTheyAreWritten) {
  const std::string all =
      R"({"kernels":"v3","precision":"auto","samples":8,"chunks":{"2":1,"14":4},"algorithms":{"b'":"direct","a":"winograd"},)"
      R"("training_samples":16,"tiles":{"samples":64,"chunks":{},"algorithms":{}},"chosen":"tiles"})";
  EXPECT_EQ(to_json(network_choices(all)), all);
  const NetworkChoices read = network_choices(all);
  EXPECT_EQ(read.f32.chunks.at(14), 4);
  EXPECT_EQ(read.f32.algorithms[0].first, "b'");
  EXPECT_EQ(read.tiles.samples, 64);
  // Of a version before tiles, and of a network of which only the parameters' gradient was measured.
  EXPECT_EQ(network_choices(R"({"kernels":"v3","precision":"f32","samples":8,"chunks":{},"algorithms":{}})").chosen,
            "");
  EXPECT_FALSE(network_choices(R"({"kernels":"v3","precision":"f32","training_samples":2})").f32);
  for (const char* wrong : {"", "[]", R"({"kernels":"v3"})",
                            R"({"kernels":"v3","precision":"f32","samples":0,"chunks":{},"algorithms":{}})",
                            R"({"kernels":"v3","precision":"f32","samples":5000,"chunks":{},"algorithms":{}})",
                            R"({"kernels":"v3","precision":"f32","samples":8,"chunks":{"x":1},"algorithms":{}})",
                            R"({"kernels":"v3","precision":"f32","samples":8,"chunks":{},"algorithms":{"a":1}})",
                            R"({"kernels":"v3","precision":"f64","samples":8,"chunks":{},"algorithms":{}})"})
    EXPECT_ANY_THROW(network_choices(wrong)) << wrong;
}

// What does not fit is measured.
TEST(Autotuner, ChoicesOfAnotherNetworkOrThatAreNoneAreNotTaken) {
  const nn::Graph graph = graph_of(1);
  const nn::EffectiveWeights weights = random_weights(graph, at::kFloat);
  const at::Tensor x = inputs(graph, 4, at::kFloat);
  std::mt19937 random(1);
  const std::string other = random_choices(built_networks()[0].graph, random);
  for (const std::string& given : {std::string("half a file"), other}) {
    const auto fast = prepare(graph, weights, {.choices = given});
    EXPECT_EQ(fast->choices(), "") << given;
    fast->given({})->energy_and_gradient(x);
    EXPECT_NE(fast->choices(), "") << given;
  }
}

}  // namespace
}  // namespace igebm::engine
