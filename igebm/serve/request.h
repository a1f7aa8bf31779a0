#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace igebm::serve {

using Json = nlohmann::ordered_json;

/// A request's values, each asked for by its name; what nobody asked for is refused by done. Throws UserError.
class Request {
 public:
  /// `json` is not copied.
  explicit Request(const Json& json);
  bool has(const char* name) const { return json_.contains(name) && !json_[name].is_null(); }
  std::string text(const char* name, const std::string& otherwise = "");
  std::int64_t whole(const char* name, std::int64_t otherwise, std::int64_t low, std::int64_t high);
  double number(const char* name, double otherwise, double low, double high);
  /// From 0; `otherwise` where it is left out.
  std::int64_t seed(std::int64_t otherwise);
  void done() const;

 private:
  const Json* find(const char* name);
  const Json& json_;
  std::set<std::string> asked_;
};

}  // namespace igebm::serve
