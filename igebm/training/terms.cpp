#include "igebm/training/terms.h"

#include <fmt/format.h>

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/training/classification.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/denoising_score_matching.h"
#include "igebm/training/energy_matching.h"

namespace igebm::training {
namespace {

using Known = std::vector<std::unique_ptr<Term>>;

template <class Options, class Made>
void add(Known& known) {
  known.push_back(std::make_unique<TermOf<Options, Made>>());
}

Known& known() {
  static Known all = [] {
    Known table;
    add<EnergyMatchingOptions, EnergyMatching>(table);
    add<ContrastiveDivergenceOptions, ContrastiveDivergence>(table);
    add<DenoisingScoreMatchingOptions, DenoisingScoreMatching>(table);
    add<ClassificationOptions, Classification>(table);
    return table;
  }();
  return all;
}

std::size_t place_of(const std::string& section) {
  const Known& all = known();
  const auto found = std::ranges::find_if(all, [&](const auto& term) { return term->section() == section; });
  return static_cast<std::size_t>(found - all.begin());
}

}  // namespace

Network kind_of(const nn::Graph& graph) {
  if (graph.outputs > 0) return Network::classifier;
  return graph.noise_features > 0 ? Network::energy_at_noise_levels : Network::energy;
}

std::string describe_network(Network network) {
  switch (network) {
    case Network::energy:
      return "an energy without noise levels";
    case Network::energy_at_noise_levels:
      return "an energy at noise levels (network.noise_features above 0)";
    case Network::classifier:
      return "a classifier (network.kind = \"classifier\")";
  }
  throw UserError("a kind of network that stands for nothing");
}

void detail::require_network(const std::string& section, Network trains, const nn::Graph& graph) {
  if (kind_of(graph) != trains)
    throw UserError(fmt::format("{}: trains {}, but this network is {}", section, describe_network(trains),
                                describe_network(kind_of(graph))));
}

std::string words(std::string section) {
  std::ranges::replace(section, '_', ' ');
  return section;
}

const std::vector<std::unique_ptr<Term>>& known_objectives() { return known(); }

void register_objective(std::unique_ptr<Term> defaults) {
  if (place_of(defaults->section()) < known().size())
    throw UserError(fmt::format("an objective \"{}\" is known already", defaults->section()));
  known().push_back(std::move(defaults));
}

Terms::Terms(const Terms& other) {
  for (const auto& term : other.terms_) terms_.push_back(term->clone());
}

Terms& Terms::operator=(Terms other) noexcept {
  terms_.swap(other.terms_);
  return *this;
}

Term& Terms::at(const std::string& section) {
  const std::size_t place = place_of(section);
  if (place == known().size()) throw UserError(fmt::format("an objective \"{}\" is not known", section));
  auto next = std::ranges::find_if(terms_, [&](const auto& term) { return place_of(term->section()) >= place; });
  if (next == terms_.end() || (*next)->section() != section) next = terms_.insert(next, known()[place]->clone());
  return **next;
}

bool Terms::keeps_chains() const {
  return std::ranges::any_of(terms_, [](const auto& term) { return term->replay() != nullptr; });
}

bool Terms::takes_slopes() const {
  return std::ranges::any_of(terms_, [](const auto& term) { return term->takes_slopes(); });
}

const model::NoiseScale* Terms::noise() const {
  for (const auto& term : terms_) {
    if (term->noise() != nullptr) return term->noise();
  }
  return nullptr;
}

void Terms::describe(io::Fields& fields) {
  std::vector<std::unique_ptr<Term>> present;
  for (const auto& one : known()) {
    const auto mine = std::ranges::find_if(terms_, [&](const auto& term) { return term->section() == one->section(); });
    bool there = mine != terms_.end();
    auto term = (there ? *mine : one)->clone();
    fields.optional_section(one->section().c_str(), there, [&](io::Fields& f) { term->describe(f); });
    if (there) present.push_back(std::move(term));
  }
  terms_ = std::move(present);
}

}  // namespace igebm::training
