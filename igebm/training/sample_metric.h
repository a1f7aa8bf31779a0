#pragma once

#include <functional>

#include "igebm/evaluation/records.h"
#include "igebm/training/recipe.h"

namespace igebm::training {

/// A metric's value of samples, pictures (N, C, H, W) in [0, 1] or points (N, D), with what they were asked for.
using SampleMetric = std::function<double(const evaluation::Records& samples)>;
using MakeSampleMetric = std::function<SampleMetric(const Recipe& recipe)>;

/// What [evaluate] asks for, against up to 10,000 training pictures (test pictures are kept for the report). Throws
/// UserError where features or samples do not suffice for it.
SampleMetric sample_metric(const Recipe& recipe);

}  // namespace igebm::training
