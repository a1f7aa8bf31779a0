#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace igebm::training {

/// The assignment of rows to columns of least total cost, exactly: shortest augmenting paths with potentials
/// (Jonker & Volgenant 1987), O(n^3). cost: n * n numbers, row by row. Returns each row's column. Throws UserError
/// unless all are finite. on_row is called for each row and may throw.
std::vector<std::int64_t> assign(const std::vector<double>& cost, std::int64_t n,
                                 const std::function<void()>& on_row = {});

/// Minibatch optimal transport (Pooladian et al. 2023; Tong et al. 2024): the permutation of noise (N, ...) that
/// pairs it with data (N, ...) at least total squared distance. With labels, classes (N) or rows (N, F), noise is moved
/// among data of equal labels only: otherwise noise would tell of the label that it is paired with, and samples, whose
/// noise does not, would start where that label was never trained (Cheng & Schwing 2025). Returns indices (N) int64
/// into noise.
at::Tensor pair_by_transport(const at::Tensor& noise, const at::Tensor& data, const at::Tensor& labels = {},
                             const std::function<void()>& on_row = {});

}  // namespace igebm::training
