#include "igebm/evaluation/curve.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/io/picture.h"
#include "igebm/sampling/budget.h"

namespace igebm::evaluation {

std::vector<CurvePoint> curve(const model::Model& model, const CurveOptions& options, Observer& observer) {
  const bool annealed = model.condition_spec().noise.has_value();
  if (options.budgets.empty()) throw UserError("budgets: expected at least one");
  std::vector<sampling::SamplerOptions> samplers;
  for (const std::int64_t budget : options.budgets) {
    if (budget < 1) throw UserError(fmt::format("budgets: expected numbers from 1 up, got {}", budget));
    samplers.push_back(model.settings().sampling);
    samplers.back().budget = budget;
    samplers.back() = sampling::within_budget(samplers.back(), annealed);
  }
  const std::int64_t classes = model.condition_spec().classes;
  if (options.count < 2 * classes)
    throw UserError(fmt::format("{} samples, where two of each of {} classes are expected for their diversity",
                                options.count, classes));
  Comparison comparison(model, options.count,
                        {.metrics = {"frechet", "diversity"}, .features = options.features, .seed = options.seed});
  model::SampleRequest request{.count = options.count, .seed = comparison.seed()};
  // Once for nothing: the engine measures what is fastest.
  const auto least = std::ranges::min_element(options.budgets) - options.budgets.begin();
  request.sampler = samplers[static_cast<std::size_t>(least)];
  std::vector<CurvePoint> points;
  if (draw(model, request, observer).size() < options.count) return points;
  for (std::size_t i = 0; i < samplers.size(); ++i) {
    request.sampler = samplers[i];
    const double begun = now();
    try {
      CurvePoint point{.budget = options.budgets[i],
                       .gradients = sampling::gradient_count(samplers[i], annealed),
                       .samples = draw(model, request, observer)};
      if (point.samples.size() < options.count) break;
      point.seconds = (now() - begun) / static_cast<double>(options.count);
      point.evaluation = comparison.of(point.samples, observer);
      points.push_back(std::move(point));
    } catch (const sampling::Stop&) {
      break;
    }
  }
  return points;
}

at::Tensor picture_of(const std::vector<CurvePoint>& points, std::int64_t count) {
  std::vector<at::Tensor> rows;
  for (const CurvePoint& point : points) rows.push_back(point.samples.x.slice(0, 0, count));
  return io::grid(at::cat(rows), rows.at(0).size(0));
}

}  // namespace igebm::evaluation
