// dSprites: the official file, made here as its publishers make it, and the drawn ones; and conditions by name.
#include "igebm/data/dsprites.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/io/npz.h"
#include "tests/data/files.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

class Dsprites : public InFolder {};

TEST(Conditions, AreColumnsPickedByName) {
  Dataset set;
  EXPECT_SAYS(set.condition_columns({"size"}), "the data have no conditions");
  EXPECT_TRUE(set.condition_columns({}).empty());
  set.condition_names = {"size", "shape.square", "shape.heart", "sizes", "1", "10"};
  using Columns = std::vector<std::int64_t>;
  EXPECT_EQ(set.condition_columns({"size"}), Columns({0}));
  EXPECT_EQ(set.condition_columns({"1", "shape", "size"}), Columns({4, 1, 2, 0}));
  EXPECT_EQ(set.condition_columns({"shape.heart"}), Columns({2}));
  EXPECT_SAYS(set.condition_columns({"shap"}), "no \"shap\"; expected some of size, shape.square, shape.heart");
  EXPECT_SAYS(set.condition_columns({"shape", "shape.heart"}), "shape.heart is picked twice");
}

TEST_F(Dsprites, DrawnOnesAreWhatTheirConditionsSay) {
  const Dataset set = load({.name = "dsprites-drawn", .validation = 0, .count = 300}, Split::train, 5);
  EXPECT_EQ(set.x.sizes(), (std::vector<std::int64_t>{300, 1, 64, 64}));
  EXPECT_EQ(set.condition_names.size(), 8U);
  EXPECT_TRUE(set.x.eq(0).logical_or(set.x.eq(255)).all().item<bool>());
  const at::Tensor white = set.x.to(at::kDouble).div(255).squeeze(1), area = white.sum({1, 2});
  const at::Tensor axis = at::arange(64, at::kDouble);
  const at::Tensor c = set.conditions.to(at::kDouble);
  const at::Tensor x = (white.sum(1) * axis).sum(1) / area, y = (white.sum(2) * axis).sum(1) / area;
  const at::Tensor symmetric = set.labels.ne(2);
  EXPECT_LT((x - 16 - 31 * c.select(1, 4)).masked_select(symmetric).abs().max().item<double>(), 0.3);
  EXPECT_LT((y - 16 - 31 * c.select(1, 5)).masked_select(symmetric).abs().max().item<double>(), 0.3);
  const at::Tensor square = set.labels.eq(0), size = c.select(1, 0);
  EXPECT_LT(
      (area.masked_select(square) / (22 * 22 * size.square()).masked_select(square) - 1).abs().max().item<double>(),
      0.12);
  EXPECT_TRUE(at::equal(c.slice(1, 1, 4).argmax(1), set.labels));
  EXPECT_LT((c.select(1, 6).square() + c.select(1, 7).square() - 1).abs().max().item<double>(), 1e-6);
  // No part is cut off, whatever the position and rotation.
  EXPECT_EQ(set.x.select(2, 0).sum().item<int>() + set.x.select(3, 63).sum().item<int>(), 0);
}

TEST_F(Dsprites, TestCombinationsAreApartAndTooManyAreDrawnLater) {
  std::int64_t tests = 0;
  for (std::int64_t i = 0; i < 20000; ++i) tests += in_test(i) ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(tests), 2000, 4 * std::sqrt(1800));
  const Options options{.name = "dsprites-drawn", .validation = 0, .count = 200};
  Options lazy = options;
  lazy.memory = 0;
  const Dataset kept = load(options, Split::train, 1), later = load(lazy, Split::train, 1);
  ASSERT_TRUE(later.pictures && !later.x.defined());
  const Batches a(kept, options, 3), b(later, options, 3);
  for (const std::int64_t step : {0, 1, 2, 7, 3}) {
    const Batch want = a.at(step, 16), got = b.at(step, 16);
    EXPECT_TRUE(at::equal(want.x, got.x)) << step;
    EXPECT_TRUE(at::equal(want.conditions, got.conditions));
  }
  EXPECT_EQ(load({.name = "dsprites-drawn", .size = 32, .count = 10, .memory = 0}, Split::train, 1).shape(),
            (std::vector<std::int64_t>{1, 32, 32}));
}

TEST_F(Dsprites, WithheldGroupsAreLeftOutOfTrainingAlone) {
  Options o{.name = "dsprites-drawn", .validation = 0.3, .count = 600};
  const Dataset whole = load(o, Split::train, 5);
  o.without = {"heart & size < 0.65", "square&position.x<0.5 & position.y < 0.5"};
  const auto withheld = [](const Dataset& set) {
    const at::Tensor& c = set.conditions;
    return set.labels.eq(2)
        .logical_and(c.select(1, 0) < 0.65)
        .logical_or(set.labels.eq(0).logical_and(c.select(1, 4) < 0.5).logical_and(c.select(1, 5) < 0.5));
  };
  const Dataset rest = load(o, Split::train, 5);
  const at::Tensor kept = withheld(whole).logical_not();
  EXPECT_LT(kept.sum().item<int>(), kept.numel() - 50);
  EXPECT_TRUE(at::equal(rest.labels, whole.labels.masked_select(kept)));
  EXPECT_TRUE(at::equal(rest.x, whole.x.index({kept})));
  EXPECT_FALSE(withheld(load(o, Split::validation, 5)).any().item<bool>());
  EXPECT_TRUE(withheld(load(o, Split::test, 5)).any().item<bool>());
  o.memory = 0;  // drawn later
  EXPECT_TRUE(at::equal(load(o, Split::train, 5).take(at::arange(9)), rest.x.narrow(0, 0, 9)));

  const auto refused = [&](std::vector<std::string> groups) {
    o.without = std::move(groups);
    return load(o, Split::train, 5);
  };
  EXPECT_SAYS(refused({"hart & size < 0.65"}), "no class \"hart\"; did you mean \"heart\"?");
  EXPECT_SAYS(refused({"heart & siz < 0.65"}), "no number \"siz\"; did you mean \"size\"?");
  EXPECT_SAYS(refused({"heart & size < small"}), "expected a number after <, got \"small\"");
  EXPECT_SAYS(refused({"heart & "}), "expected class names and comparisons joined by &");
  EXPECT_SAYS(refused({"square", "ellipse", "heart"}), "it leaves no records to train on");
  EXPECT_SAYS(load({.name = "two-moons", .without = {"x < 1"}}, Split::train, 0), "the data have no number");
}

TEST_F(Dsprites, TheOfficialFileIsReadAsAStream) {
  if (!has_python()) GTEST_SKIP() << "numpy is not installed";
  ASSERT_EQ(python("import numpy as np\n"
                   "n = 600\n"
                   "i = np.zeros((n, 64, 64), np.uint8); i[np.arange(n), np.arange(n) // 64, np.arange(n) % 64] = 1\n"
                   "v = np.ones((n, 6)); v[:, 1] = 1 + np.arange(n) % 3; v[:, 2] = .5; v[:, 4] = np.arange(n) / n\n"
                   "np.savez_compressed('dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz', imgs=i, latents_values=v,\n"
                   "  latents_classes=np.zeros((n, 6), np.int64), metadata=np.array({'a': 1}, dtype=object))\n"),
            0);
  const Dataset train = load(in(folder, "dsprites"), Split::train, 0),
                test = load(in(folder, "dsprites"), Split::test, 0);
  EXPECT_EQ(train.size() + test.size(), 600);
  EXPECT_NEAR(static_cast<double>(test.size()), 60, 4 * std::sqrt(54));
  Options some = in(folder, "dsprites");
  some.count = 50;
  const Dataset part = load(some, Split::train, 7);
  ASSERT_EQ(part.size(), 50);
  EXPECT_TRUE(at::equal(load(some, Split::test, 7).x, test.x));
  // The white pixel says which record it is; labels and conditions are those of the same one.
  const at::Tensor which = part.x.flatten(1).argmax(1);
  EXPECT_EQ(part.x.sum().item<std::int64_t>(), 50 * 255);
  EXPECT_TRUE(at::equal(part.labels, which.remainder(3)));
  EXPECT_TRUE(at::allclose(part.conditions.select(1, 4), which.to(at::kFloat) / 600));
  const std::string name = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", good = read(name);
  std::string bad = good;
  bad[good.find("imgs.npy") + 2000] ^= 1;
  write(name, bad);
  EXPECT_SAYS(load(some, Split::train, 7), "imgs.npy");
  write(name, good.substr(0, good.size() / 2));
  EXPECT_SAYS(load(some, Split::train, 7), name);
}

TEST_F(Dsprites, DamagedFactorsAreRefusedWithTheirRecord) {
  const fs::path path = folder / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz";
  std::int64_t record = 0;
  while (in_test(record)) ++record;
  const auto said_of = [&](std::int64_t column, double value) {
    at::Tensor factors = at::ones({20, 6}, at::kDouble);
    factors[record][column] = value;
    io::write_npz(path, {{"imgs", at::zeros({20, 64, 64}, at::kByte)}, {"latents_values", factors}});
    return error_of([&] { load(in(folder, "dsprites"), Split::train, 0); });
  };
  const std::string where = fmt::format("{}: latents_values: record {}: expected ", path.string(), record);
  for (std::int64_t column = 0; column < 6; ++column) {
    EXPECT_TRUE(said_of(column, std::nan("")).starts_with(where + "finite numbers, got ")) << column;
    EXPECT_TRUE(said_of(column, HUGE_VAL).starts_with(where + "finite numbers, got ")) << column;
  }
  for (const double shape : {0.0, 1.5, 4.0, -1.0, 1e300})
    EXPECT_EQ(said_of(1, shape), where + fmt::format("shape 1, 2 or 3, got {}", shape));
  EXPECT_EQ(said_of(1, 3), "no error");
}

}  // namespace
}  // namespace igebm::data
