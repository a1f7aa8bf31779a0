#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "igebm/base/enums.h"

/// Recipes: TOML files onto structs of options. One description of a struct (`describe(Fields&, Options&)`) serves
/// reading, checking (of what C++ callers give, too), and writing back.
namespace igebm::io {

struct Range {
  double low, high;
  bool low_open = false, high_open = false;
  bool holds(double value) const;
  std::string text() const;  ///< "[0, 1)", "above 0"
};

/// What a describe function visits. Values already there are the defaults.
class Fields {
 public:
  virtual ~Fields() = default;
  virtual void field(const char* key, bool& value, const char* doc) = 0;
  virtual void field(const char* key, std::int64_t& value, Range range, const char* doc) = 0;
  virtual void field(const char* key, double& value, Range range, const char* doc) = 0;
  /// choices empty: any text.
  virtual void field(const char* key, std::string& value, const std::vector<std::string>& choices, const char* doc) = 0;
  virtual void field(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) = 0;
  virtual void field(const char* key, std::vector<std::string>& value, const char* doc) = 0;
  /// A closed choice, by its name.
  template <NamedEnum Enum>
  void field(const char* key, Enum& value, const char* doc) {
    const std::vector<std::string> names = all_names<Enum>();
    const auto place = static_cast<std::size_t>(value);
    if (place >= names.size()) {
      problem(key, none_of(names, place));
      return;
    }
    std::string name = names[place];
    field(key, name, names, doc);
    if (const auto found = value_of<Enum>(name)) value = *found;
  }
  virtual void section(const char* key, const std::function<void(Fields&)>& describe) = 0;
  /// Described only where present; reading sets `present`.
  virtual void optional_section(const char* key, bool& present, const std::function<void(Fields&)>& describe) = 0;
  /// Names of the sections that a file has inside this one; nothing where no file is read.
  virtual std::optional<std::vector<std::string>> sections() const = 0;
  /// What is wrong about the value of `key`, given the other values. Reading throws UserError at the key's place.
  virtual void problem(const char* key, const std::string& what) = 0;

 private:
  static std::string none_of(const std::vector<std::string>& names, std::size_t value);
};

/// A parsed file that knows where each value stands.
class Recipe {
 public:
  /// A file's first key may be `extends = "other.toml"`, a path from the file's folder: what the file says goes on top
  /// of what that one says, value by value. Throws UserError: missing file; one that extends itself; syntax, with line
  /// and column.
  static Recipe read(const std::string& path);
  /// A text alone, which extends nothing.
  static Recipe parse(std::string_view text, const std::string& name);

  /// "section.key=value" on top of the file: the value as in TOML; bare words are strings.
  void set(std::string_view assignment);

  /// Fills the described fields. Throws UserError on a wrong type, a value out of range, or a key that nobody
  /// described: file, line, key, what was expected, nearest known name.
  void apply(const std::function<void(Fields&)>& describe) const;
  /// The same for whoever needs a part of the file: keys that nobody described are left alone.
  void apply_part(const std::function<void(Fields&)>& describe) const;

 private:
  struct Parsed;
  std::shared_ptr<Parsed> parsed_;
};

/// Throws UserError, "NAME.KEY: what was expected", where a described value is out of its range, is none of its
/// choices, or does not go together with others.
void check_described(const std::string& name, const std::function<void(Fields&)>& describe);

/// The same of a struct that `describe` knows, for whoever takes one from C++.
template <class Options>
void check(const std::string& name, Options options) {
  check_described(name, [&](Fields& f) { describe(f, options); });
}

/// All described values as TOML that reads back to the same values, each with its doc.
std::string write_recipe(const std::function<void(Fields&)>& describe);

/// A number in TOML that reads back as the same bits, with a point so that it stays a number with fraction.
std::string number_text(double value);

/// The finite number that all of `text` is, or none.
std::optional<double> number_of(const std::string& text);

/// The candidate nearest to `name` by edit distance, empty if none is near.
std::string nearest(const std::string& name, const std::vector<std::string>& candidates);
/// For the end of a message: "; did you mean \"that one\"?", empty if none is near.
std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace igebm::io
