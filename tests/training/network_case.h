#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "igebm/nn/network.h"
#include "igebm/training/objective.h"

namespace igebm::training {

constexpr std::int64_t first_stream = 1000, first_chain = 2000;

/// A network with random weights everywhere, those that start at 0 too, and its objective's step.
struct NetworkCase {
  NetworkCase(const nn::Graph& g, at::ScalarType type, engine::Kind engine = engine::Kind::reference) : graph(g) {
    const nn::Network network(graph, 2);
    at::manual_seed(5);
    for (const auto& [name, p] : network.parameters())
      weights[name] = p.detach().to(type) + 0.1 * at::randn(p.sizes(), type);
    frozen = engine::prepare(graph, weights, {.engine = engine});
  }

  Step step(const at::Tensor& data, const at::Tensor& labels = {}) const {
    return {graph, weights, *frozen, data, labels, /*seed=*/3, /*step=*/4, first_stream, first_chain};
  }
  at::Tensor energy(const at::Tensor& x, const at::Tensor& labels = {}) const {
    return nn::evaluate(graph, weights, x, labels);
  }

  /// `gradients` against central differences of `loss`, which sees the weights moved, tensor by tensor in a random
  /// direction.
  void expect_gradients(const nn::Tensors& gradients, const std::function<double()>& loss) {
    constexpr double h = 1e-5;
    for (const auto& entry : nn::Tensors(weights)) {
      const std::string& name = entry.first;
      const at::Tensor& w = entry.second;
      const at::Tensor direction = at::randn_like(w);
      const auto moved = [&](double s) {
        weights[name] = w + s * direction;
        frozen->refresh(weights);
        return loss();
      };
      const double ahead = moved(h), behind = moved(-h);
      moved(0);
      const auto found = gradients.find(name);
      const double expected = found == gradients.end() ? 0 : (found->second * direction).sum().item<double>();
      EXPECT_NEAR((ahead - behind) / (2 * h), expected, 1e-5 * (1 + std::fabs(expected))) << name;
    }
  }

  nn::Graph graph;
  nn::EffectiveWeights weights;
  std::shared_ptr<engine::Prepared> frozen;
};

/// |a - b| / |b| over all tensors.
inline double distance(const nn::Tensors& a, const nn::Tensors& b) {
  double difference = 0, size = 0;
  for (const auto& [name, g] : b) {
    difference += (a.contains(name) ? a.at(name) - g : g).square().sum().item<double>();
    size += g.square().sum().item<double>();
  }
  return std::sqrt(difference / size);
}

}  // namespace igebm::training
