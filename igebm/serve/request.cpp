#include "igebm/serve/request.h"

#include <fmt/format.h>

#include <limits>

#include "igebm/base/error.h"
#include "igebm/io/recipe.h"

namespace igebm::serve {

Request::Request(const Json& json) : json_(json) {
  if (!json.is_object()) throw UserError("expected a JSON object");
}

const Json* Request::find(const char* name) {
  asked_.insert(name);
  return has(name) ? &json_[name] : nullptr;
}

std::string Request::text(const char* name, const std::string& otherwise) {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_string()) throw UserError(fmt::format("{}: expected a text", name));
  return value->get<std::string>();
}

std::int64_t Request::whole(const char* name, std::int64_t otherwise, std::int64_t low, std::int64_t high) {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_number_integer() || value->get<double>() < static_cast<double>(low) ||
      value->get<double>() > static_cast<double>(high))
    throw UserError(fmt::format("{}: expected a whole number from {} to {}", name, low, high));
  return value->get<std::int64_t>();
}

double Request::number(const char* name, double otherwise, double low, double high) {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high))
    throw UserError(fmt::format("{}: expected a number from {} to {}", name, low, high));
  return value->get<double>();
}

std::int64_t Request::seed(std::int64_t otherwise) {
  return whole("seed", otherwise, 0, std::numeric_limits<std::int32_t>::max());
}

void Request::done() const {
  for (const auto& [name, _] : json_.items()) {
    if (!asked_.contains(name))
      throw UserError(
          fmt::format("unknown key \"{}\"{}", name, io::did_you_mean(name, {asked_.begin(), asked_.end()})));
  }
}

}  // namespace igebm::serve
