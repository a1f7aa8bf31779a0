#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "igebm/nn/architectures.h"

/// Rows of numbers that networks are conditional on, where a noise level is one of them: E(x, sigma).
namespace igebm::nn {

/// What the network is conditional on, whether beside a noise level or not.
Conditioning conditioning(const Graph& graph);

/// Features of noise levels sigma (N) above 0, float (N, count): cos(w_i log sigma), then sin(w_i log sigma), with
/// count / 2 frequencies w_i from 1/4 to 16, evenly spaced in log w. `count` is even. They tell noise levels a few
/// per cent apart, and none twice within a factor of e^(8 pi). Throws UserError.
at::Tensor noise_features(const at::Tensor& sigma, std::int64_t count);

/// Labels as a network takes them that is conditional on a noise level (graph.noise_features > 0), float
/// (N, graph.conditions): the class as a one-hot row of graph.condition_classes or the row of other conditions, then
/// the features of sigma (N). labels: classes (N) int64, or rows (N, other conditions) float, or undefined where the
/// network is conditional on noise alone. Labels of other networks are returned as they are. Throws UserError.
at::Tensor condition_rows(const Graph& graph, const at::Tensor& labels, const at::Tensor& sigma);

}  // namespace igebm::nn
