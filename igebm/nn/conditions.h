#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "igebm/nn/architectures.h"

/// Rows of numbers that networks are conditional on, where a noise level is one of them: E(x, sigma).
namespace igebm::nn {

/// The class of an input that is asked for none, of networks that were trained without being told as well
/// (Graph::optional_condition). Numbers that are not told are a row of NaN.
constexpr std::int64_t no_class = -1;

/// What inputs are conditional on, but for a noise level, which stands beside it: one of the two, or nothing. One row
/// for each input, or one row for all.
struct Condition {
  at::Tensor classes = {};  ///< (N) int64
  at::Tensor values = {};   ///< (N, F) float, the numbers in the order of the model's names

  static Condition of_class(std::int64_t label);  ///< one row
  static Condition of_none(std::int64_t count);   ///< one row of so many numbers that are not told; of a class if 0
  /// Of such labels as `labels` makes.
  static Condition of_labels(const at::Tensor& labels);

  bool told() const;  ///< is something asked of every row?
  bool empty() const { return !classes.defined() && !values.defined(); }
  std::int64_t rows() const;  ///< 0: empty
};

/// `labels` (classes or rows of numbers) with none told.
at::Tensor untold(const at::Tensor& labels);

/// The labels of `count` inputs as samplers carry them beside chains, and as condition_rows and networks without noise
/// levels take them: classes (N) int64, or numbers (N, F) float, or undefined. An empty condition is one that is not
/// told where the network takes that. Throws UserError where the condition is not what the network takes.
at::Tensor labels(const Graph& graph, const Condition& condition, std::int64_t count);

/// What the network is conditional on, whether beside a noise level or not.
Conditioning conditioning(const Graph& graph);

/// Features of noise levels sigma (N) above 0, float (N, count): cos(w_i log sigma), then sin(w_i log sigma), with
/// count / 2 frequencies w_i from 1/4 to 16, evenly spaced in log w. `count` is even. They tell noise levels a few
/// per cent apart, and none twice within a factor of e^(8 pi). Throws UserError.
at::Tensor noise_features(const at::Tensor& sigma, std::int64_t count);

/// Fourier features of rows of numbers v (N, F), about from -1 to 1, float (N, count): cos(w_i v), then sin(w_i v),
/// with count / 2 vectors w_i of lengths from 1 to 16, evenly spaced in log |w|, along w_if ~ frac((i + 1) sqrt(p_f)) -
/// 1/2, p_f the primes in order and i from 0 (after Tancik et al. 2020, arXiv 2006.10739). Small differences of
/// numbers, and what turns with an angle's cosine and sine more than once, are easy to tell by them. `count` is even.
/// Throws UserError.
at::Tensor number_features(const at::Tensor& numbers, std::int64_t count);

/// Labels as a network takes them that is conditional on a noise level (graph.noise_features > 0), float
/// (N, graph.conditions): the class as a one-hot row of graph.condition_classes, of zeros for no_class, or the row of
/// other conditions (and whether they are told, Graph::optional_condition; and their number_features, 0 where they are
/// not), then the features of sigma (N). labels:
/// classes (N) int64, or rows (N, other conditions) float, or undefined where the network is conditional on noise
/// alone. Labels of other networks are returned as they are. Throws UserError.
at::Tensor condition_rows(const Graph& graph, const at::Tensor& labels, const at::Tensor& sigma);

/// The derivative of condition_rows in log sigma, float (N, graph.conditions), of a network that takes noise levels.
at::Tensor condition_rows_slope(const Graph& graph, const at::Tensor& sigma);

}  // namespace igebm::nn
