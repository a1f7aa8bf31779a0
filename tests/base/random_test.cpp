#include "igebm/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>
#include <vector>

#include "igebm/base/philox.h"

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

// What CUDA kernels draw: the same words, and normals equal to rounding (2e-6 where the radius is largest).
TEST(Philox, OneCounterAtATimeIsTheSame) {
  const PhiloxKey key = philox_key(9, Purpose::langevin_noise);
  const std::int64_t stream = (std::int64_t{5} << 32) + 17, step = 123456;
  const RandomPlace place{9, Purpose::langevin_noise, static_cast<std::uint64_t>(stream),
                          static_cast<std::uint32_t>(step)};
  std::vector<std::uint32_t> bits(1 << 18);
  std::vector<float> uniform(bits.size()), normal(bits.size());
  random_bits(place, bits);
  random_uniform(place, uniform);
  random_normal(place, normal);
  for (std::uint32_t i = 0; i < bits.size(); i += 4) {
    const PhiloxWords w = philox_at(i / 4, stream, step, key[0], key[1]);
    ASSERT_TRUE(w.a == bits[i] && w.b == bits[i + 1] && w.c == bits[i + 2] && w.d == bits[i + 3]) << i;
    ASSERT_EQ(philox_uniform(w.c), uniform[i + 2]);
    float n[4];
    philox_normals(w.a, w.b, n[0], n[1]);
    philox_normals(w.c, w.d, n[2], n[3]);
    for (std::uint32_t k = 0; k < 4; ++k) ASSERT_NEAR(n[k], normal[i + k], 1e-6 * (1 + std::abs(n[k])));
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
  std::vector<float> u(1 << 22), n(u.size());  // the radius reaches 5.4
  const RandomPlace place{5, Purpose::langevin_noise, 9, 1};
  random_uniform(place, u);
  random_normal(place, n);
  for (std::size_t i = 0; i < u.size(); i += 2) {
    const double radius = std::sqrt(-2 * std::log(static_cast<double>(u[i]))), angle = 2 * std::numbers::pi * u[i + 1];
    ASSERT_NEAR(n[i], radius * std::cos(angle), 1e-6) << i;
    ASSERT_NEAR(n[i + 1], radius * std::sin(angle), 1e-6) << i;
  }
}

// Half a step added to 24 bits would round to 1 once in 2^24 numbers: 2^27 would find it, and so does the form of each.
TEST(Random, UniformsAreOddMultiplesBelowOne) {
  std::vector<float> u(1 << 20);
  float worst = 0;
  for (std::uint64_t stream = 0; stream < 128; ++stream) {
    random_uniform({4, Purpose::chain_start, stream, 0}, u);
    worst = std::max(worst, *std::max_element(u.begin(), u.end()));
  }
  EXPECT_LT(worst, 1.0F);
  for (const float v : u) {
    const auto multiple = static_cast<std::int64_t>(v * 0x1p24F);
    ASSERT_EQ(static_cast<float>(multiple) * 0x1p-24F, v);
    ASSERT_EQ(multiple % 2, 1);
  }
}

// Each moment's error in units of its standard deviation over 2^22 numbers; beyond 4.5 by chance once in 7,000 seeds
// for all eight together. A variance wrong by 0.5 % is found with probability above 0.99.
TEST(Random, MomentsAndTails) {
  constexpr double n = 1 << 22;
  std::vector<float> x(1 << 22);
  double sum[4] = {}, beyond[2] = {};
  random_normal({21, Purpose::langevin_noise, 0, 0}, x);
  for (const double v : x) {
    sum[0] += v;
    sum[1] += v * v - 1;
    sum[2] += v * v * v;
    sum[3] += v * v * v * v - 3;
    beyond[0] += std::fabs(v) > 3;
    beyond[1] += std::fabs(v) > 4;
  }
  const double variance[4] = {1, 2, 15, 96};
  for (int k = 0; k < 4; ++k) EXPECT_LT(std::fabs(sum[k]) / std::sqrt(n * variance[k]), 4.5) << "moment " << k + 1;
  for (int k = 0; k < 2; ++k) {
    const double expected = n * std::erfc((3 + k) / std::numbers::sqrt2);
    EXPECT_LT(std::fabs(beyond[k] - expected) / std::sqrt(expected), 4.5) << "beyond " << 3 + k;
  }
  random_uniform({21, Purpose::chain_start, 0, 0}, x);
  double first = 0, second = 0;
  for (const double v : x) {
    first += v - 0.5;
    second += (v - 0.5) * (v - 0.5) - 1.0 / 12;
  }
  EXPECT_LT(std::fabs(first) / std::sqrt(n / 12), 4.5);
  EXPECT_LT(std::fabs(second) / std::sqrt(n / 180), 4.5);
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

// 2^64 words do not divide evenly among 3 * 2^61 indices: without redrawing, those of one remainder modulo 3 would come
// a quarter of the time instead of a third.
TEST(Random, GreatBoundsAreUnbiased) {
  constexpr std::int64_t bound = std::int64_t{3} << 61;
  double counts[3] = {};
  for (std::uint64_t i = 0; i < 30000; ++i) {
    const auto index = random_index({3, Purpose::replay, i, 1}, bound);
    ASSERT_GE(index, 0);
    ASSERT_LT(index, bound);
    ++counts[index % 3];
  }
  for (const double count : counts) EXPECT_LT(std::fabs(count - 10000) / std::sqrt(30000.0 * 2 / 9), 4.5);
}

TEST(Random, OneUniformIsUniform) {
  double sum = 0;
  for (std::uint64_t i = 0; i < 40000; ++i) {
    const double u = random_uniform({6, Purpose::accept, i, 0});
    ASSERT_GT(u, 0);
    ASSERT_LT(u, 1);
    sum += u - 0.5;
  }
  EXPECT_LT(std::fabs(sum) / std::sqrt(40000.0 / 12), 4.5);
}

}  // namespace
}  // namespace igebm

namespace igebm {
namespace {

TEST(Random, RowsAreTheNormalsOfTheirStreamsAndSteps) {
  std::vector<std::int64_t> streams, steps;
  for (std::int64_t i = 0; i < 37; ++i) streams.push_back((i * i) << (i % 3 * 16)), steps.push_back(7 * i % 11);
  std::vector<std::int64_t> some_negated = streams;
  some_negated[5] |= negated_stream, some_negated[36] |= negated_stream;
  for (const std::int64_t elements : {1, 2, 3, 4, 5, 8, 12, 16, 30, 32, 63, 64, 70, 128, 784}) {
    std::vector<float> rows(37 * static_cast<std::size_t>(elements)), row(static_cast<std::size_t>(elements));
    random_normal_rows(5, Purpose::langevin_noise, streams, steps, elements, rows.data());
    for (std::size_t r = 0; r < 37; ++r) {
      random_normal(
          {5, Purpose::langevin_noise, static_cast<std::uint64_t>(streams[r]), static_cast<std::uint32_t>(steps[r])},
          row);
      for (std::size_t i = 0; i < row.size(); ++i)
        ASSERT_EQ(rows[r * row.size() + i], row[i]) << elements << " " << r << " " << i;
    }
    std::vector<float> mixed(rows.size());
    random_normal_rows(5, Purpose::langevin_noise, some_negated, steps, elements, mixed.data());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t r = i / row.size();
      ASSERT_EQ(mixed[i], r == 5 || r == 36 ? -rows[i] : rows[i]) << elements << " " << i;
    }
  }
}

}  // namespace
}  // namespace igebm
