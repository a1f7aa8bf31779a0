#pragma once

#include <filesystem>
#include <memory>

#include "igebm/training/checkpoint.h"
#include "igebm/training/conditions.h"
#include "igebm/training/recipe.h"

/// From a run's model to samples.
namespace igebm::training {

/// What samples are drawn from: models of one graph that take sampling's steps in turn, oldest first; mostly one.
struct Ensemble {
  nn::Graph graph;
  std::vector<std::shared_ptr<engine::Prepared>> models;
  Conditions conditions = {};  ///< the newest's, for labels where none are given
  NoiseScale noise = {};       ///< its noise levels, where it takes them

  /// The newest's energy that samples of the model have, at the least noise level if it takes them.
  energy::EnergyPtr energy(const at::Tensor& labels, std::int64_t count) const;
};

/// Models of that run, frozen for sampling by the engine that the recipe asks for. Without gradients: call it under
/// at::NoGradGuard.
Ensemble prepare(const std::vector<Model>& models, const Recipe& recipe, const std::filesystem::path& run);

/// The engine that the recipe asks for, with the algorithms that `run` has kept (engine.json) if it has;
/// an empty `run` has none.
engine::Options engine_options(const Recipe& recipe, const std::filesystem::path& run);

/// Samples as the recipe says: `count` chains with streams from `first_stream`; labels, one for each, are usual_labels
/// unless given. Moves `batch` chains at a time. Pictures are clamped to the data's range at the end; energies are the
/// newest model's of what is returned. On the recipe's device; on_step sees chains there, what is returned is on the
/// CPU.
sampling::Chains draw(const Recipe& recipe, const Ensemble& ensemble, std::int64_t count, std::int64_t first_stream,
                      const at::Tensor& labels, std::uint64_t seed, at::Tensor* energies,
                      const sampling::OnStep& on_step = {}, std::int64_t batch = 256);

/// Energies on a square grid out to `bound` in the plane, (side, side) on the CPU, under labels of zero: a density's.
at::Tensor energies_in_plane(const Ensemble& ensemble, double bound, c10::Device device);

/// `count` of them as a PNG file at `path`, drawn with the recipe's seed: a grid of pictures, or for points in the
/// plane the density exp(-E) out to about `extent` with samples on it (under labels of zero). REQUIRES: io::has_picture
/// of what the model draws.
void write_picture(const std::filesystem::path& path, const Recipe& recipe, const Ensemble& ensemble,
                   std::int64_t count, std::int64_t first_stream, double extent);

/// Pictures in [0, 1] from chains in the data's range.
at::Tensor to_unit(const at::Tensor& x, const data::Options& options);

}  // namespace igebm::training
