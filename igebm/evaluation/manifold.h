#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

/// Two sets of features, compared by who is near to whom. Features (N, D), Euclidean distances, in double; a set's
/// balls are around its rows, each of the distance to the k-th nearest other row. Both sets should be of one size, as
/// the figures go by it. Throw UserError where widths differ, for fewer than k + 1 rows and numbers that are not
/// finite.
namespace igebm::evaluation {

/// The fraction of rows of x within a ball of `of`: precision of samples x and real `of`, recall with the two exchanged
/// (Kynkaanniemi et al. 2019, equation 1, k = 3).
double within_balls(const at::Tensor& x, const at::Tensor& of, std::int64_t k);

/// How many balls of `of` a row of x is in, on average, over k (Naeem et al. 2020, density, k = 5).
double balls_around(const at::Tensor& x, const at::Tensor& of, std::int64_t k);

/// The fraction of balls of `of` that hold a row of x (Naeem et al. 2020, coverage, k = 5).
double balls_held(const at::Tensor& x, const at::Tensor& of, std::int64_t k);

/// How often a row's nearest other row, of both sets together, is of its own set: the leave-one-out accuracy of the
/// nearest neighbour as a classifier (Lopez-Paz & Oquab 2017). One half where both are of one law and one size; above,
/// they can be told apart; below, they are nearer to each other than to themselves, as copies are.
double nearest_is_own(const at::Tensor& a, const at::Tensor& b);

}  // namespace igebm::evaluation
