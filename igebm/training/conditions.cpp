#include "igebm/training/conditions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/recipe.h"

namespace igebm::training {
namespace {

constexpr std::int64_t most_rows = 256;

at::Tensor in_turn(const at::Tensor& rows, std::int64_t count) {
  return rows.index_select(0, at::arange(count, at::kLong).remainder(rows.size(0)));
}

bool is_number(const std::string& text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

}  // namespace

Conditions conditions_of(const data::Dataset& data, const std::vector<std::string>& picked, std::uint64_t seed) {
  Conditions c;
  const auto columns = data.condition_columns(picked);
  if (columns.empty()) return c;
  for (const auto column : columns) c.names.push_back(data.condition_names[static_cast<std::size_t>(column)]);
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < std::min(most_rows, data.size()); ++i)
    chosen.push_back(random_index({seed, Purpose::labels, static_cast<std::uint64_t>(i), 0}, data.size()));
  c.rows = data.conditions.index_select(0, at::tensor(chosen, at::kLong))
               .index_select(1, at::tensor(columns, at::kLong))
               .to(at::kFloat);
  return c;
}

void check_augmentation(const Recipe& recipe, const data::Dataset& data) {
  const auto check = [&](const std::string& option, const data::Changes& changes) {
    const std::string condition = data.made_untrue(recipe.network.conditions, changes);
    if (!condition.empty())
      throw UserError(
          fmt::format("{}: pictures so changed no longer have the {} that network.conditions says; turn it "
                      "off, or leave that condition out",
                      option, condition));
  };
  check("data.flip", {.mirror = recipe.data.flip});
  check("data.crop", {.shift = recipe.data.crop > 0});
  for (const PhaseOptions& phase : recipe.phases) {
    const ReplayAugmentation& a = phase.contrastive_divergence.replay.augment;
    if (!phase.has_contrastive_divergence || a.share <= 0) continue;
    const std::string section = fmt::format("phase.{}.contrastive_divergence.augment.", phase.name);
    check(section + "flip", {.mirror = a.flip});
    check(section + "area", {.shift = a.area < 1, .zoom = a.area < 1});
  }
}

std::string to_json(const Conditions& c) {
  nlohmann::json rows = nlohmann::json::array();
  const at::Tensor all = c.rows.contiguous();
  const auto* value = all.const_data_ptr<float>();
  for (std::int64_t i = 0; i < all.size(0); ++i, value += all.size(1))
    rows.push_back(std::vector<float>(value, value + all.size(1)));
  return nlohmann::json{{"names", c.names}, {"rows", rows}}.dump();
}

Conditions conditions_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    Conditions c;
    c.names = json.at("names").get<std::vector<std::string>>();
    const auto rows = json.at("rows").get<std::vector<std::vector<float>>>();
    const auto width = static_cast<std::int64_t>(c.names.size());
    c.rows = at::empty({static_cast<std::int64_t>(rows.size()), width});
    if (rows.empty()) throw UserError("a model's conditions: no rows");
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (static_cast<std::int64_t>(rows[i].size()) != width)
        throw UserError("a model's conditions: rows of other lengths than its names");
      c.rows[static_cast<std::int64_t>(i)].copy_(at::tensor(rows[i]));
    }
    return c;
  } catch (const nlohmann::json::exception& e) {
    throw UserError(fmt::format("a model's conditions: {}", e.what()));
  }
}

at::Tensor usual_labels(const nn::Graph& graph, const Conditions& conditions, std::int64_t count) {
  const nn::Conditioning on = nn::conditioning(graph);
  if (on.classes > 0) return at::arange(count, at::kLong).remainder(on.classes);
  if (on.conditions == 0) return {};
  if (static_cast<std::int64_t>(conditions.names.size()) != on.conditions)
    throw UserError(fmt::format("this model is conditional on {} numbers and its file names {}; labels must be given",
                                on.conditions, conditions.names.size()));
  return in_turn(conditions.rows, count);
}

at::Tensor zero_labels(const nn::Graph& graph, std::int64_t count) {
  const nn::Conditioning on = nn::conditioning(graph);
  if (on.classes > 0) return at::zeros({count}, at::kLong);
  return on.conditions > 0 ? at::zeros({count, on.conditions}) : at::Tensor();
}

at::Tensor labels_with(const Conditions& conditions, const std::string& given, std::int64_t count) {
  at::Tensor labels = in_turn(conditions.rows, count);
  std::istringstream parts(given);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto equals = part.find('=');
    const std::string name = part.substr(0, equals), text = equals == std::string::npos ? "" : part.substr(equals + 1);
    double value = 0;
    const bool number = is_number(text, value);
    bool known = false, told = false;
    for (std::size_t i = 0; i < conditions.names.size(); ++i) {
      const std::string& column = conditions.names[i];
      const bool in_group = !number && column.starts_with(name + ".");
      if (column == name && number) labels.select(1, static_cast<std::int64_t>(i)).fill_(value);
      if (in_group) labels.select(1, static_cast<std::int64_t>(i)).fill_(column == name + "." + text ? 1 : 0);
      known = known || column == name || column.starts_with(name + ".");
      told = told || (column == name && number) || (in_group && column == name + "." + text);
    }
    if (!known || !told) {
      throw UserError(
          fmt::format("--condition {}: expected NAME=VALUE with one of {}, a number for a name, or a part after the "
                      "point for a name "
                      "before it",
                      part, fmt::join(conditions.names, ", ")));
    }
  }
  return labels;
}

}  // namespace igebm::training
