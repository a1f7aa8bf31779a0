#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/io/recipe.h"
#include "tests/refusals.h"

namespace igebm::io {
namespace {

enum class Fruit { apple, pear };
constexpr std::array fruit_names = {"apple", "pear"};
constexpr const auto& names_of(Fruit) { return fruit_names; }

struct Basket {
  std::int64_t count = 2;
  double weight = 1.5;
  std::string colour = "red";
  Fruit fruit = Fruit::pear;
  std::vector<std::int64_t> sizes = {1, 2};
  bool inner = false;
  double depth = 0.5;
};

void describe(Fields& f, Basket& b) {
  f.field("count", b.count, Range{1, 10}, "pieces");
  f.field("weight", b.weight, Range{0, 5, true}, "kg");
  f.field("colour", b.colour, {"red", "green"}, "");
  f.field("fruit", b.fruit, "");
  f.field("sizes", b.sizes, Range{0, 9}, "");
  f.optional_section("inner", b.inner, [&](Fields& g) { g.field("depth", b.depth, Range{0, 1}, ""); });
  if (b.count == 3 && b.weight > 2) f.problem("weight", "three are lighter");
}

TEST(CheckedOptions, AreRefusedWithNameKeyAndRange) {
  EXPECT_EQ(error_of([] { check("basket", Basket{}); }), "no error");
  EXPECT_EQ(error_of([] { check("basket", Basket{.count = 0}); }),
            "basket.count: expected an integer in [1, 10], got 0");
  EXPECT_EQ(error_of([] { check("basket", Basket{.weight = 0}); }),
            "basket.weight: expected a number, in (0, 5], got 0");
  EXPECT_EQ(error_of([] { check("basket", Basket{.weight = std::nan("")}); }),
            "basket.weight: expected a number, in (0, 5], got nan");
  EXPECT_EQ(error_of([] { check("basket", Basket{.colour = "blue"}); }),
            "basket.colour: expected one of \"red\", \"green\", got \"blue\"");
  EXPECT_EQ(error_of([] { check("basket", Basket{.fruit = static_cast<Fruit>(7)}); }),
            "basket.fruit: expected one of \"apple\", \"pear\", got the value 7");
  EXPECT_EQ(error_of([] {
              check("basket", Basket{.sizes = {3, 10}});
            }),
            "basket.sizes: expected an integer in [0, 9], got 10");
  EXPECT_EQ(error_of([] { check("basket", Basket{.count = 3, .weight = 2.5}); }), "basket.weight: three are lighter");
}

TEST(CheckedOptions, OfASectionThatIsNotThereDoNotCount) {
  EXPECT_EQ(error_of([] { check("basket", Basket{.inner = false, .depth = 7}); }), "no error");
  EXPECT_EQ(error_of([] { check("basket", Basket{.inner = true, .depth = 7}); }),
            "basket.inner.depth: expected a number, in [0, 1], got 7");
}

TEST(NamedChoices, AreReadAndWrittenByName) {
  Basket b;
  Recipe::parse("fruit = \"apple\"", "b.toml").apply([&](Fields& f) { describe(f, b); });
  EXPECT_EQ(b.fruit, Fruit::apple);
  EXPECT_NE(write_recipe([&](Fields& f) { describe(f, b); }).find("fruit = \"apple\""), std::string::npos);
  EXPECT_EQ(error_of([&] { Recipe::parse("fruit = \"plum\"", "b.toml").apply([&](Fields& f) { describe(f, b); }); }),
            "b.toml:1: fruit: expected one of \"apple\", \"pear\", got \"plum\"");
  EXPECT_EQ(b.fruit, Fruit::apple);
}

}  // namespace
}  // namespace igebm::io
