#include "igebm/generation/lanczos.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "igebm/energy/analytic.h"
#include "igebm/engine/reference.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/conditions.h"
#include "igebm/nn/network.h"
#include "igebm/nn/weights.h"
#include "tests/refusals.h"

namespace igebm::generation {
namespace {

SymmetricProduct product_of(const at::Tensor& matrices) {
  return [matrices](const at::Tensor& v) { return at::bmm(matrices, v.unsqueeze(2)).squeeze(2); };
}

// Golden rule: what LAPACK finds of the dense matrices, at both ends.
TEST(Lanczos, FindsWhatDenseSolversFind) {
  at::manual_seed(1);
  const at::Tensor a = at::randn({3, 12, 12}, at::kDouble), matrices = a + a.transpose(1, 2);
  const auto [values, vectors] = at::linalg_eigh(matrices);
  for (const bool least : {true, false}) {
    const Eigenpairs found = lanczos(product_of(matrices), 3, 12, {.count = 4, .least = least, .tolerance = 1e-10});
    const at::Tensor expected = least ? values.slice(1, 0, 4) : values.flip(1).slice(1, 0, 4),
                     of_dense = (least ? vectors : vectors.flip(2)).slice(2, 0, 4).transpose(1, 2);
    EXPECT_TRUE(at::allclose(found.values, expected, 1e-10, 1e-10)) << found.values << expected;
    EXPECT_TRUE(at::allclose((found.vectors * of_dense).sum(2).abs(), at::ones({3, 4}, at::kDouble), 1e-8, 1e-8));
    EXPECT_TRUE(at::allclose(at::bmm(found.vectors, found.vectors.transpose(1, 2)),
                             at::eye(4, at::kDouble).expand({3, 4, 4}), 1e-10, 1e-10));
  }
}

// Three that stand out of 300 are found after few products, and the residual says how well.
TEST(Lanczos, StopsWhenItIsNearEnough) {
  at::manual_seed(2);
  const std::int64_t n = 300;
  const at::Tensor q = std::get<0>(at::linalg_qr(at::randn({n, n}, at::kDouble)));
  at::Tensor spectrum = at::linspace(0.9, 1, n, at::kDouble);
  spectrum[0] = -0.5, spectrum[1] = 0.1, spectrum[2] = 0.4;
  const at::Tensor matrix = at::mm(q * spectrum, q.t()).unsqueeze(0);
  const Eigenpairs found = lanczos(product_of(matrix), 1, n, {.count = 3, .least = true, .tolerance = 1e-6});
  EXPECT_LT(found.products, 40);
  EXPECT_LT((found.values[0] - spectrum.slice(0, 0, 3)).abs().max().item<double>(), 1e-6);
  const at::Tensor v = found.vectors[0], left = at::mm(v, matrix[0]) - found.values[0].unsqueeze(1) * v;
  EXPECT_TRUE(at::allclose(left.norm(2, {1}), found.residuals[0], 1e-3, 1e-9)) << left.norm(2, {1}) << found.residuals;
}

// A Krylov space of 2 I has one dimension, that of a matrix of rank 1 two.
TEST(Lanczos, GoesOnWhereItsSpaceEnds) {
  at::Tensor matrices = at::stack({at::eye(6, at::kDouble) * 2, at::zeros({6, 6}, at::kDouble)});
  matrices[1][3][3] = 5;
  const Eigenpairs found = lanczos(product_of(matrices), 2, 6, {.count = 3});
  EXPECT_TRUE(at::allclose(found.values, at::tensor({2., 2., 2., 5., 0., 0.}, at::kDouble).view({2, 3}), 1e-9, 1e-9))
      << found.values;
  EXPECT_NEAR(found.vectors[1][0][3].item<double>(), 1, 1e-9);  // with its sign
  EXPECT_TRUE(at::allclose(at::bmm(found.vectors, found.vectors.transpose(1, 2)),
                           at::eye(3, at::kDouble).expand({2, 3, 3}), 1e-9, 1e-9));
}

TEST(Lanczos, WhatDoesNotFitIsRefused) {
  const auto product = product_of(at::eye(4, at::kDouble).unsqueeze(0));
  EXPECT_SAYS(lanczos(product, 1, 4, {.count = 5}), "expected 1 to 4 eigenvectors, got 5");
  EXPECT_SAYS(lanczos(product, 1, 4, {.count = 3, .steps = 2}), "at least as many steps");
}

// Central differences of gradients in double: error about h^2 and rounding / h.
void expect_hessian(const energy::Energy& energy, const at::Tensor& x) {
  constexpr double h = 1e-5;
  const Hessian hessian(energy, x);
  for (int i = 0; i < 3; ++i) {
    const at::Tensor v = at::randn_like(x);
    const at::Tensor expected =
        (energy.energy_and_gradient(x + h * v).gradient - energy.energy_and_gradient(x - h * v).gradient) / (2 * h);
    EXPECT_TRUE(at::allclose(hessian.times(v), expected, 1e-5, 1e-6 * expected.abs().max().item<double>()));
  }
}

TEST(Hessian, TimesVectorsIsWhatDifferencesOfGradientsSay) {
  at::manual_seed(3);
  const at::Tensor covariance = at::tensor({0.8, 0.3, 0.3, 0.5}, at::kDouble).view({2, 2});
  const energy::Gaussian gaussian(at::tensor({0.3, -0.2}, at::kDouble), covariance);
  const at::Tensor x = at::randn({5, 2}, at::kDouble), v = at::randn_like(x);
  EXPECT_TRUE(at::allclose(Hessian(gaussian, x).times(v), at::mm(v, covariance.inverse()), 1e-9, 1e-9));
  expect_hessian(energy::Rings({1.0, 2.0}, 0.3), x);
}

TEST(Hessian, OfANetworkWithNormsAndNoiseLevels) {
  at::manual_seed(4);
  const nn::Graph graph = nn::unet({.channels = {8, 16}, .blocks = {1, 1}, .patch = 1, .groups = 4}, {1, 8, 8},
                                   {.classes = 3, .noise_features = 4});
  const nn::Network network(graph, 5);
  nn::EffectiveWeights weights;
  for (const auto& [name, w] : nn::effective_weights(graph, network.parameters(), network.buffers()))
    weights[name] = w.detach().to(at::kDouble) + 0.05 * at::randn(w.sizes(), at::kDouble);  // some begin at 0
  const auto prepared = engine::reference(graph, weights, "");
  const at::Tensor labels = nn::condition_rows(graph, at::tensor({0, 2}, at::kLong), at::tensor({0.1, 3.0}));
  expect_hessian(*prepared->given(labels.to(at::kDouble)), at::randn({2, 1, 8, 8}, at::kDouble));
}

}  // namespace
}  // namespace igebm::generation
