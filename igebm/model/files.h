#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/nn/network.h"

/// Networks as kept on disk, and where a run keeps them (docs/run.md, docs/checkpoint.md).
namespace igebm::model {

/// A network as kept on disk: graph, parameters (raw), spectral norm's buffers.
struct NetworkFile {
  nn::Graph graph;
  nn::Tensors parameters, buffers;
  /// "format": "igebm", "version", "graph", "step", "low", "high", and where the network takes them "conditions"
  /// (model/conditions.h) and "noise" (model/noise.h).
  std::map<std::string, std::string> metadata;
};

/// Throws UserError naming the file that is missing, truncated, foreign or from a newer version.
NetworkFile read_network_file(const std::filesystem::path& path);
/// With `parameters` for its own.
void write_network_file(const std::filesystem::path& path, const NetworkFile& network, const nn::Tensors& parameters);

/// Of a checkpoint: averaged over training steps, or as they were trained.
enum class Weights { average, network };
inline constexpr std::array weights_names = {"average", "network"};
constexpr const auto& names_of(Weights) { return weights_names; }

/// Throws UserError where a choice of weights is asked of what holds one set: a file, or a model that ships.
void check_weights(const std::filesystem::path& path, Weights weights);
/// A network from a run's or checkpoint's folder or a .safetensors file; averaged weights only where they exist.
NetworkFile load_network(const std::filesystem::path& path, Weights weights = Weights::average);

/// The same, after the networks of the `count` - 1 regular checkpoints of its run before it, oldest first. Throws
/// UserError where there are fewer.
std::vector<NetworkFile> load_ensemble(const std::filesystem::path& path, std::int64_t count,
                                       Weights weights = Weights::average);

/// The run that `what`, its folder or one of its checkpoints, belongs to; throws UserError where it is neither.
std::filesystem::path run_of(const std::filesystem::path& what);

/// checkpoints/best, or throws UserError.
std::filesystem::path find_best(const std::filesystem::path& run);

/// Folders of the run's checkpoints, oldest first.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& run);

/// The newest of them; throws UserError where there is none.
std::filesystem::path newest_checkpoint(const std::filesystem::path& run);

/// Was the checkpoint saved at the recipe's interval, not because of an interruption?
bool is_regular(const std::filesystem::path& checkpoint);

/// What `read` makes of the newest checkpoint. One that is gone meanwhile has given way to newer ones, of a run that is
/// being trained.
template <class Read>
auto of_newest(const std::filesystem::path& run, const Read& read) {
  constexpr int attempts = 10;
  for (int attempt = 1;; ++attempt) {
    const std::filesystem::path newest = newest_checkpoint(run);
    try {
      return read(newest);
    } catch (const UserError&) {
      if (attempt == attempts || std::filesystem::exists(newest)) throw;
    }
  }
}

}  // namespace igebm::model
