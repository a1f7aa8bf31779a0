#include "igebm/nn/weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "igebm/base/error.h"
#include "igebm/nn/architectures.h"

namespace igebm::nn {
namespace {

TEST(Weights, ShapesAreThoseOfANetwork) {
  const std::vector<std::int64_t> picture = {2, 8, 8};
  for (const Graph& graph :
       {residual({.stem = 8, .blocks = "8d 16", .attention = true}, picture, {.classes = 3}),
        strided({.stem = 4, .channels = {4, 6}, .dense = 8, .label_planes = false}, picture, {.conditions = 3}),
        unet({.channels = {8, 8}, .blocks = {1, 1}, .groups = 4}, picture, {.noise_features = 4}),
        classifier({.channels = {4}, .features = 5}, picture, 3), mlp({{4}}, {2})}) {
    const Network network(graph, 1);
    const auto shapes_of = [](const Tensors& tensors) {
      Shapes all;
      for (const auto& [name, t] : tensors) all[name] = t.sizes().vec();
      return all;
    };
    EXPECT_EQ(parameter_shapes(graph), shapes_of(network.parameters()));
    EXPECT_EQ(buffer_shapes(graph), shapes_of(network.buffers()));
    EXPECT_EQ(parameter_count(graph), network.parameter_count());
  }
}

TEST(Weights, ShapesThatDoNotFitTogetherAreRefused) {
  Graph graph = mlp({{4}}, {2});
  graph.input_shape = {3};
  EXPECT_THROW(parameter_shapes(graph), UserError);
}

}  // namespace
}  // namespace igebm::nn
