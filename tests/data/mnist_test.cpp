#include "igebm/data/mnist.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "igebm/data/idx.h"
#include "igebm/data/synthetic.h"
#include "tests/refusals.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

class Mnist : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("igebm-mnist-" + std::to_string(getpid()) +
                                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  void write(const std::string& name, const std::vector<unsigned char>& bytes) const {
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  Options options(const char* name) const { return {.name = name, .path = folder, .validation = 0}; }
  fs::path folder;
};

TEST_F(Mnist, AnyPicturesWithAndWithoutLabels) {
  write("train-images-idx3-ubyte", {0, 0, 8, 4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6});
  const Dataset bare = load(options("idx"), Split::train, 0);
  EXPECT_EQ(bare.x.sizes(), (std::vector<std::int64_t>{2, 3, 1, 1}));
  EXPECT_EQ(bare.x[1][2][0][0].item<int>(), 6);
  EXPECT_FALSE(bare.labels.defined());
  EXPECT_EQ(bare.classes, 0);
  EXPECT_FALSE(Batches(bare, options("idx"), 0).at(0, 2).labels.defined());

  write("train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 2, 3, 11});
  const Dataset named = load(options("idx"), Split::train, 0);
  EXPECT_EQ(named.classes, 12);
  EXPECT_EQ(named.class_names.at(11), "11");

  // Classes are those of training, in the test split too.
  write("t10k-images-idx3-ubyte", {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9});
  write("t10k-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 1, 2});
  EXPECT_EQ(load(options("idx"), Split::test, 0).classes, 12);
  write("t10k-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 1, 12});
  EXPECT_SAYS(load(options("idx"), Split::test, 0),
              "t10k-labels-idx1-ubyte: label 12 of record 0 at offset 8, where 0 to 11");
}

TEST_F(Mnist, MessagesSayFileAndWhatWasExpected) {
  const auto read = [&](const char* name) { return error_of([&] { load(options(name), Split::train, 0); }); };
  EXPECT_NE(read("fashion-mnist").find("dataset-fashion-mnist"), std::string::npos);
  EXPECT_NE(read("mnist").find(folder.string()), std::string::npos);
  EXPECT_SAYS(load({.name = "idx"}, Split::train, 0), "data.path");
  EXPECT_NE(read("two-moon").find("two-moons"), std::string::npos);

  write("train-images-idx3-ubyte", {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2});
  write("train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3});
  EXPECT_NE(read("mnist").find("expected 2 labels"), std::string::npos) << read("mnist");
  write("train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 2, 1, 10});
  EXPECT_NE(read("mnist").find("label 10 of record 1 at offset 9, where 0 to 9"), std::string::npos) << read("mnist");
  write("train-images-idx3-ubyte", {0, 0, 8, 1, 0, 0, 0, 2, 1, 2});
  EXPECT_NE(read("mnist").find("train-images-idx3-ubyte: expected pictures"), std::string::npos) << read("mnist");
}

// The magic is three fixed bytes and a number of dimensions: every change of any bit of the first three is refused.
TEST_F(Mnist, EveryBitOfTheMagicCounts) {
  const std::vector<unsigned char> good = {0, 0, 8, 1, 0, 0, 0, 2, 7, 7};
  write("f", good);
  EXPECT_EQ(read_idx(folder / "f").numel(), 2);
  for (std::size_t bit = 0; bit < 24; ++bit) {
    auto bad = good;
    bad[bit / 8] = static_cast<unsigned char>(bad[bit / 8] ^ (1U << (bit % 8)));
    write("f", bad);
    EXPECT_NE(error_of([&] { read_idx(folder / "f"); }).find("expected it to begin with 00 00 08"), std::string::npos)
        << bit;
  }
}

TEST(Options, FieldsOutOfRangeAreNamed) {
  const auto named = [](const Options& o, const char* field) {
    return error_of([&] { check(o); }).starts_with(std::string("data.") + field);
  };
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(named({.low = 1, .high = 1}, "low"));
  EXPECT_TRUE(named({.low = nan}, "low"));
  EXPECT_TRUE(named({.validation = 1}, "validation"));
  EXPECT_TRUE(named({.count = -1}, "count"));
  EXPECT_TRUE(named({.noise = -0.1}, "noise"));
  check({});
}

// Every one of the 256 levels, 3,000 draws each, in ranges whose arithmetic is exact: a rounding up would show about
// once in 10^5 draws of the highest levels.
TEST(Dequantisation, NeverLeavesTheBin) {
  const Dataset set{
      at::arange(256).to(at::kByte).view({1, 1, 1, 256}).expand({3000, 1, 1, 256}).contiguous(), {}, 0, {}};
  for (const double low : {0.0, -1.0}) {
    const Batch batch = Batches(set, {.low = low, .high = 1}, 5).at(0, 3000);
    const at::Tensor level = (batch.x.to(at::kDouble) - low) * (256 / (1 - low));
    EXPECT_TRUE(at::equal(level.floor(), set.x.to(at::kDouble)));
    EXPECT_LT(batch.x.max().item<float>(), 1.0F);
  }
}

TEST(Synthetic, TestPointsAreFurtherRecords) {
  const Options options{.name = "pinwheel", .validation = 0, .count = 500};
  const at::Tensor train = load(options, Split::train, 1).x, test = load(options, Split::test, 1).x;
  EXPECT_FALSE((train.unsqueeze(1) == test.unsqueeze(0)).all(2).any().item<bool>());
  EXPECT_TRUE(at::equal(train, load(options, Split::train, 1).x));
  EXPECT_TRUE(at::equal(train.slice(0, 100, 200), synthetic("pinwheel", 100, options.noise, 1, 100).x));
}

// Squares of side 1 where column + row is even; all eight equally likely.
TEST(Synthetic, CheckerboardKeepsToItsSquares) {
  const at::Tensor cell = synthetic("checkerboard", 8000, 1.0, 2).x.floor().to(at::kLong);
  EXPECT_TRUE(at::equal(at::remainder(cell.sum(1), 2), at::zeros({8000}, at::kLong)));
  const at::Tensor count = at::bincount((cell.select(1, 0) + 2) * 4 + cell.select(1, 1) + 2, {}, 16);
  EXPECT_EQ(count.gt(0).sum().item<int>(), 8);
  EXPECT_LT((count.masked_select(count.gt(0)) - 1000).abs().max().item<double>(), 4.5 * std::sqrt(1000 * 7.0 / 8));
}

}  // namespace
}  // namespace igebm::data
