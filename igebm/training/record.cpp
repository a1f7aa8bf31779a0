#include "igebm/training/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/files.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

fs::path file_of(const fs::path& run) { return run / "metrics.jsonl"; }

void add(std::ofstream& file, const fs::path& run, const nlohmann::ordered_json& line) {
  file << line.dump() << '\n' << std::flush;
  if (!file) throw UserError(fmt::format("{}: cannot be written (is the disk full?)", file_of(run).string()));
}

/// The lines that are whole; `event` is empty of those with figures.
std::vector<nlohmann::json> read_lines(const fs::path& run, const std::string& event) {
  std::vector<nlohmann::json> found;
  std::ifstream file(file_of(run));
  for (std::string text; std::getline(file, text);) {
    auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (line.is_object() && line.value("event", "") == event) found.push_back(std::move(line));
  }
  return found;
}

}  // namespace

Record::Record(fs::path run, std::int64_t bytes, std::int64_t step)
    : run_(std::move(run)), events_(run_ / "tensorboard", step) {
  const fs::path path = file_of(run_);
  if (fs::exists(path)) fs::resize_file(path, static_cast<std::uintmax_t>(bytes));
  file_.open(path, std::ios::app);
  if (!file_) throw UserError(fmt::format("{}: cannot be written", path.string()));
}

std::int64_t Record::bytes() {
  file_.flush();
  io::sync_file(file_of(run_));
  return static_cast<std::int64_t>(fs::file_size(file_of(run_)));
}

void Record::metrics(std::int64_t step, std::string_view phase, const Metrics& figures) {
  nlohmann::ordered_json line = {{"step", step}};
  if (!phase.empty()) line["phase"] = phase;
  for (const auto& [name, value] : figures) line[name] = value;
  add(file_, run_, line);
  events_.scalars(step, figures);
}

void Record::rolled_back(const Rollback& r) {
  events_ = io::EventFile(run_ / "tensorboard", r.to);
  pictured_ = -1;
  add(file_, run_,
      {{"event", "rollback"}, {"step", r.step}, {"to", r.to}, {"rollbacks", r.rollbacks}, {"reason", r.reason}});
}

void Record::gave_up(const GivenUp& end) {
  add(file_, run_, {{"event", "gave up"}, {"step", end.step}, {"reason", end.reason}});
}

void Record::picture(std::int64_t step, const std::string& png) {
  if (std::exchange(pictured_, step) != step) events_.picture(step, png);
}

std::int64_t intact_metrics(const fs::path& run, std::int64_t bytes) {
  const fs::path path = file_of(run);
  std::string text(static_cast<std::size_t>(bytes), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), bytes);
  text.resize(static_cast<std::size_t>(file.gcount()));
  text.resize(std::min(text.find('\0'), text.size()));
  return static_cast<std::int64_t>(text.rfind('\n') + 1);  // none: npos + 1 is 0
}

std::map<std::string, std::vector<std::pair<std::int64_t, double>>> read_metrics(const fs::path& run) {
  std::map<std::string, std::vector<std::pair<std::int64_t, double>>> found;
  for (const auto& line : read_lines(run, "")) {
    if (!line.contains("step")) continue;
    const auto step = line["step"].get<std::int64_t>();
    for (const auto& [name, value] : line.items()) {
      if (name == "step" || !value.is_number()) continue;
      auto& points = found[name];
      while (!points.empty() && points.back().first >= step) points.pop_back();  // a rollback took them back
      points.emplace_back(step, value.get<double>());
    }
  }
  return found;
}

std::vector<Rollback> read_rollbacks(const fs::path& run) {
  std::vector<Rollback> found;
  for (const auto& line : read_lines(run, "rollback")) {
    found.push_back({line.value("step", std::int64_t{0}), line.value("to", std::int64_t{0}),
                     line.value("rollbacks", std::int64_t{0}), line.value("reason", "")});
  }
  return found;
}

std::optional<GivenUp> read_gave_up(const fs::path& run) {
  const auto found = read_lines(run, "gave up");
  if (found.empty()) return {};
  return GivenUp{found.back().value("step", std::int64_t{0}), found.back().value("reason", "")};
}

}  // namespace igebm::training
