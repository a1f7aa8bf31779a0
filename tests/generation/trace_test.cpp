#include "igebm/generation/trace.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "igebm/io/plot.h"

namespace igebm::generation {
namespace {

sampling::Chains chains_at(const at::Tensor& x, const std::vector<std::int64_t>& streams) {
  return {x, {}, at::tensor(streams, at::kLong), at::zeros({x.size(0)}, at::kLong)};
}

sampling::StepInfo info_of(const std::vector<float>& energies) {
  std::vector<sampling::ChainInfo> chains;
  for (const float e : energies) chains.push_back({.gradient_square = 4.0 * e * e, .energy = e});
  return sampling::summarise(std::move(chains), 2);
}

// Two chains, of which one ends and makes room for a third.
TEST(Trace, FollowsChainsByTheirStreams) {
  Trace trace(3, {1, 2});
  const auto at = [](const std::vector<float>& x) { return at::tensor(x).reshape({-1, 2}); };
  trace.record(info_of({1, 2}), chains_at(at({0, 0, 1, 1}), {70, 71}), at::tensor({5.0, 4.0}));
  trace.record(info_of({3, 4}), chains_at(at({3, 4, 1, 1}), {70, 71}), at::tensor({3.0, 2.0}));
  trace.record(info_of({5, 6}), chains_at(at({3, 4, 9, 9}), {70, 72}), at::tensor({1.0, 5.0}));
  const auto told = trace.arrays();
  const at::Tensor energy = told.at("energy");
  EXPECT_TRUE(
      at::equal(energy.nan_to_num(-1), at::tensor({1.F, 3.F, 5.F, 2.F, 4.F, -1.F, 6.F, -1.F, -1.F}).reshape({3, 3})));
  EXPECT_TRUE(at::equal(told.at("gradient_norm").nan_to_num(-0.5), energy.nan_to_num(-0.25) * 2));
  EXPECT_TRUE(at::equal(told.at("moved").nan_to_num(-1),
                        at::tensor({-1.F, 5.F, 0.F, -1.F, 0.F, -1.F, -1.F, -1.F, -1.F}).reshape({3, 3})));
  EXPECT_EQ(told.at("sigma")[1][1].item<double>(), 2);
  const at::Tensor pictures = told.at("pictures");  // (2, 3, 2): the third chain had ended by the second step
  EXPECT_TRUE(at::equal(pictures[0], at({0, 0, 1, 1, 9, 9})));
  EXPECT_TRUE(at::equal(pictures[1], at({3, 4, 1, 1, 9, 9})));
  EXPECT_EQ(trace.picture({.kind = model::SampleSpace::Kind::points, .shape = {2}}).size(2), 3);
}

TEST(Trace, AKnownScheduleNeedsNotBeTold) {
  Trace trace(1, {}, {4, 2});
  for (int i = 0; i < 2; ++i) trace.record(info_of({1}), chains_at(at::zeros({1, 2}), {9}));
  EXPECT_TRUE(at::equal(trace.arrays().at("sigma"), at::tensor({4.F, 2.F}).reshape({1, 2})));
  EXPECT_FALSE(trace.arrays().contains("pictures"));
}

// A line from corner to corner leaves its colour there and nowhere off it.
TEST(Plot, DrawsWhereTheValuesAre) {
  const io::Plot plot{"line", "x", false, {{{0, 1}, {0, 10}, {255, 0, 0}}}};
  const at::Tensor picture = io::draw(plot, 400, 300);
  ASSERT_EQ(picture.sizes(), (std::vector<std::int64_t>{300, 400, 3}));
  const at::Tensor red = picture.select(2, 0).eq(255) & picture.select(2, 1).eq(0);
  const at::Tensor places = red.nonzero();
  EXPECT_GT(places.size(0), 300);
  EXPECT_EQ(places.select(1, 1).min().item<std::int64_t>(), 58);  // the axes' place
  EXPECT_EQ(places.select(1, 1).max().item<std::int64_t>(), 388);
  EXPECT_EQ(red[26][388].item<bool>(), true);
  EXPECT_EQ(red[266][58].item<bool>(), true);
  EXPECT_EQ(red[26][58].item<bool>(), false);
  // What has no logarithm is left out.
  const at::Tensor left = io::draw({"", "", true, {{{0, 1, 2}, {1, 0, std::nan("")}, {255, 0, 0}}}}, 400, 300);
  EXPECT_EQ((left.select(2, 0).eq(255) & left.select(2, 1).eq(0)).sum().item<std::int64_t>(), 1);
}

}  // namespace
}  // namespace igebm::generation
