#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "igebm/io/recipe.h"
#include "igebm/model/noise.h"
#include "igebm/training/objective.h"
#include "igebm/training/replay_buffer.h"

/// Which objectives there are, and which of them a phase trains.
///
/// An objective is one file: its options, an aggregate with
///   static constexpr const char* section = "…";     the section of a phase that holds them
///   static constexpr Network trains = Network::…;
/// their description, `void describe(io::Fields&, Options&)`, and a subclass of Objective that is constructible from
/// (options, graph) or (options). A line in terms.cpp makes it known, or register_objective from another program.
/// Options with a member `replay` (ReplayOptions) and `steps` keep chains; with a member `noise` (model::NoiseScale)
/// say the noise levels of the energy; with a function takes_slopes(), whether it takes derivatives of dE/dx (slope.h).
namespace igebm::training {

/// An objective of a phase: options, and what the training must know of them.
class Term {
 public:
  virtual ~Term() = default;
  virtual std::unique_ptr<Term> clone() const = 0;
  virtual std::string section() const = 0;
  virtual Network trains() const = 0;
  virtual void describe(io::Fields& fields) = 0;
  /// Throws UserError where the options do not hold, or the network is of another kind.
  virtual std::unique_ptr<Objective> make(const nn::Graph& graph) const = 0;
  virtual const ReplayOptions* replay() const { return nullptr; }  ///< of the chains that it keeps, or null
  virtual std::int64_t* chain_steps() { return nullptr; }          ///< of these chains in a training step, or null
  virtual model::NoiseScale* noise() { return nullptr; }           ///< of the energy that it trains, or null
  virtual bool takes_slopes() const { return true; }               ///< may it take derivatives of dE/dx?
};

namespace detail {

template <class Options>
void describe_options(io::Fields& fields, Options& options) {
  describe(fields, options);
}

/// Throws UserError unless the objective of that section trains such a network.
void require_network(const std::string& section, Network trains, const nn::Graph& graph);

}  // namespace detail

template <class Options>
class TermWith : public Term {
 public:
  Options options;

  std::string section() const override { return Options::section; }
  Network trains() const override { return Options::trains; }
  void describe(io::Fields& fields) override { detail::describe_options(fields, options); }
  const ReplayOptions* replay() const override {
    if constexpr (requires { options.replay; }) return &options.replay;
    return nullptr;
  }
  std::int64_t* chain_steps() override {
    if constexpr (requires { options.replay; }) return &options.steps;
    return nullptr;
  }
  model::NoiseScale* noise() override {
    if constexpr (requires { options.noise; }) return &options.noise;
    return nullptr;
  }
  bool takes_slopes() const override {
    if constexpr (requires { options.takes_slopes(); }) return options.takes_slopes();
    return true;
  }
};

template <class Options, class Made>
class TermOf final : public TermWith<Options> {
 public:
  std::unique_ptr<Term> clone() const override { return std::make_unique<TermOf>(*this); }
  std::unique_ptr<Objective> make(const nn::Graph& graph) const override {
    detail::require_network(Options::section, Options::trains, graph);
    io::check(Options::section, this->options);
    if constexpr (std::is_constructible_v<Made, const Options&, const nn::Graph&>) {
      return std::make_unique<Made>(this->options, graph);
    } else {
      return std::make_unique<Made>(this->options);
    }
  }
};

/// The name of an objective in words: "energy matching".
std::string words(std::string section);

/// The objectives that recipes know, in the order in which a step computes them: the library's, then those registered.
const std::vector<std::unique_ptr<Term>>& known_objectives();

/// Makes a section known to recipes. To be called before recipes are read, from one thread. Throws UserError where one
/// of that name is known.
void register_objective(std::unique_ptr<Term> defaults);
template <class Options, class Made>
void register_objective() {
  register_objective(std::make_unique<TermOf<Options, Made>>());
}

/// The objectives of a phase, whose losses add up. A value: copies share nothing.
class Terms {
 public:
  Terms() = default;
  Terms(const Terms& other);
  Terms(Terms&&) noexcept = default;
  Terms& operator=(Terms other) noexcept;
  ~Terms() = default;

  /// Adds the objective of such options, or replaces its options. Throws UserError unless it is known.
  template <class Options>
  void add(const Options& options) {
    dynamic_cast<TermWith<Options>&>(at(Options::section)).options = options;
  }
  /// Its options, or null where the phase does not train it.
  template <class Options>
  Options* find() {
    for (const auto& term : terms_) {
      if (auto* found = dynamic_cast<TermWith<Options>*>(term.get())) return &found->options;
    }
    return nullptr;
  }
  template <class Options>
  const Options* find() const {
    return const_cast<Terms*>(this)->find<Options>();  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  }

  bool empty() const { return terms_.empty(); }
  auto begin() const { return terms_.begin(); }
  auto end() const { return terms_.end(); }
  bool keeps_chains() const;
  bool takes_slopes() const;
  const model::NoiseScale* noise() const;  ///< of the first that has it, or null

  void describe(io::Fields& fields);

 private:
  Term& at(const std::string& section);

  std::vector<std::unique_ptr<Term>> terms_;  // in the order of known_objectives
};

}  // namespace igebm::training
