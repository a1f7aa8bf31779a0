#include "igebm/training/checkpoint.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/safetensors.h"
#include "igebm/io/utf8.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;
constexpr int version = 1;
const std::string buffer_prefix = "spectral_norm.";

void write_model(const fs::path& path, const Model& model, const nn::Tensors& parameters) {
  nn::Tensors tensors;
  for (const auto& [name, t] : parameters) tensors[name] = t.detach().cpu();
  for (const auto& [name, t] : model.buffers) tensors[buffer_prefix + name] = t.cpu();
  auto metadata = model.metadata;
  metadata["format"] = "igebm";
  metadata["version"] = std::to_string(version);
  metadata["graph"] = nn::to_json(model.graph);
  io::write_safetensors(path, tensors, metadata);
}

Model read_model(const fs::path& path) {
  auto file = io::read_safetensors(path);
  const auto found = file.metadata.find("format");
  if (found == file.metadata.end() || found->second != "igebm") {
    throw UserError(fmt::format("{}: not a model of igebm (its metadata lack \"format\": \"igebm\")", path.string()));
  }
  if (std::atoi(file.metadata["version"].c_str()) > version) {
    throw UserError(fmt::format("{}: written by a newer igebm (version {} of the format; this program reads up to {})",
                                path.string(), file.metadata["version"], version));
  }
  Model model;
  model.graph = nn::graph_from_json(file.metadata["graph"]);
  model.metadata = std::move(file.metadata);
  for (auto& [name, t] : file.tensors) {
    if (!t.is_floating_point())
      throw UserError(fmt::format("{}: tensor \"{}\": expected numbers with a fraction, got {}", path.string(), name,
                                  at::toString(t.scalar_type())));
    t = t.to(at::kFloat);  // other programs may have kept half the precision
    if (name.starts_with(buffer_prefix)) {
      model.buffers[name.substr(buffer_prefix.size())] = t;
    } else {
      model.parameters[name] = t;
    }
  }
  const nn::Network expected(model.graph, 0);
  const auto check = [&](const nn::Tensors& have, const nn::Tensors& want) {
    for (const auto& [name, t] : want) {
      const auto it = have.find(name);
      if (it == have.end())
        throw UserError(fmt::format("{}: lacks the tensor \"{}\" of its network", path.string(), name));
      if (it->second.sizes() != t.sizes())
        throw UserError(fmt::format("{}: tensor \"{}\" has another shape than its network's", path.string(), name));
    }
  };
  check(model.parameters, expected.parameters());
  check(model.buffers, expected.buffers());
  return model;
}

std::string checksum(const fs::path& path) {
  const std::string bytes = io::read_file(path);
  return fmt::format("{:08x}", crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

const std::string replaced_prefix = "replaced-";

/// `whole` at the place of `folder`. What stands there, the same state saved before or the best one before, goes last.
void put_in_place(const fs::path& whole, const fs::path& folder) {
  const fs::path all = folder.parent_path();
  if (::renameat2(AT_FDCWD, whole.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) {
    io::sync_folder(all);
    fs::remove_all(whole);
    return;
  }
  const fs::path old = all / (replaced_prefix + folder.filename().string());
  fs::remove_all(old);
  if (fs::exists(folder)) fs::rename(folder, old);
  fs::rename(whole, folder);
  io::sync_folder(all);
  fs::remove_all(old);
}

nlohmann::ordered_json to_json(const Checkpoint& c) {
  nlohmann::ordered_json json = {{"format", "igebm-checkpoint"},
                                 {"version", version},
                                 {"step", c.step},
                                 {"regular", c.regular},
                                 {"rollbacks", c.rollbacks},
                                 {"rolled_back_to", c.rolled_back_to},
                                 {"phase", c.phase},
                                 {"phase_steps", c.phase_steps},
                                 {"metrics_bytes", c.metrics_bytes},
                                 {"threads", c.threads},
                                 {"engine", c.engine}};
  if (c.best) {
    json["best"] = {{"step", c.best->step},
                    {"value", c.best->value},
                    {"metric", c.best->metric},
                    {"features", io::utf8_of(c.best->features)},
                    {"count", c.best->count}};
  }
  if (c.data) {
    json["data"] = {{"records", c.data->records},         {"shape", c.data->shape},
                    {"class_names", c.data->class_names}, {"labels", c.data->labels},
                    {"conditions", c.data->conditions},   {"content", c.data->content}};
  }
  return json;
}

/// checkpoints/<name>, whole or as it was before.
void write_checkpoint(const fs::path& run, const Checkpoint& c, const std::string& name) {
  const fs::path all = run / "checkpoints";
  const fs::path folder = all / name, temporary = all / ("saving-" + name);
  std::error_code error;
  fs::remove_all(temporary, error);
  io::make_folder(temporary);
  io::sync_folder(run);
  try {
    write_model(temporary / "network.safetensors", c.network, c.network.parameters);
    if (!c.average.empty()) write_model(temporary / "average.safetensors", c.network, c.average);
    nn::Tensors state;
    for (const auto& [part, tensors] : c.state) {
      for (const auto& [key, t] : tensors) state[part + "." + key] = t.cpu();
    }
    io::write_safetensors(temporary / "state.safetensors", state, {{"format", "igebm-state"}});
    nlohmann::ordered_json json = to_json(c);
    for (const char* file : {"network.safetensors", "average.safetensors", "state.safetensors"}) {
      if (fs::exists(temporary / file)) json["crc32"][file] = checksum(temporary / file);
    }
    io::write_atomically(temporary / "checkpoint.json", json.dump(2) + "\n");
    put_in_place(temporary, folder);
  } catch (const fs::filesystem_error& e) {
    fs::remove_all(temporary, error);
    throw UserError(fmt::format("{}: cannot be saved: {}", folder.string(), e.code().message()));
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
}

bool is_regular(const fs::path& folder) {
  const auto json = nlohmann::json::parse(io::read_file(folder / "checkpoint.json"), nullptr, false);
  return json.is_object() && json.value("regular", false);
}

/// What `read` makes of the newest checkpoint. One that is gone meanwhile has given way to newer ones, of a run that is
/// being trained.
template <class Read>
auto of_newest(const fs::path& run, const Read& read) {
  for (int attempt = 0;; ++attempt) {
    const auto folders = list_checkpoints(run);
    if (folders.empty())
      throw UserError(
          fmt::format("{}: neither a run with checkpoints, nor a checkpoint, nor a .safetensors file", run.string()));
    try {
      return read(folders.back());
    } catch (const UserError&) {
      if (attempt == 9 || fs::exists(folders.back())) throw;
    }
  }
}

bool is_step(const std::string& name) {
  return !name.empty() && name.size() <= 18 && name.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

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

void save_checkpoint(const fs::path& run, const Checkpoint& c, std::int64_t keep) {
  write_checkpoint(run, c, fmt::format("{:06}", c.step));
  if (keep > 0 && c.regular) {
    std::error_code error;
    std::int64_t kept = 0;
    const auto folders = list_checkpoints(run);
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
      if (kept == keep || !is_regular(*folder)) {
        fs::remove_all(*folder, error);
      } else {
        ++kept;
      }
    }
  }
}

void save_best(const fs::path& run, const Checkpoint& c) { write_checkpoint(run, c, "best"); }

void restore_replaced(const fs::path& run) {
  std::vector<fs::path> replaced;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", none)) {
    if (entry.path().filename().string().starts_with(replaced_prefix)) replaced.push_back(entry.path());
  }
  for (const fs::path& old : replaced) {
    const fs::path place = old.parent_path() / old.filename().string().substr(replaced_prefix.size());
    if (!fs::exists(place, none)) {
      fs::rename(old, place, none);
    } else {
      fs::remove_all(old, none);
    }
  }
}

fs::path find_best(const fs::path& run) {
  for (const char* name : {"best", "replaced-best"}) {  // the second: restore_replaced is for who may write
    fs::path best = run / "checkpoints" / name;
    if (fs::exists(best / "checkpoint.json")) return best;
  }
  throw UserError(
      fmt::format("{}: no best checkpoint; a run keeps one where its recipe has evaluate.every above 0", run.string()));
}

Checkpoint load_checkpoint(const fs::path& folder) {
  const fs::path index = folder / "checkpoint.json";
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(io::read_file(index));
    if (json.at("format") != "igebm-checkpoint")
      throw UserError(fmt::format("{}: not a checkpoint of igebm", index.string()));
    if (json.at("version").get<int>() > version) {
      throw UserError(
          fmt::format("{}: written by a newer igebm (version {} of the format; this program reads up to {})",
                      index.string(), json.at("version").get<int>(), version));
    }
    Checkpoint c;
    c.step = json.at("step");
    c.regular = json.at("regular");
    c.rollbacks = json.at("rollbacks");
    c.rolled_back_to = json.value("rolled_back_to", std::int64_t{-1});
    c.phase = json.value("phase", "");
    c.phase_steps = json.value("phase_steps", std::int64_t{0});
    c.metrics_bytes = json.at("metrics_bytes");
    c.threads = json.at("threads");
    c.engine = json.at("engine");
    if (json.contains("best")) {
      const auto& best = json["best"];
      c.best = {best.at("step"), best.at("value"), best.value("metric", ""), io::bytes_of(best.value("features", "")),
                best.value("count", std::int64_t{0})};
    }
    if (json.contains("data")) {
      const auto& data = json["data"];
      c.data = {data.at("records"), data.at("shape"),      data.at("class_names"),
                data.at("labels"),  data.at("conditions"), data.at("content")};
    }
    for (const auto& [file, sum] : json.at("crc32").items()) {
      if (checksum(folder / file) != sum.get<std::string>()) {
        throw UserError(
            fmt::format("{}: damaged (its checksum is not the one in checkpoint.json)", (folder / file).string()));
      }
    }
    c.network = read_model(folder / "network.safetensors");
    if (json.at("crc32").contains("average.safetensors"))
      c.average = read_model(folder / "average.safetensors").parameters;
    for (auto& [name, t] : io::read_safetensors(folder / "state.safetensors").tensors) {
      const auto dot = name.find('.');
      c.state[name.substr(0, dot)][name.substr(dot + 1)] = t;
    }
    return c;
  } catch (const nlohmann::json::exception& e) {
    throw UserError(fmt::format("{}: not a checkpoint's index ({})", index.string(), e.what()));
  }
}

Checkpoint load_newest(const fs::path& run) {
  return of_newest(run, [](const fs::path& folder) { return load_checkpoint(folder); });
}

Model load_model(const fs::path& path, bool raw) {
  if (fs::is_regular_file(path)) return read_model(path);
  const auto read = [raw](const fs::path& folder) {
    const fs::path average = folder / "average.safetensors";
    return read_model(!raw && fs::exists(average) ? average : folder / "network.safetensors");
  };
  return fs::exists(path / "network.safetensors") ? read(path) : of_newest(path, read);
}

fs::path run_of(const fs::path& what) {
  const fs::path run = fs::exists(what / "checkpoint.json") ? fs::canonical(what).parent_path().parent_path() : what;
  if (!fs::exists(run / "recipe.toml"))
    throw UserError(fmt::format("{}: not a run (no recipe.toml in it)", what.string()));
  return run;
}

std::vector<Model> load_ensemble(const fs::path& path, std::int64_t count, bool raw) {
  std::vector<Model> models = {load_model(path, raw)};
  if (count == 1) return models;
  const fs::path run = run_of(path);
  const auto step = models[0].metadata.find("step");
  if (step == models[0].metadata.end() || !is_step(step->second))
    throw UserError(fmt::format("{}: its metadata lack the \"step\" that an ensemble counts back from", path.string()));
  const std::int64_t newest = std::stoll(step->second);
  const auto folders = list_checkpoints(run);
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    if (static_cast<std::int64_t>(models.size()) == count) break;
    if (std::stoll(folder->filename()) < newest && is_regular(*folder)) models.push_back(load_model(*folder, raw));
  }
  if (static_cast<std::int64_t>(models.size()) < count) {
    throw UserError(
        fmt::format("{}: {} checkpoints up to step {}, expected {} for the ensemble; train.keep says how many are kept",
                    run.string(), models.size(), newest, count));
  }
  std::reverse(models.begin(), models.end());
  return models;
}

}  // namespace igebm::training
