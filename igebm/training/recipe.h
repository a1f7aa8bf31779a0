#pragma once

#include <memory>
#include <string>
#include <vector>

#include "igebm/io/recipe.h"
#include "igebm/model/settings.h"
#include "igebm/nn/architectures.h"
#include "igebm/training/optimizer.h"
#include "igebm/training/terms.h"

/// A recipe: everything a run is made of, as options that map one to one onto the TOML file.
namespace igebm::training {

struct NetworkOptions {
  std::string kind = "residual";  ///< or "strided", "unet", "mlp", "classifier"; its own options stand in the section
  bool labels = false;            ///< conditional on the data's labels
  std::vector<std::string> conditions;  ///< or on these of their numbers: data::Dataset::condition_columns
  std::int64_t noise_features = 0;      ///< above 0, an even number: on a noise level as well (nn/conditions.h)
  std::int64_t number_features = 0;     ///< above 0, an even number: of the conditions, beside them (nn/conditions.h)
  double label_dropout = 0;             ///< share of labels or conditions left out; above 0: none may be asked for
  nn::ResidualOptions residual;
  nn::StridedOptions strided;
  nn::UNetOptions unet;
  nn::MlpOptions mlp;
  nn::ClassifierOptions classifier;
};

/// A stretch of training with one loss (a sum of objectives) and one optimiser.
struct PhaseOptions {
  std::string name;
  std::int64_t steps = 1000;
  std::int64_t batch = 64;
  std::int64_t repeats = 1;  ///< steps that take the same records, with noise anew
  double average = 0.995;    ///< decay of the average of weights; 0: none
  bool from_average = true;  ///< the phase starts from the average of the phase before
  OptimizerOptions optimizer;
  Terms objectives;  ///< such as objectives.add(EnergyMatchingOptions{})
};

struct WatchdogOptions {
  double energy_limit = 1e5;          ///< of |mean E| of data or samples
  double loss_limit = 100;            ///< of Loss::relative
  std::int64_t rollbacks = 5;         ///< before the training stops
  double learning_rate_factor = 0.5;  ///< the rate is multiplied by it at each rollback
};

struct OutputOptions {
  std::int64_t checkpoint_every = 500;
  std::int64_t keep = 3;  ///< checkpoints kept; 0: all
  std::int64_t metrics_every = 10;
  std::int64_t samples_every = 500;  ///< 0: none
  std::int64_t samples = 64;
};

/// Quality of samples during training, by which the best checkpoint is kept as checkpoints/best.
struct EvaluateOptions {
  std::int64_t every = 0;          ///< training steps between figures; 0: none
  std::string metric = "frechet";  ///< one of evaluation::ranking_metric_names()
  std::string features;            ///< as `igebm evaluate --features`; empty: the usual ones
  std::int64_t count = 500;        ///< samples drawn for a figure
};

struct Recipe : model::Settings {
  NetworkOptions network;
  std::string from;  ///< a model whose weights training begins with (training/start.h); empty: random ones
  std::vector<std::string> phase_order = {"train"};
  std::vector<PhaseOptions> phases;  ///< in that order
  WatchdogOptions watchdog;
  OutputOptions output;
  EvaluateOptions evaluate;

  std::int64_t total_steps() const;
};

void describe(io::Fields& fields, Recipe& recipe);
/// "3000 steps of 64, denoising score matching".
std::string in_words(const PhaseOptions& phase);

/// The recipe in a file, with "section.key=value" assignments on top. Its relative paths are as seen from where the
/// program runs and become absolute, so that a run can be gone on with from anywhere. Throws UserError.
Recipe read_recipe(const std::string& path, const std::vector<std::string>& assignments);

/// A phase's objectives for the network of `graph`, by name, which is that of their section.
using Objectives = std::vector<std::pair<std::string, std::unique_ptr<Objective>>>;
Objectives make_objectives(const PhaseOptions& phase, const nn::Graph& graph);

/// The network for data of `classes` classes, of whose conditions the options pick `conditions` columns.
nn::Graph build_graph(const NetworkOptions& options, const std::vector<std::int64_t>& input_shape, std::int64_t classes,
                      std::int64_t conditions = 0);

}  // namespace igebm::training
