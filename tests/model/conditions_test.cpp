#include "igebm/model/conditions.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "igebm/base/error.h"
#include "igebm/nn/architectures.h"
#include "tests/refusals.h"

namespace igebm::model {
namespace {

Conditions shapes_and_sizes() {
  return {{"size", "shape.square", "shape.heart"}, at::tensor({0.5F, 1.0F, 0.0F, 0.8F, 0.0F, 1.0F}).view({2, 3})};
}

TEST(Conditions, GoToJsonAndBack) {
  Conditions c = shapes_and_sizes();
  c.rows[0][0] = 0.1F;  // which has no short binary form
  const Conditions back = conditions_from_json(to_json(c));
  EXPECT_EQ(back.names, c.names);
  EXPECT_TRUE(at::equal(back.rows, c.rows));
  for (const char* bad : {"", "{}", R"({"names":["a"],"rows":[]})", R"({"names":["a"],"rows":[[1,2]]})",
                          R"({"names":["a"],"rows":[["x"]]})"})
    EXPECT_THROW(conditions_from_json(bad), UserError) << bad;
}

TEST(Conditions, AreTakenInTurnOrSet) {
  const Conditions c = shapes_and_sizes();
  EXPECT_TRUE(at::equal(usual_condition({.values = 3, .numbers = c}, 5).values,
                        c.rows.index_select(0, at::tensor({0, 1, 0, 1, 0}, at::kLong))));
  EXPECT_THROW(usual_condition({.values = 3}, 5), UserError);
  EXPECT_TRUE(at::equal(usual_condition({.classes = 3}, 5).classes, at::tensor({0, 1, 2, 0, 1}, at::kLong)));
  EXPECT_TRUE(usual_condition({.noise = NoiseScale()}, 5).empty());

  ConditionSpec numbers{.values = 3, .numbers = c};
  EXPECT_TRUE(at::equal(condition_with(numbers, "size=0.75,shape=heart", 2).values,
                        at::tensor({0.75F, 0.0F, 1.0F, 0.75F, 0.0F, 1.0F}).view({2, 3})));
  EXPECT_TRUE(at::equal(condition_with(numbers, "shape.square=0.5", 2).values,
                        at::tensor({0.5F, 0.5F, 0.0F, 0.8F, 0.5F, 1.0F}).view({2, 3})));
  for (const char* bad : {"size", "size=", "size=big", "size=nan", "shape=circle", "shape=1", "colour=1", "siz=1",
                          "size=1e", "size=1,size=2", "shape=heart,shape=square", "size=1,", ",size=1"})
    EXPECT_THROW(condition_with(numbers, bad, 2), UserError) << bad;
  EXPECT_THROW(condition_with(numbers, "none", 2), UserError);
  numbers.optional_condition = true;
  EXPECT_FALSE(condition_with(numbers, "none", 2).told());
}

TEST(Conditions, BeyondTheDataAreSaid) {
  const ConditionSpec spec{.optional_condition = true, .values = 3, .numbers = shapes_and_sizes()};
  const auto notes = [&](const std::string& text) { return beyond_data(spec, condition_with(spec, text, 2)); };
  EXPECT_TRUE(notes("size=.5").empty());
  EXPECT_TRUE(notes("size=.82,shape=heart").empty());  // by less than a tenth of the span
  EXPECT_TRUE(notes("none").empty());
  for (const char* beyond : {"size=.9", "size=.4"}) {
    const auto found = notes(beyond);
    ASSERT_EQ(found.size(), 1U) << beyond;
    EXPECT_EQ(found[0].rfind("size 0.", 0), 0U) << found[0];
    EXPECT_NE(found[0].find("0.5 to 0.8"), std::string::npos) << found[0];
  }
  EXPECT_TRUE(beyond_data({.values = 3}, {.values = at::full({1, 3}, 9.0F)}).empty());  // nothing is known of the data
}

TEST(ConditionSpec, GoesToMetadataAndBack) {
  const nn::Graph graph = nn::mlp({{4}}, {2}, {.classes = 2, .noise_features = 4, .optional_condition = true});
  ConditionSpec spec = condition_spec(graph, {});
  EXPECT_EQ(spec.classes, 2);
  EXPECT_TRUE(spec.optional_condition);
  spec.class_names = {"T-shirt", "a \"quoted\" one"};
  spec.noise = NoiseScale{.sigma_max = 7};
  const ConditionSpec back = condition_spec(graph, metadata_of(spec));
  EXPECT_EQ(back.class_names, spec.class_names);
  EXPECT_EQ(back.noise->sigma_max, 7);
  const ConditionSpec numbers =
      condition_spec(nn::mlp({{4}}, {2}, {.conditions = 3}), metadata_of({.numbers = shapes_and_sizes()}));
  EXPECT_EQ(numbers.values, 3);
  EXPECT_EQ(numbers.numbers.names, shapes_and_sizes().names);
  for (const char* bad : {"", "{}", "[]", R"(["a"])", R"(["a", 1])"})
    EXPECT_SAYS(condition_spec(graph, {{"class_names", bad}}), "a list of 2 names");
}

TEST(ConditionSpec, ClassesAreAskedForByNameOrNumber) {
  ConditionSpec spec{.classes = 3, .class_names = {"T-shirt", "bag", "2"}};
  const auto of = [&](const char* name) { return condition_of_class(spec, name).classes.item<std::int64_t>(); };
  EXPECT_EQ(of("t-SHIRT"), 0);
  EXPECT_EQ(of("1"), 1);
  EXPECT_EQ(of("2"), 2);
  EXPECT_SAYS(of("none"), "0 to 2, or one of T-shirt, bag, 2");
  EXPECT_SAYS(of("bagg"), "did you mean \"bag\"?");
  for (const char* bad : {"", "3", "-1", "1x", "99999999999999999999"}) EXPECT_SAYS(of(bad), "expected 0 to 2");
  spec.optional_condition = true;
  EXPECT_EQ(of("none"), nn::no_class);
  EXPECT_SAYS(condition_of_class({.values = 2}, "1"), "no classes");
}

TEST(NoiseScale, GoesToJsonAndBack) {
  const NoiseScale scale{.sigma_min = 0.1, .sigma_max = 7, .sigma_data = 0.3},
      back = noise_scale_from_json(to_json(scale));
  EXPECT_EQ(back.sigma_min, 0.1);
  EXPECT_EQ(back.sigma_max, 7);
  EXPECT_EQ(back.sigma_data, 0.3);
  EXPECT_EQ(back.form, EnergyForm::noise);  // as files of before, which name none
  EXPECT_EQ(to_json(scale).find("form"), std::string::npos);
  EXPECT_EQ(noise_scale_from_json(to_json(NoiseScale{.form = EnergyForm::preconditioned})).form,
            EnergyForm::preconditioned);
  for (const char* bad : {"", "{}", R"({"sigma_min":1,"sigma_max":1,"sigma_data":1})",
                          R"({"sigma_min":1,"sigma_max":2,"sigma_data":1,"form":"x"})",
                          R"({"sigma_min":1,"sigma_max":2,"sigma_data":1,"form":3})"})
    EXPECT_THROW(noise_scale_from_json(bad), UserError) << bad;
}

}  // namespace
}  // namespace igebm::model
