#include "igebm/data/data.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "igebm/base/error.h"
#include "igebm/data/idx.h"
#include "tests/data/files.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() /
             ("igebm-data-" + std::to_string(getpid()) + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  static std::string idx(const std::vector<int>& shape, const std::string& bytes) {
    std::string out{'\0', '\0', '\x08', static_cast<char>(shape.size())};
    for (const int d : shape)
      out += {static_cast<char>(d >> 24), static_cast<char>(d >> 16), static_cast<char>(d >> 8), static_cast<char>(d)};
    return out + bytes;
  }
  fs::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder / name, std::ios::binary) << bytes;
    return folder / name;
  }
  fs::path write_gzip(const std::string& name, const std::string& bytes) const {
    const gzFile file = gzopen((folder / name).c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
    return folder / name;
  }

  fs::path folder;
};

TEST_F(Files, IdxPlainAndGzip) {
  const std::string bytes = idx({2, 1, 3}, "abcdef");
  for (const auto& path : {write("plain", bytes), write_gzip("packed.gz", bytes)}) {
    const at::Tensor t = read_idx(path);
    EXPECT_EQ(t.sizes(), (std::vector<std::int64_t>{2, 1, 3}));
    EXPECT_EQ((t[1][0][2].item<int>()), 'f');
  }
}

TEST_F(Files, EveryTruncationAndLengtheningIsRefused) {
  const std::string bytes = idx({2, 2, 2}, "abcdefgh");
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_SAYS(read_idx(write("short", bytes.substr(0, length))),
                "short: truncated at offset " + std::to_string(length) + ": expected ");
  EXPECT_SAYS(read_idx(write("long", bytes + "x")), "long: expected its end at offset 24, after 8 bytes of data");
  const fs::path packed = write_gzip("whole.gz", bytes);
  for (auto length = fs::file_size(packed) - 1; length > 0; --length) {
    fs::resize_file(packed, length);
    EXPECT_SAYS(read_idx(packed), "whole.gz: truncated at offset ");
  }
  std::string noise;  // that gzip cannot shorten: the file's bytes are about those that it holds
  for (unsigned i = 0, value = 1; i < 300000; ++i)
    noise += static_cast<char>((value = value * 1664525 + 1013904223) >> 24);
  const fs::path damaged = write_gzip("damaged.gz", idx({3, 1000, 100}, noise));
  std::fstream(damaged, std::ios::in | std::ios::out | std::ios::binary).seekp(200000).write("\xff\xff\xff\xff", 4);
  EXPECT_SAYS(read_idx(damaged), "damaged.gz: damaged gzip data at offset ");
}

TEST_F(Files, OtherFilesAreRefused) {
  EXPECT_THROW(read_idx(write("text", "hello, this is no IDX file")), UserError);
  EXPECT_THROW(read_idx(write("floats", std::string("\0\0\x0d\x01\0\0\0\x01xxxx", 12))), UserError);
  EXPECT_SAYS(read_idx(write("huge", idx({0x7fffffff, 0x7fffffff, 0x7fffffff}, "x"))),
              "huge: dimension 2147483647 at offset 8: expected");
  EXPECT_THROW(read_idx(folder / "absent"), UserError);
}

TEST_F(Files, MnistReadsImagesWithTheirLabels) {
  write_gzip("train-images-idx3-ubyte.gz", idx({3, 2, 2}, "abcdefghijkl"));
  write("train-labels-idx1-ubyte", idx({3}, std::string("\x05\x00\x09", 3)));
  const Dataset set = load({.name = "mnist", .path = folder, .validation = 0}, Split::train, 0);
  EXPECT_EQ(set.x.sizes(), (std::vector<std::int64_t>{3, 1, 2, 2}));
  EXPECT_TRUE(at::equal(set.labels, at::tensor({5, 0, 9}, at::kLong)));
  EXPECT_EQ(set.classes, 10);
  write("train-labels-idx1-ubyte", idx({2}, std::string("\x05\x00", 2)));
  EXPECT_THROW(load({.name = "mnist", .path = folder}, Split::train, 0), UserError);
  write("train-labels-idx1-ubyte", idx({3}, std::string("\x05\x00\x0a", 3)));
  EXPECT_SAYS(load({.name = "mnist", .path = folder}, Split::train, 0),
              "train-labels-idx1-ubyte: label 10 of record 2 at offset 10, where 0 to 9 are expected");
  EXPECT_THROW(load({.name = "mnist", .path = folder / "absent"}, Split::train, 0), UserError);
  EXPECT_THROW(load({.name = "fasion-mnist"}, Split::train, 0), UserError);
}

Dataset pixels(std::int64_t count) {
  return {at::arange(count * 4).to(at::kByte).reshape({count, 1, 2, 2}), at::arange(count), count, {}};
}

TEST(Batches, AStepIsTheSameWhateverWasAskedBefore) {
  const Batches a(pixels(10), {}, 1), b(pixels(10), {}, 1), other(pixels(10), {}, 2);
  for (std::int64_t step = 0; step < 7; ++step) a.at(step, 4);
  EXPECT_TRUE(at::equal(a.at(3, 4).x, b.at(3, 4).x));
  EXPECT_TRUE(at::equal(a.at(3, 4).index, b.at(3, 4).index));
  EXPECT_FALSE(at::equal(a.at(3, 4).x, other.at(3, 4).x));
}

TEST(Batches, EveryEpochVisitsEveryRecordOnce) {
  const Batches batches(pixels(10), {}, 1);
  std::vector<std::int64_t> seen;
  for (std::int64_t step = 0; step < 10; ++step) {  // four epochs, batches across their borders
    const at::Tensor index = batches.at(step, 4).index;
    for (int i = 0; i < 4; ++i) seen.push_back(index[i].item<std::int64_t>());
  }
  std::set<std::vector<std::int64_t>> orders;
  for (int epoch = 0; epoch < 4; ++epoch) {
    const std::vector<std::int64_t> order(seen.begin() + epoch * 10, seen.begin() + epoch * 10 + 10);
    EXPECT_EQ(std::set<std::int64_t>(order.begin(), order.end()).size(), 10U);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 4U);
}

TEST(Batches, OfOtherSizesGoOnWhereTheOneBeforeEnded) {
  const Batches batches(pixels(12), {}, 1);
  std::set<std::int64_t> seen;
  at::Tensor all = batches.from(0, 12).x;
  std::int64_t first = 0;
  for (const std::int64_t size : {5, 3, 3, 1}) {
    const Batch batch = batches.from(first, size);
    EXPECT_TRUE(at::equal(batch.x, all.slice(0, first, first + size)));
    for (std::int64_t i = 0; i < size; ++i) seen.insert(batch.index[i].item<std::int64_t>());
    first += size;
  }
  EXPECT_EQ(seen.size(), 12U);
  EXPECT_TRUE(at::equal(batches.from(12, 4).x, batches.at(3, 4).x));
  EXPECT_THROW(batches.from(-1, 4), UserError);
}

TEST(Batches, PixelsLandInTheirBinsOfTheRange) {
  const Batches batches(pixels(10), {.low = -1, .high = 1}, 1);
  const Batch batch = batches.at(0, 10);
  const at::Tensor raw = pixels(10).x.index_select(0, batch.index).to(at::kFloat), back = (batch.x + 1) * 128;
  EXPECT_TRUE(at::equal(back.floor(), raw));
  EXPECT_GT((back - raw).std().item<double>(), 0.2);  // uniform in its bin: 0.289
  EXPECT_FALSE(at::equal(std::get<0>(batches.at(0, 10).x.flatten().sort()),
                         std::get<0>(batches.at(1, 10).x.flatten().sort())));  // new noise each epoch
  const Batch plain = Batches(pixels(10), {.dequantize = false}, 1).at(0, 10);
  EXPECT_TRUE(at::allclose(plain.x * 255, pixels(10).x.index_select(0, plain.index).to(at::kFloat)));
  EXPECT_TRUE(at::equal(plain.labels, plain.index));
}

TEST(Batches, FlipMirrorsHalfOfThem) {
  const Batch batch = Batches(pixels(1000), {.dequantize = false, .flip = true}, 1).at(0, 1000);
  const at::Tensor raw = pixels(1000).x.index_select(0, batch.index).to(at::kFloat), got = (batch.x * 255).round();
  const at::Tensor same = (got == raw).flatten(1).all(1), mirrored = (got == raw.flip(3)).flatten(1).all(1);
  EXPECT_TRUE(same.logical_xor(mirrored).all().item<bool>());
  EXPECT_NEAR(mirrored.sum().item<double>(), 500, 4 * std::sqrt(250));
}

TEST(Sets, TheTestSplitIsWholeWhateverIsTrainedOn) {
  for (const char* name : {"two-moons", "dsprites-drawn"}) {
    const auto size = [&](std::int64_t count, Split split) {
      return load({.name = name, .validation = 0, .count = count, .memory = 0}, split, 1).size();
    };
    EXPECT_EQ(size(0, Split::test), 20000) << name;
    EXPECT_EQ(size(300, Split::test), 20000) << name;
    EXPECT_EQ(size(300, Split::train), 300) << name;
    EXPECT_EQ(size(30000, Split::test), 30000) << name;
  }
}

TEST(Sets, ValidationIsApartFromTraining) {
  const Options options{.name = "two-moons", .validation = 0.2, .count = 5000};
  const at::Tensor train = load(options, Split::train, 1).x, validation = load(options, Split::validation, 1).x;
  EXPECT_EQ(train.size(0) + validation.size(0), 5000);
  EXPECT_NEAR(static_cast<double>(validation.size(0)), 1000, 4 * std::sqrt(800));
  EXPECT_FALSE((train.unsqueeze(1) == validation.unsqueeze(0)).all(2).any().item<bool>());
}

TEST(Sets, EverySyntheticSetHasItsShape) {
  for (const Set& set : sets()) {
    if (std::string(set.about).substr(0, 3) != "2-D") continue;
    const Dataset data = load({.name = set.name, .validation = 0, .count = 4000}, Split::train, 3);
    EXPECT_EQ(data.x.sizes(), (std::vector<std::int64_t>{4000, 2})) << set.name;
    EXPECT_LT(data.x.abs().max().item<double>(), 3.5) << set.name;
    EXPECT_NEAR(data.x.mean().item<double>(), 0, 0.25) << set.name;
  }
  // Eight clusters at radius 2, told apart by their labels.
  const Dataset ring = load({.name = "eight-gaussians", .validation = 0, .count = 4000}, Split::train, 3);
  EXPECT_NEAR(ring.x.square().sum(1).sqrt().mean().item<double>(), 2, 0.02);
  EXPECT_EQ(ring.labels.max().item<std::int64_t>(), 7);
}

TEST(Sets, FashionMnistWhereDebianInstallsIt) {
  if (!fs::exists("/usr/share/datasets/fashion-mnist"))
    GTEST_SKIP() << "Debian's package dataset-fashion-mnist is not installed";
  const Dataset set = load({}, Split::test, 0);
  EXPECT_EQ(set.x.sizes(), (std::vector<std::int64_t>{10000, 1, 28, 28}));
  EXPECT_TRUE(at::equal(at::bincount(set.labels), at::full({10}, 1000, at::kLong)));
  EXPECT_EQ(set.class_names[9], "boot");
}

}  // namespace
}  // namespace igebm::data
