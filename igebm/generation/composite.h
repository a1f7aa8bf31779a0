#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/generation/tree.h"
#include "igebm/sampling/sampler.h"

/// Energies of separate models, composed and sampled together (Du et al. 2020; Liu et al. 2022; Du et al. 2023).
namespace igebm::generation {

/// A tree of energies as one. "and" is the sum of its parts' energies times their weights, "not" a weight of -alpha
/// times its own; "or" is the mixture -log sum_i w_i exp(-E_i) / Z_i, the w_i brought to sum to 1. "Without", a \ b, is
/// a where it is likelier than b: p_a times the probability of a in a mixture with 20 w_b times as much of b, p_a^2 /
/// (p_a + 20 w_b p_b). Unlike "not" it is bounded: where b is nothing it is p_a. Models of other ranges are brought to
/// the first one's. A constraint takes part at noise level sigma with the input that it has without noise, about: m +
/// s^2 / (s^2 + sigma^2) (x - m), with s the data's deviation and m the middle of the range.
///
/// The sum of energies of noised data is not the energy of the noised product: chains need steps of a kernel at each
/// noise level.
class Composite {
 public:
  /// Throws UserError that says the column: unknown names, arguments that do not fit, shapes that differ, models with
  /// and without noise levels beside one another, weights that add up to 0 or less, a "not" that is taken from nothing.
  Composite(const Expression& expression, Vocabulary& vocabulary, const CompositeOptions& options = {});

  const model::SampleSpace& space() const { return tree_.space; }
  /// Its noise levels and weight; none: its energies are of clean inputs.
  const std::optional<sampling::NoiseRange>& range() const { return tree_.range; }
  c10::Device device() const { return tree_.device; }  ///< where energies take their input: the first model's
  /// The first model's, of which steps and levels are to be chosen anew.
  const sampling::SamplerOptions& usual_sampler() const { return tree_.sampler; }

  /// Does an "or" (or a "without", here and below) hold energies of which Z is not known? They do not compare, until
  /// normalise.
  bool needs_normalisers() const;
  /// log Z of a part of an "or" at the least noise, and how far chance may have moved it.
  struct LogZ {
    std::string part;
    double value = 0, deviation = 0;
  };
  /// Finds log Z of each such part at each noise level (normaliser.h). Throws UserError where an energy has no noise
  /// levels.
  std::vector<LogZ> normalise(std::uint64_t seed, Observer& observer);

  /// At noise level sigma, which those of clean inputs do not look at. REQUIRES: needs no normalisers.
  energy::EnergyPtr energy(double sigma) const;
  /// request.condition is not looked at: the expression says it. Energies are those at the least noise level. Above 1,
  /// `particles` chains are moved for each sample, weighed by how well the parts of the outermost "and" agree on them,
  /// and one is chosen (particles.h). Throws UserError where that has no meaning: without noise levels, of anything but
  /// an "and" of densities whose weights add up to 1. Points of few dimensions whose kernel compares energies are a
  /// Population otherwise: whole groups are moved, without the sampler's own predictor, and what is over is left out.
  model::Samples sample(const model::SampleRequest& request, std::int64_t particles = 1) const;
  static constexpr std::int64_t population = 512;     ///< chains of a group
  static constexpr std::int64_t most_dimensions = 8;  ///< of a population's points
  /// The sampler's options as samples are moved by them.
  sampling::SamplerOptions moved_by(sampling::SamplerOptions sampler, std::int64_t particles = 1) const;
  /// Samples that are drawn at once.
  std::int64_t batch_of(const model::SampleRequest& request, const sampling::SamplerOptions& sampler,
                        std::int64_t particles) const;
  /// Of the energies, that a sample (or each of its particles) costs; a Hessian-vector product, which takes as long as
  /// about three, counts as one.
  std::int64_t gradient_count(const sampling::SamplerOptions& sampler, std::int64_t particles = 1) const;

 private:
  void require_particles() const;
  bool is_population(const sampling::SamplerOptions& sampler, std::int64_t particles) const;
  Tree tree_;
};

}  // namespace igebm::generation
