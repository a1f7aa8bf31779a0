#include "igebm/generation/lanczos.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace igebm::generation
