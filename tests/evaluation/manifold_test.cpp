#include "igebm/evaluation/manifold.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/evaluation/equal_parts.h"
#include "igebm/evaluation/quality.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"

namespace igebm::evaluation {
namespace {

namespace fs = std::filesystem;

/// All five, of samples a and real b.
std::map<std::string, double> figures_of(const at::Tensor& a, const at::Tensor& b) {
  return {{"precision", within_balls(a, b, 3)},
          {"recall", within_balls(b, a, 3)},
          {"density", balls_around(a, b, 5)},
          {"coverage", balls_held(a, b, 5)},
          {"two_sample", nearest_is_own(a, b)}};
}

TEST(Manifolds, AgreeWithNumpy) {
  const std::string python = IGEBM_SOURCE_DIR "/.venv/bin/python";
  if (std::system((python + " -c 'import numpy' 2>/dev/null").c_str()) != 0) GTEST_SKIP() << "no numpy";
  const fs::path folder = fs::temp_directory_path() / fmt::format("igebm-manifold-{}", getpid());
  fs::create_directories(folder);
  at::manual_seed(5);
  // Of one law, shifted, narrow, wide, of other numbers, and more than are taken at once.
  const auto normal = [](std::int64_t n, std::int64_t d) { return at::randn({n, d}, at::kDouble); };
  const std::map<std::string, at::Tensor> arrays = {
      {"alike.a", normal(200, 8)},       {"alike.b", normal(200, 8)},        {"shifted.a", normal(150, 5) + 0.7},
      {"shifted.b", normal(150, 5)},     {"narrow.a", 0.3 * normal(100, 6)}, {"narrow.b", normal(120, 6)},
      {"wide.a", 2 * normal(130, 4)},    {"wide.b", normal(90, 4)},          {"many.a", normal(1100, 3)},
      {"many.b", 1.2 * normal(1050, 3)},
  };
  io::write_npz(folder / "features.npz", arrays);
  ASSERT_EQ(std::system((python + " " IGEBM_SOURCE_DIR "/tests/evaluation/manifold.py " + folder.string()).c_str()), 0);
  const auto expected = nlohmann::json::parse(io::read_file(folder / "expected.json"));
  for (const char* name : {"alike", "shifted", "narrow", "wide", "many"}) {
    for (const auto& [figure, value] :
         figures_of(arrays.at(fmt::format("{}.a", name)), arrays.at(fmt::format("{}.b", name))))
      EXPECT_NEAR(value, expected[name][figure].get<double>(), 1e-12) << name << " " << figure;
  }
  fs::remove_all(folder);
}

TEST(Manifolds, TellWhatIsMissingFromWhatIsOdd) {
  at::manual_seed(6);
  const at::Tensor real = at::cat({at::randn({300, 2}, at::kDouble), at::randn({300, 2}, at::kDouble) + 20}),
                   again = at::cat({at::randn({300, 2}, at::kDouble), at::randn({300, 2}, at::kDouble) + 20}),
                   one_mode = at::randn({600, 2}, at::kDouble),
                   odd = at::cat({again.slice(0, 0, 300), at::randn({300, 2}, at::kDouble) - 20});
  auto same = figures_of(again, real), missing = figures_of(one_mode, real), strange = figures_of(odd, real);
  EXPECT_GT(same["precision"], 0.9);
  EXPECT_GT(same["coverage"], 0.9);
  EXPECT_NEAR(same["density"], 1, 0.15);
  EXPECT_NEAR(same["two_sample"], 0.5, 0.06);
  EXPECT_GT(missing["precision"], 0.9);
  EXPECT_LT(missing["recall"], 0.55);
  EXPECT_LT(missing["coverage"], 0.55);
  EXPECT_LT(strange["precision"], 0.55);
  EXPECT_GT(strange["two_sample"], 0.7);
  // Copies lie where the data do, and are nearer to them than data to each other.
  auto copies = figures_of(real + 1e-9, real);
  EXPECT_EQ(copies["precision"], 1);
  EXPECT_EQ(copies["coverage"], 1);
  EXPECT_EQ(copies["two_sample"], 0);
}

TEST(Manifolds, SayWhatIsWrong) {
  const at::Tensor x = at::randn({5, 2}), holes = at::full({6, 2}, NAN);
  EXPECT_THROW(balls_around(x, x, 5), UserError);
  EXPECT_THROW(within_balls(x, at::randn({5, 3}), 3), UserError);
  EXPECT_THROW(balls_held(at::randn({6, 2}), holes, 5), UserError);
}

// A reference that is larger counts as if it were not: else recall and density would go by its size.
TEST(Manifolds, TakeAsManyOfBoth) {
  at::manual_seed(7);
  Records samples{.x = at::randn({40, 2})};
  const Extracted extracted{.features = samples.x};
  Reference reference;
  reference.records.x = at::randn({400, 2});
  reference.extracted.features = reference.records.x;
  const Compared compared{samples, extracted, reference, 3};
  const EqualParts parts = equal_parts(compared);
  EXPECT_TRUE(at::equal(parts.samples, samples.x));
  EXPECT_EQ(parts.reference.size(0), 40);
  const std::vector<std::string> names = {"precision", "recall", "density", "coverage", "two_sample"};
  const Quality q = measure(names, compared);
  for (const auto& [name, value] : figures_of(parts.samples, parts.reference))
    EXPECT_EQ(q.find(name)->values, std::vector{value}) << name;
  EXPECT_TRUE(at::equal(equal_parts({samples, extracted, reference, 3}).reference, parts.reference));
  EXPECT_FALSE(at::equal(equal_parts({samples, extracted, reference, 4}).reference, parts.reference));
}

}  // namespace
}  // namespace igebm::evaluation
