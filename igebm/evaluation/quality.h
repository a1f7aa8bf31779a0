#pragma once

#include <optional>
#include <string>
#include <vector>

#include "igebm/evaluation/features.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {

struct QualityOptions {
  std::vector<std::string> metrics = {"frechet"};  ///< "frechet", "kid", "inception"
  std::uint64_t seed = 0;                          ///< of KID's subsets
  std::int64_t subsets = 100;                      ///< of KID
  std::int64_t subset_size = 1000;                 ///< of KID; fewer where there are fewer pictures
  std::int64_t splits = 10;                        ///< of the Inception score
};

/// What was asked for, of `count` samples.
struct Quality {
  std::int64_t count = 0;
  std::optional<double> frechet;
  std::optional<Estimate> kid, inception;
  std::int64_t subset_size = 0;       ///< that KID used
  std::vector<double> class_shares;   ///< of samples by most probable class, where the features classify
  std::vector<std::string> warnings;  ///< one line each
};

/// Throws UserError where `count` records, which are those of `whose`, do not suffice for a metric.
void check_count(const QualityOptions& options, std::int64_t count, const std::string& whose);

/// Throws UserError for an unknown metric, and where the features or the samples do not suffice for one.
Quality measure(const Extracted& samples, const Extracted& against, const QualityOptions& options);

}  // namespace igebm::evaluation
