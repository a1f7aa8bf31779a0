#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "igebm/evaluation/features.h"
#include "igebm/evaluation/records.h"

/// Sample metrics: numbers for the quality of samples. A new one is a file in metrics/ and a name in the table in
/// metrics.cpp.
namespace igebm::evaluation {

/// The data that samples are compared with.
struct Reference {
  Records records;  ///< conditions: (M, F), those of the data that samples are conditional on
  Extracted extracted;
  std::int64_t classes = 0;  ///< of the data
};

/// What a metric is computed from.
struct Compared {
  const Records& samples;      ///< or real records in their place
  const Extracted& extracted;  ///< of them
  const Reference& reference;
  std::uint64_t seed = 0;  ///< of random subsets
};

struct Figure {
  std::vector<double> values;                                      ///< one, or one for each class or condition
  std::optional<double> deviation;                                 ///< of the one
  std::vector<std::pair<std::string, std::int64_t>> details = {};  ///< what else it depends on: ("subset_size", 1000)
  std::vector<std::string> warnings = {};                          ///< one line each
  double mean() const;                                             ///< of the values: what figures are ranked by
};

struct Metric {
  enum class Of { samples, classes, conditions };  ///< one value; or one for each class or condition
  enum class Unit { number, fraction };
  struct Needs {
    std::int64_t records = 1;    ///< samples, at least,
    const char* because = "";    ///< that many
    bool told_classes = false;   ///< features that tell classes
    bool labels = false;         ///< samples of known classes, and features that tell the data's
    bool asked_numbers = false;  ///< samples that were asked for numbers
  };

  const char* name;                           ///< in recipes, options and JSON
  const char* title;                          ///< in words
  std::optional<bool> higher_is_better = {};  ///< empty: it describes, and ranks nothing
  Needs needs = {};
  bool always = false;  ///< told where it can be, asked for or not
  Of of = Of::samples;
  Unit unit = Unit::number;
  Figure (*compute)(const Compared& compared);  ///< of what has all that it needs
};

/// All of them, in the order in which they are told.
const std::deque<Metric>& metrics();
/// Makes a metric known by its name, after the library's. To be called before recipes are read, from one thread. Throws
/// UserError where one of that name is known.
void register_metric(const Metric& metric);
/// Throws UserError with the known ones.
const Metric& find_metric(std::string_view name);
std::vector<std::string> metric_names();
/// Of those by which one model is better than another.
std::vector<std::string> ranking_metric_names();

/// What there is to compute metrics from.
struct Given {
  std::int64_t told_classes = 0;  ///< that the features tell apart; 0: none
  std::int64_t classes = 0;       ///< of the data
  bool labels = false;            ///< of samples
  bool asked_numbers = false;
};
Given given_by(const Compared& compared);
/// What the metric needs and does not have, in words; empty: nothing.
std::string lacks(const Metric& metric, const Given& given);

/// Throws UserError where `count` records, which are those of `whose`, do not suffice.
void check_count(const Metric& metric, std::int64_t count, const std::string& whose);
/// Throws UserError where the metric lacks something.
void check_needs(const Metric& metric, const Given& given);
/// Checks both, and computes.
Figure compute(const Metric& metric, const Compared& compared);

}  // namespace igebm::evaluation
