#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/model/model.h"
#include "igebm/scoring/annealed_importance.h"

/// How likely a model finds data: the mean of log p over test records, beside training records and beside Gaussians.
///
/// p is the density of *noised* data, in the model's range: of y = x + sigma n, n ~ N(0, I), where pictures x are
/// dequantised as for training. It is that of no data without noise, nor of bytes. Bits an element are those of
/// log2 of the density where a grey level is 1 wide, so that they are on the scale of published ones, but not the same
/// thing: no density can have fewer than the noise's own entropy (Likelihood::noise_bits).
namespace igebm::scoring {

struct LikelihoodOptions {
  nn::Condition condition = {};   ///< one row, or none; of a class: the data are that class's
  std::int64_t count = 1000;      ///< test records, and training records
  std::int64_t fitted = 0;        ///< training records that Gaussians are fitted on; 0: all
  std::int64_t integrated = 500;  ///< training records that log Z is integrated over noise levels with; 0: it is not
  double sigma = 0;               ///< 0: the model's least
  /// Whether energies of all noise levels are known but for one number (training's time_score): then log Z at the
  /// greatest noise, where the law is a Gaussian, is that of all.
  bool levels_compare = false;
  std::optional<AnnealedOptions> annealed = {};  ///< none: no annealed importance sampling
  std::int64_t backwards = 64;                   ///< chains from the end to the base; 0: none
  std::uint64_t seed = 0;                        ///< of which records are taken, of noise and of chains
};

/// An estimate of log Z at sigma, in nats.
struct LogNormaliser {
  std::string name;   ///< own, integrated, quadrature, forwards, backwards
  std::string about;  ///< in words
  Interval log_z;     ///< 95 %; of one that has none, three equal numbers
  std::optional<AnnealedEstimate> annealed = {};
  double seconds = 0;
};

/// The mean of log p over records, with 95 % of a normal law around it: what other records would have changed.
struct MeanLogDensity {
  std::string name;
  std::string about;
  bool baseline = false;  ///< needs no network
  Interval test;          ///< nats a record
  std::optional<Interval> training;
  std::int64_t count = 0;  ///< test records, where they are fewer than the others'
};

struct Likelihood {
  double sigma = 0;
  std::int64_t elements = 0, test_count = 0, training_count = 0, fitted = 0;
  double low = 0, high = 1;      ///< of pictures, the model's range
  std::int64_t grey_levels = 0;  ///< that it is divided into; 0: points
  bool dequantised = false, exact_samples = false;
  std::vector<LogNormaliser> normalisers;
  std::vector<MeanLogDensity> rows;
  double noise_nats = 0;  ///< minus the entropy of the noise: no law's mean log p of noised data is greater
  std::uint64_t seed = 0;

  /// Bits an element of a mean log p.
  double bits(double nats) const;
};

/// What is missing is said before the work. `observer` is told of progress; it may throw to end the work. The model's
/// engine is to compute in f32. Throws UserError, also where a model without noise levels is to be measured without
/// annealed importance sampling.
Likelihood likelihood(const model::Model& model, const LikelihoodOptions& options, Observer& observer);

}  // namespace igebm::scoring
