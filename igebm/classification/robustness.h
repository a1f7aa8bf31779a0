#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "igebm/classification/attacks.h"
#include "igebm/classification/refined.h"

/// Does a model tell test pictures' classes, how sure is it, and what is left of that under attack?
namespace igebm::classification {

/// Another model, whose classes are told, too: what fools it may fool this one.
struct Source {
  std::string name;
  const model::Model* model = nullptr;             ///< not owned
  const model::NetworkFile* classifier = nullptr;  ///< as in RobustnessOptions
};

struct RobustnessOptions {
  std::int64_t count = 1000;   ///< test pictures
  std::int64_t fitted = 1000;  ///< training pictures, held out if there are such, for temperature, offsets and level
  std::int64_t levels = 10;    ///< noise levels among which one is chosen (profile_levels), of a model that takes them
  std::vector<double> sigmas = {};  ///< in their place: energies of all these are added, each with a weight
  /// Of a level's noise, over which energies are averaged (LevelNoise); empty: none or two, whichever tells labels of
  /// training pictures better. Of energies with levels.
  std::optional<std::int64_t> draws = {};
  std::vector<double> eps = {};  ///< radii; empty: no attack
  std::vector<Attack> attacks = {Attack::pgd, Attack::apgd, Attack::square};
  AttackOptions attack = {};  ///< but for eps and seed
  RefineOptions refine = {};  ///< but for seed; step_size 0: a tenth of the level's variance, in pixels' units
  /// The network, where the model is a classifier; its energies are not asked then. Not owned.
  const model::NetworkFile* classifier = nullptr;
  std::vector<Source> sources = {};        ///< changes found against each of them are tried on this model (transfer)
  std::optional<std::uint64_t> seed = {};  ///< of which pictures are taken, and of attacks; 0
};

/// Throws UserError.
void check(const RobustnessOptions& options);

struct AttackResult {
  Attack attack = Attack::pgd;
  std::string source = {};                      ///< the model that was attacked (pgd_ends); empty: this one
  scoring::Interval accuracy;                   ///< of pictures that are told right whatever it tried
  std::int64_t gradients = 0, evaluations = 0;  ///< of all classes' logits of a picture
  double seconds = 0;
};

struct EpsResult {
  double eps = 0;
  std::vector<AttackResult> attacks;
  scoring::Interval accuracy;  ///< told right under all of them
};

struct Robustness {
  std::string fitted;  ///< which training pictures
  std::int64_t fitted_count = 0, count = 0;
  std::vector<double> sigmas;  ///< the levels that are used; empty: the model takes none
  std::int64_t draws = 0;      ///< of their noise
  Calibration calibration;
  scoring::Interval accuracy;  ///< without attack
  double calibration_error = 0, cross_entropy = 0, seconds = 0;
  double refine_step = 0;             ///< as used; 0: no such steps
  std::vector<EpsResult> eps;         ///< as asked for
  std::vector<std::string> warnings;  ///< signs that an attack is weak
  std::uint64_t seed = 0;
};

/// Temperature, offsets and noise level come from training pictures, never from the test split. `observer` may throw to
/// end the work. Throws UserError.
Robustness robustness(const model::Model& model, const RobustnessOptions& options, Observer& observer);

}  // namespace igebm::classification
