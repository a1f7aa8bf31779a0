#include "igebm/generation/expression.h"

#include <gtest/gtest.h>

#include "tests/refusals.h"

namespace igebm::generation {
namespace {

using Kind = Expression::Kind;

/// "(a & !0.5*b(1,2))": a tree as text, fully grouped.
std::string shown(const Expression& e) {
  std::string text = e.negated ? "!" : "";
  if (e.weight != 1) text += std::to_string(e.weight).substr(0, 4) + "*";
  if (e.kind == Kind::term) return text + e.text();
  text += "(";
  for (std::size_t i = 0; i < e.parts.size(); ++i)
    text += (i == 0                        ? ""
             : e.kind == Kind::conjunction ? " & "
             : e.kind == Kind::disjunction ? " | "
                                           : " \\ ") +
            shown(e.parts[i]);
  return text + ")";
}

TEST(Expressions, AndBindsBeforeOrAndNotBeforeBoth) {
  EXPECT_EQ(shown(parse("a")), "a");
  EXPECT_EQ(shown(parse("a & b | c & !d")), "((a & b) | (c & !d))");
  EXPECT_EQ(shown(parse("a|b|c&d&e")), "(a | b | (c & d & e))");
  EXPECT_EQ(shown(parse("(a | b) & c")), "((a | b) & c)");
  EXPECT_EQ(shown(parse("!!a & !(b | c)")), "(a & !(b | c))");
  EXPECT_EQ(shown(parse("0.5*a & 2 * !b & .25*(c | d)")), "(0.50*a & !2.00*b & 0.25*(c | d))");
  EXPECT_EQ(shown(parse("2*3*a")), "6.00*a");
  EXPECT_EQ(shown(parse("a & b \\ c & 2*d \\ e | f")), "(((a & b) \\ (c & 2.00*d) \\ e) | f)");
}

TEST(Expressions, ArgumentsAreTextBetweenCommas) {
  const Expression e = parse(" shape ( square ) & position(.2, -.8)&fashion-mnist(T-shirt)&x_1.b ");
  ASSERT_EQ(e.parts.size(), 4U);
  EXPECT_EQ(e.parts[1].arguments, (std::vector<std::string>{".2", "-.8"}));
  EXPECT_EQ(e.parts[2].name, "fashion-mnist");
  EXPECT_EQ(e.parts[2].text(), "fashion-mnist(T-shirt)");
  EXPECT_EQ(e.parts[3].name, "x_1.b");
}

TEST(Expressions, ColumnsAreOfWhereAPartBegins) {
  const Expression e = parse("a & (bc | !d)");
  EXPECT_EQ(e.column, 1U);
  EXPECT_EQ(e.parts[1].column, 5U);
  EXPECT_EQ(e.parts[1].parts[0].column, 6U);
  EXPECT_EQ(e.parts[1].parts[1].column, 11U);
}

TEST(Expressions, ErrorsSayTheColumn) {
  const auto refused = [](const std::string& text) { return error_of([&] { parse(text); }); };
  EXPECT_EQ(refused(""), "column 1: expected a name, a weight, \"!\" or \"(\", got the end");
  EXPECT_EQ(refused("a & & b"), "column 5: expected a name, a weight, \"!\" or \"(\", got \"&\"");
  EXPECT_EQ(refused("a b"), "column 3: expected \"&\", \"|\", \"\\\" or the end, got \"b\"");
  EXPECT_EQ(refused("(a | b"), "column 7: expected \")\", got the end");
  EXPECT_EQ(refused("a)"), "column 2: expected \"&\", \"|\", \"\\\" or the end, got \")\"");
  EXPECT_EQ(refused("a()"), "column 3: expected an argument, got \")\"");
  EXPECT_EQ(refused("a(1,"), "column 5: expected an argument, got the end");
  EXPECT_EQ(refused("a(1(2))"), "column 4: expected \",\" or \")\", got \"(\"");
  EXPECT_EQ(refused("3 a"), "column 3: expected \"*\" after a weight, got \"a\"");
  EXPECT_EQ(refused("0*a"), "column 1: expected a weight, a number above 0, got \"0\"");
  EXPECT_EQ(refused("1e999*a"), "column 1: expected a weight, a number above 0, got \"1\"");
  EXPECT_EQ(refused("1e300*1e300*a"), "column 1: this weight is not finite");
  EXPECT_EQ(refused("-a"), "column 1: expected a name, a weight, \"!\" or \"(\", got \"-\"");
  EXPECT_NE(refused(std::string(100000, '(')).find("at most 100 parentheses"), std::string::npos);
  EXPECT_NE(refused(std::string(100000, '!')).find("at most 100 parentheses"), std::string::npos);
}

}  // namespace
}  // namespace igebm::generation
