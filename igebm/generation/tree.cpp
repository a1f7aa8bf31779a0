#include "igebm/generation/tree.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/energy/compose.h"
#include "igebm/generation/node.h"

namespace igebm::generation {
namespace {

constexpr double without_weight = 20;

/// x of a composition to x of a term's own range: factor x + shift.
struct Range {
  double factor = 1, shift = 0;
};

Range between(const model::SampleSpace& from, const model::SampleSpace& to) {
  if (from.kind != model::SampleSpace::Kind::image) return {};
  const double factor = (to.high - to.low) / (from.high - from.low);
  return {factor, to.low - factor * from.low};
}

double elements_of(const model::SampleSpace& space) {
  return static_cast<double>(
      std::accumulate(space.shape.begin(), space.shape.end(), std::int64_t{1}, std::multiplies<>()));
}

[[noreturn]] void fail(std::size_t column, const std::string& what) {
  throw UserError(fmt::format("column {}: {}", column, what));
}

/// Puts the tree together.
class TreeBuilder {
 public:
  using NodePtr = std::shared_ptr<Node>;

  TreeBuilder(Tree& to, Vocabulary& vocabulary, const CompositeOptions& options)
      : to_(to), vocabulary_(vocabulary), options_(options) {
    if (!(options.negation > 0 && std::isfinite(options.negation)))
      throw UserError(fmt::format("negation: expected a number above 0, got {}", options.negation));
  }

  void build(const Expression& e) {
    read_terms(e);
    if (!options_.given.empty() && !of_own_models()) given_ = density_named("given", options_.given);
    if (!options_.base.empty()) {
      if (!of_own_models()) throw UserError("base: expected it with given = own");
      base_ = density_named("base", options_.base);
    }
    if (!options_.given.empty() && !has_conjunction(e))
      throw UserError("given: expected an \"and\" in the expression, whose parts share it");
    settle_space(e);
    to_.root = node(e);
    if (e.negated) fail(e.column, "\"not\" needs something beside it to be taken from, as in a & !b");
    if (e.weight != 1) to_.root = summed({to_.root}, {e.weight}, e);
    require_weight(*to_.root);
    if (to_.range) to_.range->weight = to_.root->greatest;
  }

 private:
  void read_terms(const Expression& e) {
    if (e.kind == Expression::Kind::term) terms_[&e] = vocabulary_.term(e);
    for (const Expression& part : e.parts) read_terms(part);
  }

  /// One term, of which terms_ knows by the place of the shared text.
  std::shared_ptr<const Expression> density_named(const char* option, const std::string& text) {
    try {
      auto e = std::make_shared<const Expression>(parse(text));
      if (e->kind != Expression::Kind::term || e->negated || e->weight != 1) throw UserError("expected one term alone");
      const Term& term = terms_[e.get()] = vocabulary_.term(*e);
      if (!term.script.empty()) throw UserError(e->text() + " is a constraint, which is no density");
      return e;
    } catch (const UserError& error) {
      throw UserError(fmt::format("{}: {}", option, error.what()));
    }
  }

  bool of_own_models() const { return options_.given == own_given; }

  static bool has_conjunction(const Expression& e) {
    return e.kind == Expression::Kind::conjunction || std::ranges::any_of(e.parts, has_conjunction);
  }

  /// Of a whole density: energies of clean inputs have no weight that would say anything.
  void require_weight(const Node& node) const {
    if (!(node.least > 0) && (to_.range || node.greatest == 0))
      fail(node.column,
           fmt::format("the weights here add up to {:g}: nothing would hold samples together; expected a sum above 0",
                       node.least));
  }

  template <class Visit>
  void in_order(const Expression& e, const Visit& visit) const {
    if (e.kind == Expression::Kind::term) visit(e, terms_.at(&e));
    for (const Expression& part : e.parts) in_order(part, visit);
  }

  /// Space and noise levels of all terms.
  void settle_space_of(const Expression& e) {
    in_order(e, [&](const Expression& at, const Term& t) {
      if (!t.script.empty()) return;
      const auto levels = [](const auto& noise) { return noise ? "takes noise levels" : "takes none"; };
      if (!first_) {
        first_ = &t;
        to_.space = t.space;
      } else if (t.space.shape != to_.space.shape) {
        fail(at.column, fmt::format("{} is of shape ({}), {} of ({})", t.text, fmt::join(t.space.shape, ", "),
                                    first_->text, fmt::join(to_.space.shape, ", ")));
      } else if (t.noise.has_value() != first_->noise.has_value()) {
        fail(at.column, fmt::format("{} {}, {} {}: they cannot be sampled together", t.text, levels(t.noise),
                                    first_->text, levels(first_->noise)));
      }
      if (t.model && !settings_) settings_ = t.model.get();
      if (!t.noise) return;
      const double factor = between(to_.space, t.space).factor;
      const bool exact = !t.model;  // at any noise
      auto& own = exact ? exact_range_ : to_.range;
      const sampling::NoiseRange range{t.noise->sigma_min / factor, t.noise->sigma_max / factor};
      if (!own) own = range;
      // Models know noise that all know; densities, which know any, get what the finest and the widest need.
      own->sigma_min = exact ? std::min(own->sigma_min, range.sigma_min) : std::max(own->sigma_min, range.sigma_min);
      own->sigma_max = exact ? std::max(own->sigma_max, range.sigma_max) : std::min(own->sigma_max, range.sigma_max);
      if (!exact && data_deviation_ == 0) data_deviation_ = t.noise->sigma_data / factor;
    });
  }
  void settle_space(const Expression& whole) {
    settle_space_of(whole);
    for (const auto& [option, shared] : {std::pair("given", given_), {"base", base_}}) {
      try {
        if (shared) settle_space_of(*shared);
      } catch (const UserError& error) {
        throw UserError(fmt::format("{}: {}", option, error.what()));
      }
    }
    if (first_ == nullptr) throw UserError("expected at least one model or density beside the constraints");
    if (!to_.range) to_.range = exact_range_;
    if (to_.range && !(to_.range->sigma_min < to_.range->sigma_max))
      throw UserError("these models have no noise level in common");
    if (settings_ != nullptr) {
      to_.settings = settings_->settings();
      to_.sampler = settings_->settings().sampling;
      to_.seed = static_cast<std::uint64_t>(settings_->settings().seed);
      to_.device = settings_->device();
    }
  }

  NodePtr node(const Expression& e) {
    if (e.kind == Expression::Kind::term) return leaf(e);
    if (e.kind == Expression::Kind::conjunction) return conjunction(e);
    return e.kind == Expression::Kind::disjunction ? disjunction(e) : difference(e);
  }

  NodePtr leaf(const Expression& e) { return leaf(terms_.at(&e), e); }

  NodePtr leaf(const Term& t, const Expression& e) {
    auto node = std::make_shared<Node>();
    node->text = t.text, node->column = e.column;
    if (!t.script.empty()) {
      node->least = node->greatest = 0;
      const energy::EnergyPtr script = script_energy(t.script, to_.space);
      const double s = data_deviation_ > 0 ? data_deviation_ : 1, low = to_.space.low, high = to_.space.high;
      const double middle = to_.space.kind == model::SampleSpace::Kind::image ? (low + high) / 2 : 0;
      node->own = [script, s, middle, annealed = to_.range.has_value()](double sigma) {
        if (!annealed) return script;
        const double keep = s * s / (s * s + sigma * sigma);
        return energy::rescaled(script, keep, 1, (1 - keep) * middle);
      };
      return node;
    }
    const Range range = between(to_.space, t.space);
    node->model = t.model, node->condition = t.condition, node->factor = range.factor, node->normalised = t.normalised;
    const double volume = elements_of(to_.space) * std::log(range.factor);
    node->own = [own = t.energy, factor = range.factor, shift = range.shift, volume](double sigma) {
      const energy::EnergyPtr theirs = own(sigma * factor);
      if (factor == 1 && shift == 0) return theirs;
      return energy::beside_gaussian(energy::rescaled(theirs, factor, 1, shift), 0, -volume);
    };
    return node;
  }

  /// The model's energy of none in particular.
  static Term untold(const Term& t) {
    Term none = t;
    none.condition = nn::Condition::of_none(t.model->condition_spec().values);
    none.energy = [model = t.model, condition = none.condition, annealed = t.noise.has_value()](double sigma) {
      return annealed ? model->energy(condition, sigma) : model->energy(condition);
    };
    return none;
  }

  static bool knows_none(const Term& t) { return t.model && t.model->condition_spec().optional_condition; }

  /// Terms of none in particular, with weights that sum to 1.
  using Bases = std::vector<std::pair<Term, double>>;
  static void add(Bases& to, const Bases& from, double weight) {
    for (const auto& base : from) {
      const auto same = std::ranges::find_if(to, [&](const auto& b) { return b.first.model == base.first.model; });
      if (same == to.end()) {
        to.emplace_back(base.first, weight * base.second);
      } else {
        same->second += weight * base.second;
      }
    }
  }

  /// What `e` is once nothing is asked of its models. Empty: it is made of constraints.
  Bases bases_of(const Expression& e) const {
    if (e.kind == Expression::Kind::term) {
      const Term& t = terms_.at(&e);
      if (!t.script.empty()) return {};
      if (!knows_none(t))
        throw UserError(fmt::format(
            "given: own: column {}: {} knows none in particular; expected models trained with label_dropout", e.column,
            t.text));
      return {{untold(t), 1}};
    }
    if (e.kind == Expression::Kind::difference) return bases_of(e.parts.front());
    Bases all;
    double sum = 0;
    for (const Expression& part : e.parts) {
      if (part.negated) continue;
      const Bases own = bases_of(part);
      if (own.empty()) continue;
      add(all, own, part.weight);
      sum += part.weight;
    }
    for (auto& base : all) base.second /= sum;
    return all;
  }

  /// A term of the one model that all of `e` ask something of, where it knows none in particular; else null.
  const Term* asked_of_one(const Expression& e) const {
    const Term* first = nullptr;
    bool all = true;
    in_order(e, [&](const Expression&, const Term& t) {
      if (!first) first = &t;
      all = all && knows_none(t) && t.condition.told() && t.model == first->model;
    });
    return all ? first : nullptr;
  }

  NodePtr summed(std::vector<NodePtr> parts, std::vector<double> weights, const Expression& e) const {
    auto node = std::make_shared<Node>();
    node->column = e.column, node->least = node->greatest = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const double a = weights[i] * parts[i]->least, b = weights[i] * parts[i]->greatest;
      node->least += std::min(a, b), node->greatest += std::max(a, b);
    }
    node->parts = std::move(parts), node->weights = std::move(weights);
    return node;
  }

  NodePtr conjunction(const Expression& e) {
    std::vector<NodePtr> parts;
    std::vector<double> weights;
    double given = 1;
    for (const Expression& part : e.parts) {
      parts.push_back(node(part));
      weights.push_back(part.negated ? -options_.negation * part.weight : part.weight);
      if (parts.back()->greatest > 0) given -= weights.back();
      if (!part.negated || given_) continue;
      // What tells what is asked from the rest: that, which makes a picture of x at all, must stay.
      const Term* asked = asked_of_one(part);
      if (asked == nullptr) continue;
      const double share = -weights.back() * parts.back()->greatest;
      parts.push_back(leaf(untold(*asked), part));
      weights.push_back(share);
    }
    if (of_own_models()) {
      Bases all;
      for (const Expression& part : e.parts) {
        if (!part.negated) add(all, bases_of(part), -part.weight);
      }
      if (base_) {
        parts.push_back(leaf(*base_));
        weights.push_back(1);
      } else {
        add(all, bases_of(e), 1);
      }
      for (const auto& [term, weight] : all) {
        if (std::fabs(weight) <= 1e-9) continue;
        parts.push_back(leaf(term, e));
        weights.push_back(weight);
      }
    }
    if (given_ && std::fabs(given) > 1e-9) {
      parts.push_back(leaf(*given_));
      weights.push_back(given);
    }
    return summed(std::move(parts), std::move(weights), e);
  }

  NodePtr disjunction(const Expression& e) {
    std::vector<NodePtr> parts;
    std::vector<double> weights;
    for (const Expression& part : e.parts) parts.push_back(density(part)), weights.push_back(part.weight);
    return mixed(std::move(parts), std::move(weights), e);
  }

  NodePtr difference(const Expression& e) {
    if (e.parts.front().weight != 1)
      fail(e.parts.front().column, "what is kept has no weight; expected it around all, as in 2*(a \\ b)");
    const NodePtr kept = density(e.parts.front());
    std::vector<NodePtr> parts = {kept};
    std::vector<double> weights = {1};
    for (std::size_t i = 1; i < e.parts.size(); ++i)
      parts.push_back(density(e.parts[i])), weights.push_back(without_weight * e.parts[i].weight);
    return summed({kept, mixed(std::move(parts), std::move(weights), e)}, {2, -1}, e);
  }

  /// What can be a part of a mixture.
  NodePtr density(const Expression& e) {
    if (e.negated) fail(e.column, "\"not\" needs something beside it to be taken from: within \"or\" write (a & !b)");
    NodePtr part = node(e);
    if (part->least == 0 && part->greatest == 0)
      fail(e.column, "a constraint is no density; expected it within \"and\"");
    require_weight(*part);
    return part;
  }

  static NodePtr mixed(std::vector<NodePtr> parts, std::vector<double> weights, const Expression& e) {
    auto node = std::make_shared<Node>();
    node->column = e.column, node->disjunction = true, node->normalised = true;
    node->least = parts[0]->least, node->greatest = parts[0]->greatest;
    for (const NodePtr& part : parts)
      node->least = std::min(node->least, part->least), node->greatest = std::max(node->greatest, part->greatest);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i] /= sum;
      if (!(weights[i] > 1e-30)) fail(e.parts[i].column, "this weight is nothing beside the others");
    }
    node->normalisers.resize(parts.size());
    node->parts = std::move(parts), node->weights = std::move(weights);
    return node;
  }

  Tree& to_;
  Vocabulary& vocabulary_;
  const CompositeOptions& options_;
  std::shared_ptr<const Expression> given_, base_;
  std::map<const Expression*, Term> terms_;
  const Term* first_ = nullptr;
  const model::Model* settings_ = nullptr;
  std::optional<sampling::NoiseRange> exact_range_;
  double data_deviation_ = 0;
};

}  // namespace

Tree build_tree(const Expression& expression, Vocabulary& vocabulary, const CompositeOptions& options) {
  Tree tree;
  TreeBuilder(tree, vocabulary, options).build(expression);
  each_unknown(*tree.root, [&](const Node& node, std::size_t i) {
    const Node& part = *node.parts[i];
    if (!tree.range)
      fail(part.column,
           "\"or\" and \"without\" need energies that compare; without noise levels the integral of exp(-E) is not "
           "known");
    if (!part.term() && tree.space.kind != model::SampleSpace::Kind::points)
      fail(part.column,
           "of pictures \"or\" and \"without\" take models, not compositions, whose integral of exp(-E) cannot be "
           "found; where it can be written so, put them innermost");
  });
  return tree;
}

}  // namespace igebm::generation
