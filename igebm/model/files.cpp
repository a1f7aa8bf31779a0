#include "igebm/model/files.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "igebm/io/files.h"
#include "igebm/io/safetensors.h"
#include "igebm/nn/weights.h"

namespace igebm::model {
namespace {

namespace fs = std::filesystem;
constexpr int version = 1;
const std::string buffer_prefix = "spectral_norm.";

bool is_step(const std::string& name) {
  return !name.empty() && name.size() <= 18 && name.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

void write_network_file(const fs::path& path, const NetworkFile& network, const nn::Tensors& parameters) {
  nn::Tensors tensors;
  for (const auto& [name, t] : parameters) tensors[name] = t.detach().cpu();
  for (const auto& [name, t] : network.buffers) tensors[buffer_prefix + name] = t.cpu();
  auto metadata = network.metadata;
  metadata["format"] = "igebm";
  metadata["version"] = std::to_string(version);
  metadata["graph"] = nn::to_json(network.graph);
  io::write_safetensors(path, tensors, metadata);
}

NetworkFile read_network_file(const fs::path& path) {
  auto file = io::read_safetensors(path);
  const auto found = file.metadata.find("format");
  if (found == file.metadata.end() || found->second != "igebm") {
    throw UserError(fmt::format("{}: not a model of igebm (its metadata lack \"format\": \"igebm\")", path.string()));
  }
  if (std::atoi(file.metadata["version"].c_str()) > version) {
    throw UserError(fmt::format("{}: written by a newer igebm (version {} of the format; this program reads up to {})",
                                path.string(), file.metadata["version"], version));
  }
  NetworkFile network;
  network.graph = nn::graph_from_json(file.metadata["graph"]);
  network.metadata = std::move(file.metadata);
  for (auto& [name, t] : file.tensors) {
    if (!t.is_floating_point())
      throw UserError(fmt::format("{}: tensor \"{}\": expected numbers with a fraction, got {}", path.string(), name,
                                  at::toString(t.scalar_type())));
    t = t.to(at::kFloat);  // other programs may have kept half the precision
    if (name.starts_with(buffer_prefix)) {
      network.buffers[name.substr(buffer_prefix.size())] = t;
    } else {
      network.parameters[name] = t;
    }
  }
  const auto check = [&](const nn::Tensors& have, const nn::Shapes& want) {
    for (const auto& [name, shape] : want) {
      const auto it = have.find(name);
      if (it == have.end())
        throw UserError(fmt::format("{}: lacks the tensor \"{}\" of its network", path.string(), name));
      if (it->second.sizes() != shape)
        throw UserError(fmt::format("{}: tensor \"{}\" has another shape than its network's", path.string(), name));
    }
  };
  check(network.parameters, nn::parameter_shapes(network.graph));
  check(network.buffers, nn::buffer_shapes(network.graph));
  return network;
}

bool is_regular(const fs::path& folder) {
  const auto json = nlohmann::json::parse(io::read_file(folder / "checkpoint.json"), nullptr, false);
  return json.is_object() && json.value("regular", false);
}

std::vector<fs::path> list_checkpoints(const fs::path& run) {
  std::vector<fs::path> folders;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", none)) {
    if (is_step(entry.path().filename())) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end(),
            [](const fs::path& a, const fs::path& b) { return std::stoll(a.filename()) < std::stoll(b.filename()); });
  return folders;
}

fs::path newest_checkpoint(const fs::path& run) {
  const auto folders = list_checkpoints(run);
  if (folders.empty())
    throw UserError(
        fmt::format("{}: neither a run with checkpoints, nor a checkpoint, nor a .safetensors file", run.string()));
  return folders.back();
}

fs::path find_best(const fs::path& run) {
  for (const char* name : {"best", "replaced-best"}) {  // the second: restore_replaced is for who may write
    fs::path best = run / "checkpoints" / name;
    if (fs::exists(best / "checkpoint.json")) return best;
  }
  throw UserError(
      fmt::format("{}: no best checkpoint; a run keeps one where its recipe has evaluate.every above 0", run.string()));
}

void check_weights(const fs::path& path, Weights weights) {
  const bool one_set =
      fs::is_regular_file(path) || (fs::exists(path / "network.safetensors") && !fs::exists(path / "checkpoint.json"));
  if (weights == Weights::network && one_set)
    throw UserError(
        fmt::format("{}: holds one set of weights; --weights network is of a run or a checkpoint", path.string()));
}

NetworkFile load_network(const fs::path& path, Weights weights) {
  if (fs::is_regular_file(path)) return read_network_file(path);
  const auto read = [weights](const fs::path& folder) {
    const fs::path average = folder / "average.safetensors";
    return read_network_file(weights == Weights::average && fs::exists(average) ? average
                                                                                : folder / "network.safetensors");
  };
  return fs::exists(path / "network.safetensors") ? read(path) : of_newest(path, read);
}

fs::path run_of(const fs::path& what) {
  const fs::path run = fs::exists(what / "checkpoint.json") ? fs::canonical(what).parent_path().parent_path() : what;
  if (!fs::exists(what)) throw UserError(fmt::format("{}: no such file or folder, nor a model's name", what.string()));
  if (!fs::exists(run / "recipe.toml"))
    throw UserError(fmt::format("{}: not a run (no recipe.toml in it)", what.string()));
  return run;
}

std::vector<NetworkFile> load_ensemble(const fs::path& path, std::int64_t count, Weights weights) {
  std::vector<NetworkFile> models = {load_network(path, weights)};
  if (count == 1) return models;
  const fs::path run = run_of(path);
  const auto step = models[0].metadata.find("step");
  if (step == models[0].metadata.end() || !is_step(step->second))
    throw UserError(fmt::format("{}: its metadata lack the \"step\" that an ensemble counts back from", path.string()));
  const std::int64_t newest = std::stoll(step->second);
  const auto folders = list_checkpoints(run);
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    if (static_cast<std::int64_t>(models.size()) == count) break;
    if (std::stoll(folder->filename()) < newest && is_regular(*folder))
      models.push_back(load_network(*folder, weights));
  }
  if (static_cast<std::int64_t>(models.size()) < count) {
    throw UserError(
        fmt::format("{}: {} checkpoints up to step {}, expected {} for the ensemble; train.keep says how many are kept",
                    run.string(), models.size(), newest, count));
  }
  std::reverse(models.begin(), models.end());
  return models;
}

}  // namespace igebm::model
