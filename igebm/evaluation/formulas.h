#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

/// Distances and scores of given features, in double, by the formulas that published figures use. Which features they
/// are decides what a figure means: docs/evaluation.md.
namespace igebm::evaluation {

/// Mean and covariance (divided by N - 1, as numpy.cov) of features (N, D), both double.
struct Moments {
  at::Tensor mean;        ///< (D)
  at::Tensor covariance;  ///< (D, D)
};

/// Throws UserError for fewer than 2 rows or numbers that are not finite.
Moments moments(const at::Tensor& features);

/// Frechet distance between normal distributions with these moments (Heusel et al. 2017, equation 6; squared, as FID
/// is):
///   |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)).
/// Also right for covariances without full rank. Throws UserError where D differs.
double frechet_distance(const Moments& a, const Moments& b);

struct Estimate {
  double mean = 0, deviation = 0;
};

/// Kernel Inception distance (Binkowski et al. 2018): the squared maximum mean discrepancy between features (N, D) and
/// (M, D) under k(x, y) = (x.y / D + 1)^3, unbiased, averaged over random subsets of both as in torch-fidelity. The
/// deviation is the one between subsets (divided by their number).
struct KernelDistanceOptions {
  std::int64_t subsets = 100;
  std::int64_t subset_size = 1000;  ///< at most N and M
  std::uint64_t seed = 0;           ///< of the choice of subsets
};
Estimate kernel_distance(const at::Tensor& a, const at::Tensor& b, const KernelDistanceOptions& options);

/// The unbiased estimate from all rows: sums of k over different rows within each set, and all pairs between them.
double kernel_distance(const at::Tensor& a, const at::Tensor& b);

/// Inception score (Salimans et al. 2016): exp(mean KL(p(y|x) || p(y))) of class probabilities (N, K), p(y) their mean
/// over a split, in `splits` parts in order [i N / splits, (i + 1) N / splits); mean and deviation (divided by
/// `splits`) over parts. Throws UserError for fewer rows than splits.
Estimate inception_score(const at::Tensor& probabilities, std::int64_t splits = 10);

/// The fraction of class probabilities (N, K) that are greatest for the class in `labels`, (N) int64.
double label_accuracy(const at::Tensor& probabilities, const at::Tensor& labels);

/// The row of `among` (M, ...) that is nearest to each row of x (N, ...), by Euclidean distance: (N) int64. Both of any
/// type, finite; bytes are divided by 255. Throws UserError where rows differ in size.
at::Tensor nearest_rows(const at::Tensor& x, const at::Tensor& among);

/// The mean distance between different rows of x (N, ...), N at least 2, by Euclidean distance. Of any type; bytes are
/// divided by 255.
double mean_distance(const at::Tensor& x);

struct RankTest {
  double share =
      0.5;       ///< of pairs of one number of `less` and one of `greater` in which the former is less; ties: half
  double p = 1;  ///< the probability of a share as great or greater where both are of one distribution
};

/// One-sided rank test (Mann & Whitney 1947) of whether numbers `less` (N) tend to be less than `greater` (M): normal
/// approximation with continuity correction, ties counted by midranks and taken off the variance (as scipy's
/// mannwhitneyu(..., "less", method="asymptotic")). Throws UserError where one is empty or holds numbers that are not
/// finite.
RankTest rank_test(const at::Tensor& less, const at::Tensor& greater);

/// `count` different numbers of 0 ... total - 1 in random order: (count) int64, a function of (seed, stream).
at::Tensor choose(std::int64_t total, std::int64_t count, std::uint64_t seed, std::uint64_t stream);

}  // namespace igebm::evaluation
