#include "igebm/training/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>

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
                                 {"engine", c.engine},
                                 {"machine", c.machine}};
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
    model::write_network_file(temporary / "network.safetensors", c.network, c.network.parameters);
    if (!c.average.empty()) model::write_network_file(temporary / "average.safetensors", c.network, c.average);
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

}  // namespace

void save_checkpoint(const fs::path& run, const Checkpoint& c, std::int64_t keep) {
  write_checkpoint(run, c, fmt::format("{:06}", c.step));
  if (keep > 0 && c.regular) {
    std::error_code error;
    std::int64_t kept = 0;
    const auto folders = model::list_checkpoints(run);
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
      if (kept == keep || !model::is_regular(*folder)) {
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
    c.machine = json.value("machine", "");
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
    c.network = model::read_network_file(folder / "network.safetensors");
    if (json.at("crc32").contains("average.safetensors"))
      c.average = model::read_network_file(folder / "average.safetensors").parameters;
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
  return model::of_newest(run, [](const fs::path& folder) { return load_checkpoint(folder); });
}

}  // namespace igebm::training
