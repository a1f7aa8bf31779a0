#include "igebm/evaluation/neighbours.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "igebm/io/npz.h"
#include "igebm/io/safetensors.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "tests/refusals.h"

namespace igebm::evaluation {
namespace {

namespace fs = std::filesystem;

/// More rows than a part holds, so that parts are put together.
TEST(NearestRecords, AgreeWithAllDistances) {
  at::manual_seed(5);
  const at::Tensor x = at::randn({1030, 1, 2, 3}), among = at::randn({4200, 1, 2, 3}), mirrored = among.flip(3);
  const Nearest found = nearest_records(x, {among, mirrored}, 4);
  const auto all = [&](const at::Tensor& view) {
    return (x.to(at::kDouble).flatten(1).unsqueeze(1) - view.to(at::kDouble).flatten(1)).square().sum(2).sqrt();
  };
  const at::Tensor either = at::minimum(all(among), all(mirrored));
  const auto [distances, records] = either.sort(1);
  EXPECT_TRUE(found.distances.allclose(distances.slice(1, 0, 4), 1e-9, 1e-9));
  EXPECT_TRUE(found.records.equal(records.slice(1, 0, 4)));
  EXPECT_TRUE(found.views.equal(all(mirrored).lt(all(among)).to(at::kLong).gather(1, found.records)));
}

TEST(NearestRecords, OfBytesAreExact) {
  at::manual_seed(6);
  const at::Tensor among = at::randint(256, {50, 3, 4, 4}).to(at::kByte);
  at::Tensor x = among.slice(0, 7, 9).clone();
  x[1][0][0][0] += x[1][0][0][0].item<int>() < 255 ? 1 : -1;
  const Nearest found = nearest_records(x, {among}, 1);
  EXPECT_EQ(found.distances[0][0].item<double>(), 0);
  EXPECT_EQ(found.distances[1][0].item<double>(), 1 / 255.0);
  EXPECT_EQ(found.records[1][0].item<std::int64_t>(), 8);
  EXPECT_SAYS(nearest_records(x, {among}, 51), "expected 1 to 50 of them, got 51");
  EXPECT_SAYS(nearest_records(x, {among.to(at::kFloat)}, 1), "48 numbers (Byte), and 48 (Float)");
  EXPECT_SAYS(nearest_records(x, {among.slice(1, 0, 1)}, 1), "48 numbers (Byte), and 16 (Byte)");
}

/// Pictures of three classes, and others like them that training has not seen.
class NeighboursTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / fmt::format("igebm-neighbours-{}-{}", getpid(),
                                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
    at::manual_seed(7);
    const at::Tensor all = pictures(1100);
    train = all.slice(0, 0, 600), test = all.slice(0, 600, 900), others = all.slice(0, 900);
    io::write_npz(folder / "set.npz", {{"x_train", train},
                                       {"y_train", at::arange(600).remainder(3)},
                                       {"x_test", test},
                                       {"y_test", at::arange(300).remainder(3)}});
    data = {.name = "npz", .path = folder / "set.npz", .validation = 0};
  }
  void TearDown() override { fs::remove_all(folder); }

  /// Few numbers make each, so that some are near one another.
  static at::Tensor pictures(std::int64_t count) {
    const at::Tensor made = at::matmul(at::rand({count, 4}), at::rand({4, 64}) / 4);
    return made.mul(255).to(at::kByte).view({count, 1, 8, 8});
  }

  Neighbours found(const at::Tensor& x, const at::Tensor& labels = {}) {
    Observer nobody;
    return neighbours(Records{.x = x, .labels = labels}, data, options, nobody);
  }

  fs::path folder;
  at::Tensor train, test, others;
  data::Options data;
  NeighbourOptions options;
};

TEST_F(NeighboursTest, CopiesAreFoundOut) {
  const Neighbours n = found(train.slice(0, 100, 300));
  ASSERT_EQ(n.in.size(), 1U);
  EXPECT_LT(n.in[0].test.p, 1e-6);
  EXPECT_EQ(n.in[0].below, 1);
  EXPECT_EQ(n.in[0].copies, 1);
  EXPECT_LT(n.in[0].held_out_copies, 0.2);
  EXPECT_EQ(n.in[0].samples_median, 0);
  EXPECT_TRUE(n.in[0].samples.records.select(1, 0).equal(at::arange(100, 300)));
  EXPECT_EQ(n.held_out, 200);
  EXPECT_EQ(n.training.size(0), 600);
  EXPECT_FALSE(n.mirrored);
}

/// Half of them, too: the others hide them from the median, not from the test.
TEST_F(NeighboursTest, CopiesAmongOthersAreFoundOut) {
  const Nearness in = found(at::cat({train.slice(0, 0, 100), others.slice(0, 0, 100)})).in[0];
  EXPECT_LT(in.test.p, 1e-6);
  EXPECT_GE(in.below, 0.5);
}

TEST_F(NeighboursTest, NewPicturesAreNot) {
  const Nearness in = found(others).in[0];
  EXPECT_GT(in.test.p, 0.01);
  EXPECT_NEAR(in.test.share, 0.5, 0.1);
  EXPECT_LT(in.below, 0.05);
  EXPECT_NEAR(in.copies, in.held_out_copies, 0.1);
  // Of floating point, dequantised as training has them: the same bytes.
  const at::Tensor floats = (others.to(at::kFloat) + 0.7) / 256;
  EXPECT_EQ(found(floats).in[0].samples_median, in.samples_median);
}

TEST_F(NeighboursTest, MirroredPicturesCountWhereTrainingHasThem) {
  const at::Tensor x = train.slice(0, 0, 200).flip(3);
  EXPECT_GT(found(x).in[0].samples_median, 0);
  data.flip = true;
  const Neighbours n = found(x);
  EXPECT_TRUE(n.mirrored);
  EXPECT_EQ(n.in[0].samples_median, 0);
  EXPECT_TRUE(n.in[0].samples.views.select(1, 0).eq(1).all().item<bool>());
  // Shown as they are so near: twice as large, two pixels apart, and the samples a block of their own.
  const at::Tensor picture = picture_of(n, 3);
  EXPECT_EQ(picture.sizes().vec(), (std::vector<std::int64_t>{3 * 18 + 2, 20 + 4 + 5 * 18 + 2, 1}));
  const auto block = [&](std::int64_t left) { return picture.narrow(0, 20, 16).narrow(1, left, 16); };
  EXPECT_TRUE(block(2).equal(block(26)));
  EXPECT_FALSE(block(2).equal(block(44)));
}

TEST_F(NeighboursTest, HeldOutPicturesAreOfTheSamplesClasses) {
  EXPECT_EQ(found(others, at::full({200}, 1, at::kLong)).held_out, 100);  // all that there are
  EXPECT_EQ(found(others, at::arange(200).remainder(3)).held_out, 200);
}

TEST_F(NeighboursTest, FeaturesAreABlockMore) {
  const nn::Network network(nn::classifier({.channels = {4}, .features = 5}, {1, 8, 8}, 3), 2);
  io::write_safetensors(folder / "classifier.safetensors", network.parameters(),
                        {{"format", "igebm"}, {"version", "1"}, {"graph", nn::to_json(network.graph())}});
  options.features = folder / "classifier.safetensors";
  data.flip = true;
  const Neighbours n = found(train.slice(0, 0, 200).flip(3));
  ASSERT_EQ(n.in.size(), 2U);
  EXPECT_NEAR(n.in[1].samples_median, 0, 1e-6);
  EXPECT_LT(n.in[1].test.p, 1e-6);
  EXPECT_EQ(picture_of(n, 1).size(1), 20 + 2 * (4 + 5 * 18 + 2));
}

TEST_F(NeighboursTest, SamplesOfAModelAreDrawnAfterAllElseIsThere) {
  model::Settings settings;
  settings.data = data;
  settings.sampling.annealing.levels = 2;
  const auto model_of = [&] {
    nn::Network network(nn::strided({.stem = 4, .channels = {4}, .dense = 4}, {1, 8, 8}, {.noise_features = 4}), 1);
    return model::Model(network.graph(), {engine::prepare(network.graph(), network.effective_weights(), {})}, {},
                        settings);
  };
  class Sampling : public Observer {
   public:
    void progress(std::string_view stage, std::int64_t, std::int64_t) override { told |= stage == "sampling"; }
    bool told = false;
  } sampling;
  options.samples = 30;
  options.features = folder / "absent";
  EXPECT_SAYS(neighbours(model_of(), options, sampling), "absent: no such features");
  options.features = "";
  options.held_out = data::Split::validation;
  EXPECT_SAYS(neighbours(model_of(), options, sampling), "validation");
  settings.data.path = folder / "none.npz";
  EXPECT_SAYS(neighbours(model_of(), options, sampling), "none.npz");
  EXPECT_FALSE(sampling.told);
  settings.data = data;
  options.held_out = data::Split::test;
  const Neighbours n = neighbours(model_of(), options, sampling);
  EXPECT_TRUE(sampling.told);
  EXPECT_EQ(n.held_out, 30);
  EXPECT_GT(n.in[0].test.p, 0.99);  // it has learned nothing
}

TEST_F(NeighboursTest, RefusesPointsAndPicturesOfAnotherSize) {
  EXPECT_SAYS(found(at::rand({30, 2})), "points, where pictures are expected");
  EXPECT_SAYS(found(at::rand({30, 1, 4, 4})), "npz: pictures of shape (1, 8, 8), where the samples have (1, 4, 4)");
  EXPECT_SAYS(found(at::full({30, 1, 8, 8}, NAN)), "not finite");
  options.nearest = 601;
  EXPECT_SAYS(found(others), "601 nearest of 600 training pictures");
}

}  // namespace
}  // namespace igebm::evaluation
