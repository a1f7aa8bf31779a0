#include "igebm/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>
#include <vector>

namespace igebm {
namespace {

// The known answers published with Random123 (Salmon et al. 2011) for philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}), (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, BulkBitsAreThePublishedGenerator) {
  const RandomPlace place{7, Purpose::chain_start, 0x123456789abcULL, 42};
  std::vector<std::uint32_t> bits(1000);
  random_bits(place, bits);
  const PhiloxKey key = philox_key(7, Purpose::chain_start);
  for (std::uint32_t i = 0; i < bits.size(); ++i) {
    ASSERT_EQ(bits[i], philox({i / 4, 42, 0x56789abc, 0x1234}, key)[i % 4]) << i;
  }
}

TEST(Random, AnElementDoesNotDependOnHowManyAreAskedFor) {
  std::vector<float> all(1000);
  random_normal({1, Purpose::langevin_noise, 3, 4}, all);
  for (const std::size_t size : {1U, 2U, 63U, 64U, 65U, 200U, 999U}) {
    std::vector<float> some(size);
    random_normal({1, Purpose::langevin_noise, 3, 4}, some);
    ASSERT_TRUE(std::equal(some.begin(), some.end(), all.begin())) << size;
  }
}

TEST(Random, SeedsPurposesStreamsAndStepsAreApart) {
  std::set<float> seen;
  const auto draw = [&](const RandomPlace& place) {
    float value = 0;
    random_uniform(place, {&value, 1});
    seen.insert(value);
  };
  draw({0, Purpose::langevin_noise, 0, 0});
  draw({1, Purpose::langevin_noise, 0, 0});
  draw({std::uint64_t{1} << 32, Purpose::langevin_noise, 0, 0});
  draw({0, Purpose::chain_start, 0, 0});
  draw({0, Purpose::langevin_noise, 1, 0});
  draw({0, Purpose::langevin_noise, std::uint64_t{1} << 32, 0});
  draw({0, Purpose::langevin_noise, 0, 1});
  EXPECT_EQ(seen.size(), 7U);
}

TEST(Random, NormalsAreBoxMullerOfTheUniforms) {
  std::vector<float> u(100000), n(u.size());
  const RandomPlace place{5, Purpose::langevin_noise, 9, 1};
  random_uniform(place, u);
  random_normal(place, n);
  for (std::size_t i = 0; i < u.size(); i += 2) {
    const double radius = std::sqrt(-2 * std::log(static_cast<double>(u[i]))), angle = 2 * std::numbers::pi * u[i + 1];
    ASSERT_NEAR(n[i], radius * std::cos(angle), 4e-6) << i;
    ASSERT_NEAR(n[i + 1], radius * std::sin(angle), 4e-6) << i;
  }
}

// Kolmogorov-Smirnov with a million numbers: sqrt(n) D exceeds 1.95 by chance once in a thousand seeds, and a
// shift of the mean by 0.5 % of a standard deviation is found with probability above 0.95.
double distance(std::vector<float> values, double (*cdf)(double)) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double p = cdf(values[i]);
    worst = std::max({worst, std::fabs(p - static_cast<double>(i) / n), std::fabs(p - static_cast<double>(i + 1) / n)});
  }
  return worst * std::sqrt(n);
}

TEST(Random, DistributionsByKolmogorovSmirnov) {
  std::vector<float> values(1000000);
  random_uniform({11, Purpose::chain_start, 0, 0}, values);
  EXPECT_GT(*std::min_element(values.begin(), values.end()), 0.0F);
  EXPECT_LT(*std::max_element(values.begin(), values.end()), 1.0F);
  EXPECT_LT(distance(values, [](double x) { return x; }), 1.95);
  random_normal({11, Purpose::langevin_noise, 0, 0}, values);
  EXPECT_LT(distance(values, [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }), 1.95);
}

TEST(Random, NormalsOfNeighbouringStreamsAndStepsAreUncorrelated) {
  constexpr std::size_t size = 1 << 18;
  const auto draw = [](std::uint64_t stream, std::uint32_t step) {
    std::vector<float> v(size);
    random_normal({2, Purpose::langevin_noise, stream, step}, v);
    return v;
  };
  const auto a = draw(0, 0);
  for (const auto& b : {draw(1, 0), draw(0, 1)}) {
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) sum += a[i] * b[i];
    EXPECT_LT(std::fabs(sum) / std::sqrt(static_cast<double>(size)), 4);  // standard normal if independent
  }
}

TEST(Random, IndicesAreUniform) {
  constexpr std::int64_t bound = 7, draws = 70000;
  std::vector<int> counts(bound);
  for (std::int64_t i = 0; i < draws; ++i) {
    const auto index = random_index({3, Purpose::replay, static_cast<std::uint64_t>(i), 0}, bound);
    ASSERT_GE(index, 0);
    ASSERT_LT(index, bound);
    ++counts[static_cast<std::size_t>(index)];
  }
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 10000.0) * (count - 10000.0) / 10000.0;
  EXPECT_LT(chi_square, 22.5);  // 6 degrees of freedom: exceeded once in a thousand seeds
}

}  // namespace
}  // namespace igebm
