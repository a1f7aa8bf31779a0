#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "igebm/energy/energy.h"
#include "igebm/engine/engine.h"
#include "igebm/model/conditions.h"
#include "igebm/model/files.h"
#include "igebm/model/settings.h"
#include "igebm/sampling/settled.h"

/// A trained model opened for use.
namespace igebm::model {

/// Where samples live.
struct SampleSpace {
  enum class Kind { image, points };
  Kind kind = Kind::image;
  std::vector<std::int64_t> shape;  ///< (C, H, W) or (D)
  double low = 0, high = 1;         ///< what black and white are to the model

  at::Tensor to_unit(const at::Tensor& x) const;    ///< images in [0, 1]; points as they are
  at::Tensor from_unit(const at::Tensor& x) const;  ///< the other way
};

/// Of a network of `shape` that is trained on such data.
SampleSpace space_of(const std::vector<std::int64_t>& shape, const data::Options& data);

struct OpenOptions {
  Weights weights = Weights::average;
  bool best = false;          ///< the checkpoint that the recipe's [evaluate] found best, of a run's
  std::int64_t ensemble = 0;  ///< the newest checkpoints, so many, take sampling's steps in turn; 0: the recipe's
  // engine::Options; empty: the recipe's.
  std::optional<engine::Kind> engine = {};
  std::string device = {};
  std::optional<engine::Precision> precision = {};
  bool exact_points = false;  ///< f32 where records are points in the plane, whose energies are then compared
};

/// Samples that are given more steps: the same chains, with new random numbers.
struct Continued {
  at::Tensor x;              ///< (count, ...) in the model's range
  at::Tensor stream, steps;  ///< (count) int64, as Samples has them
  double sigma = 1;          ///< of a model that takes noise levels: the one that they go back to, and down from
};

/// Far from the streams of training's chains.
constexpr std::int64_t sample_streams = std::int64_t{1} << 41;

/// The defaults draw what `igebm sample` draws.
struct SampleRequest {
  std::int64_t count = 1;
  nn::Condition condition = {};                          ///< empty: usual_condition
  std::optional<std::uint64_t> seed = {};                ///< the recipe's
  std::optional<sampling::SamplerOptions> sampler = {};  ///< the recipe's
  std::int64_t first_stream = sample_streams;            ///< of random numbers; each chain has its own from here on
  std::int64_t batch = 250;                              ///< chains moved at a time
  bool energies = true;                                  ///< computed of what is returned
  sampling::OnStep on_step = {};                         ///< sees chains on the model's device
  /// Each chain until it has settled, in place of the sampler's steps (sampling/settled.h).
  std::optional<sampling::SettledOptions> until = {};
  sampling::OnRound on_round = {};  ///< in the place of on_step
  const Continued* from = nullptr;  ///< chains to go on with instead of new ones; not owned
};

struct Samples {
  at::Tensor x;               ///< (count, shape...) in the model's range, on the CPU
  nn::Condition condition;    ///< of each, without its noise level
  at::Tensor energies;        ///< (count): the newest network's, at its least noise level; undefined if not asked for
  at::Tensor stream, steps;   ///< (count) int64: what chains go on with
  at::Tensor evaluations;     ///< (count) int64: gradients of E that each has taken, by this call
  at::Tensor sigma, settled;  ///< of `until`: where each has settled, and whether (sampling::Settled)
};

/// One network, or an ensemble of one graph's networks, frozen. What it computes needs no gradients of weights.
class Model {
 public:
  /// A run's folder, one of its checkpoints, a model's name (model/shipped.h), or a .safetensors file, which has no
  /// recipe: then the defaults hold. Throws UserError.
  static Model open(const std::filesystem::path& what, const OpenOptions& options = {});
  /// The same with other settings than those of the run's recipe.
  static Model open(const std::filesystem::path& what, const OpenOptions& options, const Settings& settings);

  /// Of networks in memory, oldest first.
  Model(nn::Graph graph, std::vector<std::shared_ptr<engine::Prepared>> networks, ConditionSpec spec,
        const Settings& settings);

  const SampleSpace& space() const { return space_; }
  const ConditionSpec& condition_spec() const { return spec_; }
  const Settings& settings() const { return settings_; }
  const nn::Graph& graph() const { return graph_; }
  c10::Device device() const { return device_; }  ///< where energies take their input
  std::int64_t size() const { return static_cast<std::int64_t>(networks_.size()); }  ///< of the ensemble
  const std::string& step() const { return step_; }  ///< training steps of the newest; empty: not known

  /// The newest network's energy of x in the model's range, at its least noise level if it takes them. A condition of
  /// one row, and none, hold for any number of inputs. Throws UserError where it is not what the model takes.
  energy::EnergyPtr energy(const nn::Condition& condition = {}) const;
  /// The same at noise level sigma, of a model that takes them.
  energy::EnergyPtr energy(const nn::Condition& condition, double sigma) const;

  /// All samples that are asked for; where Stop is thrown (sampling/sampler.h) the first ones, as many as are finished.
  Samples sample(const SampleRequest& request) const;

 private:
  struct Drawing;
  bool annealed() const { return graph_.noise_features > 0; }
  energy::EnergyPtr newest(const nn::Condition& condition, double sigma) const;
  energy::EnergyPtr bound(engine::Prepared& network, const at::Tensor& labels, std::int64_t count, double sigma) const;
  /// The same of E_none + guidance (E - E_none).
  energy::EnergyPtr guided(engine::Prepared& network, const at::Tensor& labels, std::int64_t count, double sigma,
                           double guidance) const;
  energy::EnergyPtr guided(engine::Prepared& network, const at::Tensor& labels, const at::Tensor& sigma,
                           double guidance) const;  ///< of inputs at levels of their own
  void check(const Continued& from, std::int64_t count) const;
  void require_energy(const char* what) const;

  nn::Graph graph_;
  std::vector<std::shared_ptr<engine::Prepared>> networks_;
  ConditionSpec spec_;
  Settings settings_;
  SampleSpace space_;
  c10::Device device_;
  std::string step_;
};

}  // namespace igebm::model
