#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/model/shipped.h"
#include "igebm/report/evaluations.h"
#include "tools/commands.h"

namespace igebm::tools {

extern const char* const commit;  // cmake/Commit.cmake

namespace {

constexpr const char* provenance_key = "provenance";

std::string& command_line() {
  static std::string line;
  return line;
}

/// The same without what makes no other result.
std::string& asked() {
  static std::string line;
  return line;
}

}  // namespace

void remember_command(int count, char** words) {
  std::string& line = command_line() = "igebm";
  for (int i = 1; i < count; ++i) line.append(" ").append(io::in_shell(words[i]));
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--threads") ++i;
    if (word != "--json" && !word.starts_with("--threads")) asked().append(" ").append(word);
  }
}

void keep_evaluation(const std::string& kind, const Origin& origin, const nlohmann::ordered_json& result,
                     const at::Tensor& picture) {
  const auto run = model::run_of(model::find_model(origin.model));
  if (model::list_checkpoints(run).empty()) return;
  const io::Texts texts = provenance(origin);
  const nlohmann::ordered_json json = {{"provenance", nlohmann::ordered_json::parse(texts.at(provenance_key))},
                                       {"machine", machine()},
                                       {"result", result}};
  try {
    report::keep_evaluation(run,
                            {.kind = kind,
                             .json = json_text(json, 1) + "\n",
                             .picture = picture.defined() ? io::encode_png(picture, texts) : ""},
                            asked());
  } catch (const UserError& e) {
    fmt::print(stderr, "note: not kept for igebm report: {}\n", e.what());
  }
}

io::Texts provenance(const Origin& origin) {
  nlohmann::ordered_json json{{"program", "igebm " IGEBM_VERSION}};
  if (*commit != '\0') json["commit"] = commit;
  if (origin.command) json["command"] = command_line();
  if (!origin.model.empty()) json["model"] = origin.model;
  if (!origin.step.empty()) json["step"] = origin.step;
  if (origin.seed) json["seed"] = *origin.seed;
  // Other characters are escaped: ASCII alone.
  return {{provenance_key, json.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace)}};
}

nlohmann::ordered_json read_provenance(const std::filesystem::path& path) {
  const auto read = path.extension() == ".npz"   ? io::npz_texts
                    : path.extension() == ".gif" ? io::gif_texts
                                                 : io::png_texts;
  const io::Texts texts = read(path);
  const auto found = texts.find(provenance_key);
  if (found == texts.end()) throw UserError(fmt::format("{}: does not say where it comes from", path.string()));
  const auto json = nlohmann::ordered_json::parse(found->second, nullptr, false);
  if (!json.is_object()) throw UserError(fmt::format("{}: {}: expected a JSON object", path.string(), provenance_key));
  return json;
}

}  // namespace igebm::tools
