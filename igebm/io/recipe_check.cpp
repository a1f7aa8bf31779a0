#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/io/recipe.h"

namespace igebm::io {
namespace {

/// Looks at values as they are.
class Checker : public Fields {
 public:
  explicit Checker(std::string path) : path_(std::move(path)) {}

  void field(const char*, bool&, const char*) override {}
  void field(const char* key, std::int64_t& value, Range range, const char*) override {
    if (!range.holds(static_cast<double>(value)))
      problem(key, fmt::format("expected an integer {}, got {}", range.text(), value));
  }
  void field(const char* key, double& value, Range range, const char*) override {
    if (!range.holds(value)) problem(key, fmt::format("expected a number, {}, got {}", range.text(), value));
  }
  void field(const char* key, std::string& value, const std::vector<std::string>& choices, const char*) override {
    if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end())
      problem(key, fmt::format("expected one of \"{}\", got \"{}\"", fmt::join(choices, "\", \""), value));
  }
  void field(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) override {
    for (std::int64_t each : value) field(key, each, range, doc);
  }
  void field(const char*, std::vector<std::string>&, const char*) override {}
  void section(const char* key, const std::function<void(Fields&)>& describe) override {
    Checker inner(path_ + key + ".");
    describe(inner);
  }
  void optional_section(const char* key, bool& present, const std::function<void(Fields&)>& describe) override {
    if (present) section(key, describe);
  }
  std::optional<std::vector<std::string>> sections() const override { return {}; }
  void problem(const char* key, const std::string& what) override {
    throw UserError(fmt::format("{}{}: {}", path_, key, what));
  }

 private:
  std::string path_;
};

}  // namespace

std::string Fields::none_of(const std::vector<std::string>& names, std::size_t value) {
  return fmt::format("expected one of \"{}\", got the value {}", fmt::join(names, "\", \""), value);
}

void check_described(const std::string& name, const std::function<void(Fields&)>& describe) {
  Checker checker(name.empty() ? "" : name + ".");
  describe(checker);
}

}  // namespace igebm::io
