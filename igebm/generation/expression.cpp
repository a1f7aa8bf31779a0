#include "igebm/generation/expression.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <utility>

#include "igebm/base/error.h"

namespace igebm::generation {
namespace {

constexpr int deepest = 100;  // of parentheses

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Expression whole() {
    Expression all = disjunction();
    if (!at_end()) fail("expected \"&\", \"|\", \"\\\" or the end");
    return all;
  }

 private:
  [[noreturn]] void fail(const std::string& what) {
    std::size_t end = at_ + 1;  // of a character, which in UTF-8 may be several bytes
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0U) == 0x80U) ++end;
    const std::string found = at_end() ? "the end" : fmt::format("\"{}\"", text_.substr(at_, end - at_));
    throw UserError(fmt::format("column {}: {}, got {}", at_ + 1, what, found));
  }
  bool at_end() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    return at_ == text_.size();
  }
  bool next_is(char c) { return !at_end() && text_[at_] == c; }
  bool take(char c) {
    if (!next_is(c)) return false;
    ++at_;
    return true;
  }

  using Rule = Expression (Parser::*)();
  Expression list(char sign, Rule part, Expression::Kind kind) {
    at_end();
    const std::size_t column = at_ + 1;
    Expression first = (this->*part)();
    if (!next_is(sign)) return first;
    Expression all{.kind = kind, .column = column};
    all.parts.push_back(std::move(first));
    while (take(sign)) all.parts.push_back((this->*part)());
    return all;
  }
  Expression disjunction() { return list('|', &Parser::difference, Expression::Kind::disjunction); }
  Expression difference() { return list('\\', &Parser::conjunction, Expression::Kind::difference); }
  Expression conjunction() { return list('&', &Parser::factor, Expression::Kind::conjunction); }

  Expression factor() {
    if (++depth_ > deepest) fail(fmt::format("expected at most {} parentheses within one another", deepest));
    at_end();
    const std::size_t column = at_ + 1;
    Expression e;
    if (take('!')) {
      e = factor();
      e.negated = !e.negated;
    } else if (at_ < text_.size() && (is_digit(text_[at_]) || text_[at_] == '.')) {
      const double weight = number();
      if (!take('*')) fail("expected \"*\" after a weight");
      e = factor();
      e.weight *= weight;
      if (!std::isfinite(e.weight)) throw UserError(fmt::format("column {}: this weight is not finite", column));
    } else if (take('(')) {
      e = disjunction();
      if (!take(')')) fail("expected \")\"");
    } else {
      e = term();
    }
    e.column = column;
    --depth_;
    return e;
  }

  double number() {
    double value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc() || !(value > 0) || !std::isfinite(value)) fail("expected a weight, a number above 0");
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }

  Expression term() {
    if (at_end() || !is_letter(text_[at_])) fail("expected a name, a weight, \"!\" or \"(\"");
    Expression e;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '_' ||
                                  text_[at_] == '-' || text_[at_] == '.'))
      e.name += text_[at_++];
    if (!take('(')) return e;
    at_end();
    e.arguments_column = at_ + 1;
    do {
      std::string argument;
      at_end();
      while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != ')' && text_[at_] != '(')
        argument += text_[at_++];
      while (!argument.empty() && is_space(argument.back())) argument.pop_back();
      if (argument.empty()) fail("expected an argument");
      e.arguments.push_back(argument);
    } while (take(','));
    if (!take(')')) fail("expected \",\" or \")\"");
    return e;
  }

  const std::string& text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string Expression::text() const {
  return arguments.empty() ? name : fmt::format("{}({})", name, fmt::join(arguments, ","));
}

Expression parse(const std::string& text) { return Parser(text).whole(); }

bool is_name(const std::string& text) {
  try {
    return parse(text).name == text;
  } catch (const UserError&) {
    return false;
  }
}

}  // namespace igebm::generation
