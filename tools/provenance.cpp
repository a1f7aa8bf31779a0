#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "tools/commands.h"

namespace igebm::tools {

extern const char* const commit;  // cmake/Commit.cmake

namespace {

constexpr const char* provenance_key = "provenance";

std::string& command_line() {
  static std::string line;
  return line;
}

}  // namespace

void remember_command(int count, char** words) {
  std::string& line = command_line() = "igebm";
  for (int i = 1; i < count; ++i) line.append(" ").append(io::in_shell(words[i]));
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
