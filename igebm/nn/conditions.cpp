#include "igebm/nn/conditions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <vector>

#include "igebm/base/error.h"

namespace igebm::nn {
namespace {

struct NoiseAngles {
  at::Tensor frequencies, angles;  ///< (count / 2), (N, count / 2), double
};

/// w_i and w_i log sigma.
NoiseAngles noise_angles(const at::Tensor& sigma, std::int64_t count) {
  if (count < 2 || count % 2 != 0)
    throw UserError(fmt::format("noise features: expected an even number of them, got {}", count));
  if (sigma.dim() != 1 || !sigma.gt(0).all().item<bool>())
    throw UserError("noise features: expected a list of noise levels above 0");
  constexpr double lowest = 0.25, highest = 16;
  const at::Tensor frequencies =
      at::linspace(std::log(lowest), std::log(highest), count / 2, at::kDouble).exp().to(sigma.device());
  return {frequencies, sigma.to(at::kDouble).log().unsqueeze(1) * frequencies.unsqueeze(0)};
}

/// number_features' w (F, count / 2), double.
at::Tensor number_frequencies(std::int64_t numbers, std::int64_t count) {
  if (count < 2 || count % 2 != 0)
    throw UserError(fmt::format("number features: expected an even number of them, got {}", count));
  const auto is_prime = [](std::int64_t p) {
    for (std::int64_t d = 2; d * d <= p; ++d)
      if (p % d == 0) return false;
    return true;
  };
  std::vector<double> roots;
  for (std::int64_t p = 2; static_cast<std::int64_t>(roots.size()) < numbers; ++p)
    if (is_prime(p)) roots.push_back(std::sqrt(static_cast<double>(p)));
  constexpr double highest = 16;
  const std::int64_t half = count / 2;
  const at::Tensor steps = at::arange(1, half + 1, at::kDouble).unsqueeze(0);
  const at::Tensor along = (at::tensor(roots, at::kDouble).unsqueeze(1) * steps).frac() - 0.5;
  const at::Tensor lengths = half > 1 ? at::linspace(0, std::log(highest), half, at::kDouble).exp() : at::ones({1});
  return along / along.norm(2, {0}, /*keepdim=*/true) * lengths;
}

/// One that is conditional on the same, but for a noise level.
Graph without_noise(const Conditioning& on) {
  Graph graph;
  graph.classes = on.classes;
  graph.conditions = on.conditions;
  return graph;
}

}  // namespace

Condition Condition::of_class(std::int64_t label) { return {.classes = at::full({1}, label, at::kLong)}; }

Condition Condition::of_none(std::int64_t count) {
  if (count == 0) return of_class(no_class);
  return {.values = untold(at::empty({1, count}))};
}

at::Tensor untold(const at::Tensor& labels) {
  if (labels.dim() == 1) return at::full_like(labels, no_class);
  return at::full_like(labels, std::numeric_limits<double>::quiet_NaN());
}

Condition Condition::of_labels(const at::Tensor& labels) {
  if (!labels.defined()) return {};
  return labels.dim() == 1 ? Condition{.classes = labels} : Condition{.values = labels};
}

bool Condition::told() const {
  if (classes.defined()) return classes.ne(no_class).all().item<bool>();
  return values.defined() && values.isnan().logical_not_().all().item<bool>();
}

std::int64_t Condition::rows() const {
  if (classes.defined()) return classes.dim() > 0 ? classes.size(0) : 0;
  return values.defined() && values.dim() > 0 ? values.size(0) : 0;
}

at::Tensor labels(const Graph& graph, const Condition& condition, std::int64_t count) {
  const Conditioning on = conditioning(graph);
  const Graph taken = without_noise(on);
  if (condition.classes.defined() && condition.values.defined())
    throw UserError("condition: expected classes or values, got both");
  if (!taken.conditional()) {
    if (!condition.empty()) throw UserError("condition: this model takes none");
    return {};
  }
  const char* expected = on.classes > 0 ? "classes" : "values";
  if (condition.empty() && graph.optional_condition) return labels(graph, Condition::of_none(on.conditions), count);
  const at::Tensor& given = on.classes > 0 ? condition.classes : condition.values;
  if (!given.defined())
    throw UserError(fmt::format("condition: this model takes {} of {}, which must be given", expected,
                                on.classes > 0 ? on.classes : on.conditions));
  const bool one_for_all = given.dim() > 0 && given.size(0) == 1 && count != 1;
  std::vector<std::int64_t> sizes = given.sizes().vec();
  if (one_for_all) sizes[0] = count;
  const at::Tensor rows = one_for_all ? given.expand(sizes).contiguous() : given;
  taken.check_labels(rows, count);
  if (on.classes == 0 && !graph.optional_condition && rows.isnan().any().item<bool>())
    throw UserError("condition: not a number; this model was not trained without being told");
  if (on.classes > 0 && rows.numel() > 0 &&
      (rows.min().item<std::int64_t>() < (graph.optional_condition ? no_class : 0) ||
       rows.max().item<std::int64_t>() >= on.classes))
    throw UserError(fmt::format("condition: expected classes from 0 to {}", on.classes - 1));
  return rows;
}

Conditioning conditioning(const Graph& graph) {
  const bool told = graph.optional_condition && graph.condition_classes == 0;
  return {.classes = graph.classes + graph.condition_classes,
          .conditions = graph.conditions - graph.condition_classes - (told ? 1 : 0) - graph.number_features -
                        graph.noise_features,
          .noise_features = graph.noise_features,
          .optional_condition = graph.optional_condition,
          .number_features = graph.number_features};
}

at::Tensor noise_features(const at::Tensor& sigma, std::int64_t count) {
  const at::Tensor angles = noise_angles(sigma, count).angles;
  return at::cat({angles.cos(), angles.sin()}, 1).to(at::kFloat);
}

at::Tensor number_features(const at::Tensor& numbers, std::int64_t count) {
  if (numbers.dim() != 2 || numbers.size(1) < 1) throw UserError("number features: expected rows of numbers");
  const at::Tensor angles =
      numbers.to(at::kDouble).matmul(number_frequencies(numbers.size(1), count).to(numbers.device()));
  return at::cat({angles.cos(), angles.sin()}, 1).to(at::kFloat);
}

at::Tensor condition_rows(const Graph& graph, const at::Tensor& labels, const at::Tensor& sigma) {
  if (graph.noise_features == 0) return labels;
  const at::Tensor features = noise_features(sigma, graph.noise_features);
  const Conditioning on = conditioning(graph);
  const Graph taken = without_noise(on);
  if (!taken.conditional()) return features;
  taken.check_labels(labels, sigma.size(0));
  at::Tensor rows = labels;
  if (on.classes > 0) {  // no_class is the first of one class more, which is then left out
    rows = at::one_hot(labels - no_class, on.classes + 1).narrow(1, 1, on.classes);
  } else {
    std::vector<at::Tensor> parts{labels};
    at::Tensor told;
    if (graph.optional_condition) {
      told = labels.isnan().logical_not_().all(1, /*keepdim=*/true).to(labels.scalar_type());
      parts = {at::where(told.to(at::kBool), labels, 0), told};
    }
    if (graph.number_features > 0) {
      const at::Tensor of_numbers = number_features(parts[0], graph.number_features);
      parts.push_back(told.defined() ? of_numbers * told : of_numbers);
    }
    rows = at::cat(parts, 1);
  }
  return at::cat({rows.to(at::kFloat), features}, 1);
}

at::Tensor condition_rows_slope(const Graph& graph, const at::Tensor& sigma) {
  const auto [w, angles] = noise_angles(sigma, graph.noise_features);
  const at::Tensor held = at::zeros({sigma.size(0), graph.conditions - graph.noise_features}, angles.options());
  return at::cat({held, -w * angles.sin(), w * angles.cos()}, 1).to(at::kFloat);
}

}  // namespace igebm::nn
