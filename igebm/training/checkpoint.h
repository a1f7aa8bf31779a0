#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "igebm/data/fingerprint.h"
#include "igebm/model/files.h"

/// checkpoints/<step>/ of a run (docs/checkpoint.md): written under another name, synced, and renamed, so that a
/// folder with a number for its name is always whole.
namespace igebm::training {

/// The best figure of quality so far, and what it was measured by (evaluate.*): only figures of the same compare.
struct Best {
  std::int64_t step = 0;
  double value = 0;
  std::string metric = {}, features = {};
  std::int64_t count = 0;  ///< 0: not known, in checkpoints of earlier versions
};

struct Checkpoint {
  std::int64_t step = 0;             ///< training steps done
  bool regular = true;               ///< at the recipe's interval; false: saved because of an interruption
  std::int64_t rollbacks = 0;        ///< by the watchdog until then
  std::int64_t rolled_back_to = -1;  ///< the step that the last of them went back to
  std::string phase;                 ///< that optimiser, average and objectives are of; empty in earlier versions'
  std::int64_t phase_steps = 0;      ///< that these have taken
  std::int64_t metrics_bytes = 0;    ///< length of metrics.jsonl then
  std::int64_t threads = 0;
  std::string engine;   ///< description of the engine that sampled
  std::string machine;  ///< in words (base/device.h); empty: of a version that did not say
  std::optional<Best> best;
  std::optional<data::Fingerprint> data;     ///< of what it was trained on; none in earlier versions'
  model::NetworkFile network;                ///< network.safetensors: parameters as trained
  nn::Tensors average;                       ///< average.safetensors: their average, if there is one
  std::map<std::string, nn::Tensors> state;  ///< state.safetensors: "optimizer", "<objective>", …, tensors by name
};

/// Writes checkpoint and removes what exceeds the newest `keep` (0: removes none); an interruption's does not count,
/// and goes with the regular one after it. Disk full: UserError, and what was there is left as it was.
void save_checkpoint(const std::filesystem::path& run, const Checkpoint& checkpoint, std::int64_t keep);

/// The same as checkpoints/best, in place of the one before; nothing else removes it.
void save_best(const std::filesystem::path& run, const Checkpoint& checkpoint);

/// Puts back what an interruption left between its old place and nowhere, where a file system cannot exchange folders.
void restore_replaced(const std::filesystem::path& run);

/// Throws UserError naming the file that is missing, truncated, changed, foreign or from a newer version.
Checkpoint load_checkpoint(const std::filesystem::path& folder);

/// The newest of a run, which may be in training meanwhile. Throws UserError like load_checkpoint, or where none is
/// there.
Checkpoint load_newest(const std::filesystem::path& run);

}  // namespace igebm::training
