#pragma once

#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

/// What evaluations of a run found, kept in its folder: evaluations/NAME.json, and NAME.png beside it (docs/run.md).
namespace igebm::report {

struct Evaluation {
  std::string kind;          ///< "quality", "ood", …
  std::string json;          ///< one object: "provenance", "machine", and "result", the object that --json prints
  std::string picture = {};  ///< PNG; empty: none
  std::string at = {};       ///< when it was kept, in words
};

/// Keeps it under a name of its kind and `command`: the same command's again takes the former's place. Throws UserError
/// where it cannot be written.
void keep_evaluation(const std::filesystem::path& run, const Evaluation& evaluation, const std::string& command);

/// By kind, of each the newest first. Files that are none are left out.
std::vector<Evaluation> read_evaluations(const std::filesystem::path& run);

/// "2026-11-27 23:50 UTC".
std::string minute_of(std::time_t time);
/// When a file was last written; empty where there is none.
std::string minute_of(const std::filesystem::path& file);

/// As part of a page: a chart of figures that have intervals, tables of all, the picture. `shows_picture`: or not,
/// where there is no room.
std::string in_html(const Evaluation& evaluation, bool shows_picture = true);

}  // namespace igebm::report
