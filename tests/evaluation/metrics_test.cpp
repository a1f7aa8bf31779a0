#include "igebm/evaluation/metrics.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/quality.h"
#include "igebm/io/files.h"
#include "tests/refusals.h"

namespace igebm::evaluation {
namespace {

namespace fs = std::filesystem;

TEST(MetricTable, HasEveryFileOfItsFolder) {
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(IGEBM_SOURCE_DIR "/igebm/evaluation/metrics"))
    files.insert(entry.path().stem());
  const std::vector<std::string> names = metric_names();
  EXPECT_EQ(files, std::set<std::string>(names.begin(), names.end()));
  EXPECT_EQ(files.size(), names.size());
}

/// Rows | `name` | formula | better |.
TEST(MetricTable, IsThatOfTheDocs) {
  std::istringstream page(io::read_file(IGEBM_SOURCE_DIR "/docs/evaluation.md"));
  std::vector<std::pair<std::string, std::string>> told, known;
  bool within = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("## ")) within = line == "## Metrics";
    if (!within || !line.starts_with("| `") || line.starts_with("| `--metric`")) continue;
    const auto better = line.rfind("| ", line.size() - 2) + 2;
    told.emplace_back(line.substr(3, line.find('`', 3) - 3), line.substr(better, line.size() - better - 2));
  }
  for (const Metric& metric : metrics())
    known.emplace_back(metric.name, !metric.higher_is_better   ? "neither"
                                    : *metric.higher_is_better ? "higher"
                                                               : "lower");
  EXPECT_EQ(told, known);
}

class MetricValues : public testing::Test {
 protected:
  MetricValues() {
    at::manual_seed(0);
    samples.x = at::rand({30, 1, 2, 2});
    extracted = {at::randn({30, 4}), at::eye(3).repeat({10, 1})};
    extracted.probabilities[0] = at::tensor({0.1F, 0.2F, 0.7F});
    reference.records.x = at::randint(256, {20, 1, 2, 2}).to(at::kByte);
    reference.records.conditions = at::rand({20, 2});
    reference.extracted = {at::randn({20, 4}), at::eye(3).repeat({7, 1}).slice(0, 0, 20)};
    reference.classes = 3;
  }
  Quality measured(const std::vector<std::string>& names) const {
    return measure(names, {samples, extracted, reference, 7});
  }
  static std::vector<std::string> names_of(const Quality& q) {
    std::vector<std::string> names;
    for (const Measurement& m : q.measurements) names.emplace_back(m.metric->name);
    return names;
  }

  Records samples;
  Extracted extracted;
  Reference reference;
};

TEST_F(MetricValues, AreTheFormulas) {
  const Quality q = measured({"inception", "kid", "frechet"});
  EXPECT_EQ(names_of(q), (std::vector<std::string>{"frechet", "kid", "inception", "class_shares"}));
  EXPECT_EQ(q.count, 30);
  EXPECT_TRUE(q.warnings().empty());
  const at::Tensor &a = extracted.features, &b = reference.extracted.features;
  EXPECT_EQ(q.find("frechet")->values, std::vector{frechet_distance(moments(a), moments(b))});
  const Estimate kid = kernel_distance(a, b, {.subset_size = 20, .seed = 7});
  EXPECT_EQ(q.find("kid")->values, std::vector{kid.mean});
  EXPECT_EQ(q.find("kid")->deviation, kid.deviation);
  EXPECT_EQ(q.find("kid")->details, (std::vector<std::pair<std::string, std::int64_t>>{{"subset_size", 20}}));
  EXPECT_EQ(q.find("inception")->values, std::vector{inception_score(extracted.probabilities).mean});
  EXPECT_EQ(q.find("class_shares")->values, (std::vector{9.0 / 30, 10.0 / 30, 11.0 / 30}));
  EXPECT_EQ(q.find("labels_right"), nullptr);
}

TEST_F(MetricValues, DiversityIsWithinClasses) {
  const auto diversity = [&] { return measured({"diversity"}).find("diversity")->mean(); };
  EXPECT_NEAR(diversity(), mean_distance(samples.x) / mean_distance(reference.records.x), 1e-9);
  samples.labels = at::arange(30).remainder(3);
  reference.records.labels = at::arange(20).remainder(3);
  double expected = 0;
  for (int c = 0; c < 3; ++c)
    expected += mean_distance(samples.x.slice(0, c, 30, 3)) / mean_distance(reference.records.x.slice(0, c, 20, 3)) / 3;
  EXPECT_NEAR(diversity(), expected, 1e-9);
  samples.x = samples.x.slice(0, 0, 3).repeat({10, 1, 1, 1});  // one picture of each class
  EXPECT_NEAR(diversity(), 0, 1e-9);
  // Of many records, every third here.
  samples.labels = at::Tensor();
  const at::Tensor many = at::rand({3000, 1, 2, 2});
  reference.records.x = many, samples.x = many.slice(0, 0, 3000, 3);
  EXPECT_NEAR(diversity(), 1, 1e-9);
  reference.records.x = many.slice(0, 0, 20), samples.x = many.slice(0, 0, 30);
  samples.labels = at::arange(30).add(3);
  EXPECT_SAYS(diversity(), "diversity: expected at least 2 samples");
}

TEST_F(MetricValues, OfWhatSamplesWereAskedForAreToldWhereItIsKnown) {
  samples.labels = at::arange(30).remainder(3);  // but the first they look like these
  samples.conditions = reference.records.conditions.index_select(0, nearest_rows(samples.x, reference.records.x));
  samples.conditions.select(1, 1).add_(0.25);
  Quality q = measured({"frechet"});
  EXPECT_EQ(names_of(q), (std::vector<std::string>{"frechet", "class_shares", "labels_right", "condition_errors"}));
  EXPECT_DOUBLE_EQ(q.find("labels_right")->mean(), 29.0 / 30);
  const Figure* errors = q.find("condition_errors");
  ASSERT_EQ(errors->values.size(), 2U);
  EXPECT_EQ(errors->values[0], 0);
  EXPECT_NEAR(errors->values[1], 0.25, 1e-6);
  EXPECT_NEAR(errors->mean(), 0.125, 1e-6);
  reference.classes = 4;
  q = measured({});
  EXPECT_EQ(names_of(q), (std::vector<std::string>{"class_shares", "condition_errors"}));
}

TEST_F(MetricValues, WhatDoesNotSufficeIsSaid) {
  EXPECT_SAYS(measured({"fid"}), "metric \"fid\": expected one of frechet, kid, inception");
  EXPECT_SAYS(measured({"labels_right"}), "metric labels_right: these samples have no labels");
  EXPECT_SAYS(measured({"condition_errors"}), "metric condition_errors: these samples were not asked for conditions");
  reference.classes = 4;
  EXPECT_SAYS(measured({"labels_right"}), "metric labels_right: these features tell 3 classes, and the data have 4");
  extracted.features = extracted.features.slice(0, 0, 9);
  EXPECT_SAYS(measured({"inception"}),
              "samples: Inception score: expected at least 10 records, one for each part, got 9");
  extracted.probabilities = at::Tensor();
  EXPECT_SAYS(measured({"class_shares"}), "metric class_shares: these features tell no classes");
  EXPECT_TRUE(measured({}).measurements.empty());
  extracted.features = extracted.features.slice(0, 0, 4);
  const auto warnings = measured({"frechet"}).warnings();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("full rank"), std::string::npos);
}

}  // namespace
}  // namespace igebm::evaluation
