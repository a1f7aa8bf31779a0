#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "igebm/generation/expression.h"
#include "igebm/generation/terms.h"
#include "igebm/sampling/sampler.h"

/// What an expression becomes: a tree of energies, put together from its terms.
namespace igebm::generation {

/// What `given` says instead of a term.
inline constexpr std::string_view own_given = "own";

struct CompositeOptions {
  /// What "not" multiplies its energy by, alpha, above 0: E_a - alpha E_b. Of a class of a model that knows no class in
  /// particular it is what tells the class alone: E_a - alpha (E_b - E_none).
  double negation = 0.5;
  /// A term that all parts of an "and" share, such as "shape(none)": E = E_given + sum_i w_i (E_i - E_given), right for
  /// parts that are independent of one another given x. "own": each part's own model is asked for none in particular,
  /// E = B + sum_i w_i (E_i - E_i,none) with B the mean of the E_i,none weighted by w_i, so that what a model errs in
  /// whatever it is asked falls out of the difference. Empty: sum_i w_i E_i.
  std::string given;
  /// Of given = "own", a term that is B instead: the model that knows best what x are at all, while the others say no
  /// more than what tells what they are asked for.
  std::string base;
};

struct Node;  // node.h

struct Tree {
  model::SampleSpace space;                   ///< the first model's, to whose range others are brought
  std::optional<sampling::NoiseRange> range;  ///< noise levels and weight; none: energies of clean inputs
  model::Settings settings;                   ///< the first model's, as the next three
  sampling::SamplerOptions sampler;
  std::uint64_t seed = 0;
  c10::Device device = c10::kCPU;
  std::shared_ptr<Node> root;
};

/// Throws UserError that says the column (composite.h says of what).
Tree build_tree(const Expression& expression, Vocabulary& vocabulary, const CompositeOptions& options);

}  // namespace igebm::generation
