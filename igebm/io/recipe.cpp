#include "igebm/io/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <sstream>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/utf8.h"

namespace igebm::io {

namespace fs = std::filesystem;

bool Range::holds(double v) const { return (low_open ? v > low : v >= low) && (high_open ? v < high : v <= high); }

std::string Range::text() const {
  if (std::isinf(low) && std::isinf(high)) return "any";
  if (std::isinf(high)) return fmt::format("{} {}", low_open ? "above" : "at least", low);
  constexpr double greatest_float = std::numeric_limits<float>::max();
  if (high == greatest_float && low == -high) return "of a magnitude up to 3.4e38, what 32 bits hold";
  if (high == greatest_float)
    return fmt::format("{} {}, up to 3.4e38, what 32 bits hold", low_open ? "above" : "at least", low);
  return fmt::format("in {}{}, {}{}", low_open ? '(' : '[', low, high, high_open ? ')' : ']');
}

std::string nearest(const std::string& name, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t least = std::max<std::size_t>(2, name.size() / 2) + 1;
  for (const auto& candidate : candidates) {
    std::vector<std::size_t> row(candidate.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= name.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t above = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1)});
        diagonal = above;
      }
    }
    if (row.back() < least) least = row.back(), best = candidate;
  }
  return best;
}

struct Recipe::Parsed {
  std::string name;
  toml::table table;
  std::map<std::string, std::string> assigned;  // keys given by set(), with the values as they were written
};

namespace {

std::string kind_of(const toml::node& node) {
  if (const auto* s = node.as_string()) return fmt::format("\"{}\"", s->get());
  if (node.is_table()) return "a section";
  std::ostringstream out;
  node.visit([&](const auto& n) { out << n; });
  return out.str();
}

/// FILE:LINE, of the file that the place is in: with `extends` not always the one that was read.
std::string place_text(const toml::source_region& place, const std::string& file) {
  const std::string& name = place.path ? *place.path : file;
  return place.begin.line > 0 ? fmt::format("{}:{}", name, place.begin.line) : name;
}

std::string in_quotes(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

/// A name as a part of a TOML key: in quotes unless it is of letters, digits, _ and - alone.
std::string toml_key(const std::string& name) {
  const bool bare = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  return bare ? name : in_quotes(name);
}

/// The parts between a key's dots; a part in quotes may have dots in it.
std::vector<std::string> key_parts(const std::string& key) {
  std::vector<std::string> parts(1);
  char quote = 0;
  for (const char c : key) {
    if (quote != 0 && c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (quote == 0 && c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// Where an assignment's "=" is, past parts in quotes.
std::size_t end_of_key(std::string_view assignment) {
  char quote = 0;
  for (std::size_t i = 0; i < assignment.size(); ++i) {
    const char c = assignment[i];
    if (quote == 0 && c == '=') return i;
    if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    }
  }
  return std::string_view::npos;
}

/// A table whose "value" is the text as it is.
toml::table bare_words(const std::string& text) { return toml::parse("value = " + in_quotes(utf8_of(text))); }

class Reader : public Fields {
 public:
  /// whole: finish() asks that every key has been described.
  Reader(const std::string& file, const std::map<std::string, std::string>& assigned, const toml::table* table,
         std::string path, toml::source_region place, bool whole)
      : file_(file), assigned_(assigned), table_(table), path_(std::move(path)), place_(place), whole_(whole) {}

  void field(const char* key, bool& value, const char*) override {
    if (const toml::node* n = find(key)) {
      if (!n->is_boolean()) fail(key, *n, "expected true or false, got " + kind_of(*n));
      value = n->as_boolean()->get();
    }
  }
  void field(const char* key, std::int64_t& value, Range range, const char*) override {
    if (const toml::node* n = find(key)) value = integer(key, *n, range);
  }
  void field(const char* key, double& value, Range range, const char*) override {
    if (const toml::node* n = find(key)) {
      if (!n->is_number()) fail(key, *n, fmt::format("expected a number, {}, got {}", range.text(), kind_of(*n)));
      const double v = *n->value<double>();
      if (!range.holds(v)) fail(key, *n, fmt::format("expected a number, {}, got {}", range.text(), kind_of(*n)));
      value = v;
    }
  }
  void field(const char* key, std::string& value, const std::vector<std::string>& choices, const char*) override {
    if (const toml::node* n = find(key)) {
      const std::string expected =
          choices.empty() ? "a text" : fmt::format("one of \"{}\"", fmt::join(choices, "\", \""));
      const auto assigned = assigned_.find(path_ + key);
      if (!n->is_string() && assigned == assigned_.end()) {
        const std::string got = kind_of(*n);
        fail(key, *n,
             fmt::format("expected {}, got {}{}", expected, got,
                         choices.empty() && n->is_value() ? fmt::format("; write \"{}\"", got) : ""));
      }
      // A folder may be called 2024 or true, and the shell has taken the quotes away.
      const std::string text = n->is_string() ? bytes_of(n->as_string()->get()) : assigned->second;
      if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end())
        fail(key, *n, fmt::format("expected {}, got {}", expected, kind_of(*n)));
      value = text;
    }
  }
  void field(const char* key, std::vector<std::int64_t>& value, Range range, const char*) override {
    if (const toml::node* n = find(key)) {
      const auto* list = n->as_array();
      if (list == nullptr) fail(key, *n, "expected a list of integers, got " + kind_of(*n));
      value.clear();
      for (const auto& item : *list) value.push_back(integer(key, item, range));
    }
  }
  void field(const char* key, std::vector<std::string>& value, const char*) override {
    if (const toml::node* n = find(key)) {
      const auto* list = n->as_array();
      if (list == nullptr) fail(key, *n, "expected a list of texts, got " + kind_of(*n));
      value.clear();
      for (const auto& item : *list) {
        if (!item.is_string()) fail(key, item, "expected a list of texts, with " + kind_of(item) + " in it");
        value.push_back(item.as_string()->get());
      }
    }
  }
  void section(const char* key, const std::function<void(Fields&)>& describe) override { enter(key, describe); }
  void optional_section(const char* key, bool& present, const std::function<void(Fields&)>& describe) override {
    present = present || (table_ != nullptr && table_->contains(key));
    known_.emplace_back(key);
    if (present) enter(key, describe);
  }
  std::optional<std::vector<std::string>> sections() const override {
    std::vector<std::string> names;
    if (table_ == nullptr) return names;
    for (const auto& [key, node] : *table_) {
      if (node.is_table()) names.emplace_back(key.str());
    }
    return names;
  }
  void problem(const char* key, const std::string& what) override {
    const toml::node* n = table_ == nullptr ? nullptr : table_->get(key);
    fail(key, n == nullptr ? place_ : n->source(), what);
  }

  /// Every key must have been asked for.
  void finish() const {
    if (table_ == nullptr || !whole_) return;
    for (const auto& [key, node] : *table_) {
      const std::string name(key.str());
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      const std::string near = did_you_mean(name, known_);
      fail(name, node.source(),
           fmt::format("unknown {}{}", node.is_table() ? "section" : "key",
                       near.empty() ? fmt::format("; known here: {}", fmt::join(known_, ", ")) : near));
    }
  }

 private:
  const toml::node* find(const char* key) {
    known_.emplace_back(key);
    return table_ == nullptr ? nullptr : table_->get(key);
  }
  /// FILE:LINE: KEY, or the option that gave the key.
  [[noreturn]] void fail(const std::string& key, const toml::source_region& place, const std::string& what) const {
    const std::string name = path_ + key;
    if (assigned_.contains(name)) throw UserError(fmt::format("--set {}: {}", name, what));
    throw UserError(fmt::format("{}: {}: {}", place_text(place, file_), name, what));
  }
  [[noreturn]] void fail(const std::string& key, const toml::node& node, const std::string& what) const {
    fail(key, node.source(), what);
  }
  std::int64_t integer(const char* key, const toml::node& node, Range range) const {
    const auto expected = fmt::format("expected an integer {}, got {}", range.text(), kind_of(node));
    if (!node.is_integer()) fail(key, node, expected);
    const std::int64_t v = node.as_integer()->get();
    if (!range.holds(static_cast<double>(v))) fail(key, node, expected);
    return v;
  }
  void enter(const char* key, const std::function<void(Fields&)>& describe) {
    const toml::node* n = find(key);
    if (n != nullptr && !n->is_table()) fail(key, *n, "expected a section [" + path_ + key + "], got " + kind_of(*n));
    Reader inner(file_, assigned_, n == nullptr ? nullptr : n->as_table(), path_ + key + ".",
                 n == nullptr ? place_ : n->source(), whole_);
    describe(inner);
    inner.finish();
  }

  const std::string& file_;
  const std::map<std::string, std::string>& assigned_;
  const toml::table* table_;
  std::string path_;
  toml::source_region place_;
  bool whole_;
  std::vector<std::string> known_;
};

class Writer : public Fields {
 public:
  explicit Writer(std::string path) : path_(std::move(path)) {}
  std::string text() const { return values_ + sections_; }

  void field(const char* key, bool& value, const char* doc) override { line(key, value ? "true" : "false", doc); }
  void field(const char* key, std::int64_t& value, Range, const char* doc) override {
    line(key, std::to_string(value), doc);
  }
  void field(const char* key, double& value, Range, const char* doc) override { line(key, number_text(value), doc); }
  void field(const char* key, std::string& value, const std::vector<std::string>&, const char* doc) override {
    line(key, in_quotes(utf8_of(value)), doc);
  }
  void field(const char* key, std::vector<std::int64_t>& value, Range, const char* doc) override {
    line(key, fmt::format("[{}]", fmt::join(value, ", ")), doc);
  }
  void field(const char* key, std::vector<std::string>& value, const char* doc) override {
    std::vector<std::string> items;
    for (const auto& item : value) items.push_back(in_quotes(item));
    line(key, fmt::format("[{}]", fmt::join(items, ", ")), doc);
  }
  void section(const char* key, const std::function<void(Fields&)>& describe) override {
    Writer inner(path_.empty() ? toml_key(key) : path_ + "." + toml_key(key));
    describe(inner);
    sections_ += fmt::format("\n[{}]\n{}", inner.path_, inner.text());
  }
  void optional_section(const char* key, bool& present, const std::function<void(Fields&)>& describe) override {
    if (present) section(key, describe);
  }
  std::optional<std::vector<std::string>> sections() const override { return {}; }
  void problem(const char*, const std::string&) override {}

 private:
  void line(const char* key, const std::string& value, const char* doc) {
    values_ += fmt::format("{} = {}{}{}\n", key, value, *doc == '\0' ? "" : "  # ", doc);
  }

  std::string path_, values_, sections_;
};

toml::table parse_toml(std::string_view text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& e) {
    const auto at = e.source().begin;
    throw UserError(fmt::format("{}:{}:{}: not TOML: {}", name, at.line, at.column, e.description()));
  }
}

/// What `base` holds and `table` does not, moved there: nodes that are moved keep their places.
void add_missing(toml::table& table, toml::table&& base) {
  for (auto&& [key, node] : base) {
    const std::string name(key.str());
    toml::node* there = table.get(name);
    if (there == nullptr) {
      std::move(node).visit([&](auto&& n) { table.insert_or_assign(name, std::forward<decltype(n)>(n)); });
    } else if (there->is_table() && node.is_table()) {
      add_missing(*there->as_table(), std::move(*node.as_table()));
    }
  }
}

/// A file with what it extends; `line` are the files that lead to it.
toml::table read_toml(const fs::path& path, std::vector<fs::path> line) {
  toml::table table = parse_toml(read_file(path), path.string());
  const toml::node* extends = table.get("extends");
  if (extends == nullptr) return table;
  const auto fail = [&](const std::string& what) {
    return UserError(fmt::format("{}: extends: {}", place_text(extends->source(), path.string()), what));
  };
  if (!extends->is_string()) throw fail("expected the path of another recipe, got " + kind_of(*extends));
  const fs::path base = path.parent_path() / extends->as_string()->get();
  if (!fs::is_regular_file(base)) throw fail(fmt::format("{}: no such file", base.string()));
  line.push_back(path);
  for (const fs::path& above : line) {
    if (fs::equivalent(above, base)) throw fail(fmt::format("{} leads back to itself", above.string()));
  }
  toml::table rest = read_toml(base, std::move(line));
  table.erase("extends");
  add_missing(table, std::move(rest));
  return table;
}

}  // namespace

Recipe Recipe::read(const std::string& path) {
  Recipe recipe;
  recipe.parsed_ = std::make_shared<Parsed>(Parsed{path, read_toml(path, {}), {}});
  return recipe;
}

Recipe Recipe::parse(std::string_view text, const std::string& name) {
  Recipe recipe;
  recipe.parsed_ = std::make_shared<Parsed>(Parsed{name, parse_toml(text, name), {}});
  return recipe;
}

void Recipe::set(std::string_view assignment) {
  const auto equals = end_of_key(assignment);
  const auto fail = [&](const std::string& what) { return UserError(fmt::format("--set {}: {}", assignment, what)); };
  if (equals == std::string_view::npos || equals == 0) throw fail("expected section.key=value");
  const std::string key(assignment.substr(0, equals)), value(assignment.substr(equals + 1));
  if (utf8_of(key) != key) throw fail("expected a key in UTF-8");
  toml::table parsed;
  try {
    parsed = toml::parse(fmt::format("value = {}", value));
    if (parsed.size() != 1) parsed = bare_words(value);  // a line of it looked like another key
  } catch (const toml::parse_error&) {
    parsed = bare_words(value);
  }
  toml::table* table = &parsed_->table;
  const std::vector<std::string> parts = key_parts(key);
  std::string path;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    const std::string& part = parts[i];
    path += (i == 0 ? "" : ".") + part;
    if (!table->contains(part)) table->insert_or_assign(part, toml::table{});
    table = table->get(part)->as_table();
    if (table == nullptr) throw fail(fmt::format("\"{}\" is no section", path));
  }
  path += (path.empty() ? "" : ".") + parts.back();
  parsed.get("value")->visit([&](const auto& n) { table->insert_or_assign(parts.back(), n); });
  parsed_->assigned[path] = value;
}

void Recipe::apply(const std::function<void(Fields&)>& describe) const {
  Reader reader(parsed_->name, parsed_->assigned, &parsed_->table, "", {}, true);
  describe(reader);
  reader.finish();
}

void Recipe::apply_part(const std::function<void(Fields&)>& describe) const {
  Reader reader(parsed_->name, parsed_->assigned, &parsed_->table, "", {}, false);
  describe(reader);
}

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates) {
  const std::string near = nearest(name, candidates);
  return near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near);
}

std::string number_text(double value) {
  std::string text = fmt::format("{}", value);  // inf and -inf as in TOML
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string write_recipe(const std::function<void(Fields&)>& describe) {
  Writer writer("");
  describe(writer);
  return writer.text();
}

}  // namespace igebm::io
