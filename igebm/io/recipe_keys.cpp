#include "igebm/io/recipe_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>

namespace igebm::io {
namespace {

/// What 32 bits hold counts as without a bound.
std::string interval(const Range& r) {
  constexpr double greatest = std::numeric_limits<float>::max();
  const bool below = r.low <= -greatest, above = r.high >= greatest;
  if (below && above) return "any";
  if (above) return fmt::format("{} {}", r.low_open ? ">" : "≥", r.low);
  return fmt::format("{}{}, {}{}", r.low_open ? '(' : '[', r.low, r.high, r.high_open ? ')' : ']');
}

class Lister : public Fields {
 public:
  Lister(std::string path, std::vector<KeySection>& into) : path_(std::move(path)), into_(into) {}

  void field(const char* key, bool& value, const char* doc) override {
    add({key, "true or false", value ? "true" : "false", "", {}, doc});
  }
  void field(const char* key, std::int64_t& value, Range range, const char* doc) override {
    add({key, "integer", std::to_string(value), interval(range), {}, doc});
  }
  void field(const char* key, double& value, Range range, const char* doc) override {
    add({key, "number", number_text(value), interval(range), {}, doc});
  }
  void field(const char* key, std::string& value, const std::vector<std::string>& choices, const char* doc) override {
    add({key, "text", fmt::format("\"{}\"", value), "", choices, doc});
  }
  void field(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) override {
    add({key, "integers", fmt::format("[{}]", fmt::join(value, ", ")), interval(range) + " each", {}, doc});
  }
  void field(const char* key, std::vector<std::string>& value, const char* doc) override {
    const std::string items = value.empty() ? "" : fmt::format("\"{}\"", fmt::join(value, "\", \""));
    add({key, "texts", fmt::format("[{}]", items), "", {}, doc});
  }
  void section(const char* key, const std::function<void(Fields&)>& describe) override {
    Lister inner(path_.empty() ? key : path_ + "." + key, into_);
    describe(inner);
  }
  void optional_section(const char* key, bool& /*present*/, const std::function<void(Fields&)>& describe) override {
    section(key, describe);
  }
  std::optional<std::vector<std::string>> sections() const override { return {}; }
  void problem(const char*, const std::string&) override {}

 private:
  void add(Key key) {
    if (place_ == none) {
      place_ = into_.size();
      into_.push_back({path_, {}});
    }
    into_[place_].keys.push_back(std::move(key));
  }

  static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  std::string path_;
  std::vector<KeySection>& into_;
  std::size_t place_ = none;  // from the first key on
};

/// A cell of a table; a bar would end it.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

}  // namespace

std::vector<KeySection> list_keys(const std::function<void(Fields&)>& describe) {
  std::vector<KeySection> sections;
  Lister lister("", sections);
  describe(lister);
  return sections;
}

std::string markdown(const std::vector<Key>& keys) {
  std::string text = "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
  for (const Key& k : keys) {
    const std::string allowed = k.choices.empty() ? k.range : fmt::format("`\"{}\"`", fmt::join(k.choices, "\"`, `\""));
    text += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", k.name, k.type, k.usual, allowed, cell(k.doc));
  }
  return text;
}

}  // namespace igebm::io
