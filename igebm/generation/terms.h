#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "igebm/generation/expression.h"
#include "igebm/model/model.h"

/// What the names in an expression stand for.
namespace igebm::generation {

/// A name with its arguments: an energy of inputs in `space`'s range.
struct Term {
  std::string text;          ///< as written
  model::SampleSpace space;  ///< of no account to a constraint, which takes any
  /// Noise levels that it is an energy at; none: it is one of clean inputs.
  std::optional<model::NoiseScale> noise;
  std::shared_ptr<const model::Model> model;  ///< null: a density in the plane or a constraint
  nn::Condition condition;                    ///< of the model
  bool normalised = false;                    ///< is the integral of exp(-E) 1 at every noise level?
  std::string script;  ///< of a constraint: its file, of which script_energy makes an energy; else empty
  std::function<energy::EnergyPtr(double sigma)> energy;  ///< null of a constraint
};

/// Opens models once, as expressions name them: by the names that were defined, by models' (igebm models), and
/// densities in the plane by theirs (plane.h).
class Vocabulary {
 public:
  explicit Vocabulary(model::OpenOptions options = {});
  /// `name` is a run, a checkpoint, a model or a network's file; or FILE.pt, a constraint: a TorchScript module that
  /// takes pictures (N, C, H, W) in [0, 1], or points, and gives an energy (N). Throws UserError where the name is no
  /// name or is taken.
  void define(const std::string& name, const std::string& what);
  /// Throws UserError that says the column.
  Term term(const Expression& e);
  /// A name that was defined and that no term had; empty: none.
  std::string unused() const;
  /// Of terms so far, what their numbers ask beyond the data (model::beyond_data).
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::shared_ptr<const model::Model> open(const std::string& what);
  Term find(const Expression& e);

  model::OpenOptions options_;
  std::map<std::string, std::string> defined_;
  std::set<std::string> used_;
  std::vector<std::string> notes_;
  std::map<std::string, std::shared_ptr<const model::Model>> opened_;
};

/// What a term's arguments ask of a model: a class by name or number ("none" or nothing where it knows that); numbers
/// in the order of the model's; of a pair NAME.cos and NAME.sin an angle in degrees; of columns NAME.A, NAME.B one of
/// A, B. Throws UserError.
nn::Condition condition_of(const model::ConditionSpec& spec, const std::vector<std::string>& arguments);

/// A TorchScript module's energy of x in `space`: pictures are brought to [0, 1] for it. Throws UserError.
energy::EnergyPtr script_energy(const std::string& file, const model::SampleSpace& space);

}  // namespace igebm::generation
