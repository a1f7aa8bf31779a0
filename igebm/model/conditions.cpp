#include "igebm/model/conditions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "igebm/base/error.h"
#include "igebm/data/collect.h"
#include "igebm/io/recipe.h"

namespace igebm::model {
namespace {

at::Tensor in_turn(const at::Tensor& rows, std::int64_t count) {
  return rows.index_select(0, at::arange(count, at::kLong).remainder(rows.size(0)));
}

}  // namespace

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

std::vector<std::string> ConditionSpec::names_of_classes() const {
  return class_names.empty() ? data::numbered(classes) : class_names;
}

ConditionSpec condition_spec(const nn::Graph& graph, const std::map<std::string, std::string>& metadata) {
  const nn::Conditioning on = nn::conditioning(graph);
  ConditionSpec spec{.classes = on.classes, .optional_condition = on.optional_condition, .values = on.conditions};
  const auto with = [&](const char* key, const auto& read) {
    if (const auto found = metadata.find(key); found != metadata.end()) read(found->second);
  };
  with("conditions", [&](const std::string& text) { spec.numbers = conditions_from_json(text); });
  with("noise", [&](const std::string& text) { spec.noise = noise_scale_from_json(text); });
  with("class_names", [&](const std::string& text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    const bool fits = json.is_array() && static_cast<std::int64_t>(json.size()) == spec.classes &&
                      std::ranges::all_of(json, [](const auto& name) { return name.is_string(); });
    if (!fits) throw UserError(fmt::format("a model's class_names: expected a list of {} names", spec.classes));
    spec.class_names = json.get<std::vector<std::string>>();
  });
  return spec;
}

std::map<std::string, std::string> metadata_of(const ConditionSpec& spec) {
  std::map<std::string, std::string> metadata;
  if (!spec.numbers.names.empty()) metadata["conditions"] = to_json(spec.numbers);
  if (!spec.class_names.empty()) metadata["class_names"] = nlohmann::json(spec.class_names).dump();
  if (spec.noise) metadata["noise"] = to_json(*spec.noise);
  return metadata;
}

nn::Condition condition_of_class(const ConditionSpec& spec, const std::string& name) {
  if (spec.classes == 0) throw UserError("this model has no classes");
  const auto lower = [](std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
  };
  std::vector<std::string> names;
  for (const std::string& each : spec.class_names) names.push_back(lower(each));
  const auto found = std::ranges::find(names, lower(name));
  if (found != names.end()) return nn::Condition::of_class(found - names.begin());
  if (spec.optional_condition && lower(name) == "none") return nn::Condition::of_class(nn::no_class);
  std::int64_t label = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), label);
  if (error == std::errc() && end == name.data() + name.size() && label >= 0 && label < spec.classes)
    return nn::Condition::of_class(label);
  std::string expected = fmt::format("0 to {}", spec.classes - 1);
  if (!names.empty() && names.size() <= 20)
    expected += fmt::format(", or one of {}", fmt::join(spec.class_names, ", "));
  if (spec.optional_condition) expected += ", or none";
  throw UserError(fmt::format("\"{}\": expected {}{}", name, expected, io::did_you_mean(lower(name), names)));
}

nn::Condition usual_condition(const ConditionSpec& spec, std::int64_t count) {
  if (spec.classes > 0) return {.classes = at::arange(count, at::kLong).remainder(spec.classes)};
  if (spec.values == 0) return {};
  if (static_cast<std::int64_t>(spec.numbers.names.size()) != spec.values)
    throw UserError(fmt::format("this model is conditional on {} numbers and its file names {}; they must be given",
                                spec.values, spec.numbers.names.size()));
  return {.values = in_turn(spec.numbers.rows, count)};
}

nn::Condition zero_condition(const ConditionSpec& spec) {
  if (spec.classes > 0) return nn::Condition::of_class(0);
  return spec.values > 0 ? nn::Condition{.values = at::zeros({1, spec.values})} : nn::Condition();
}

nn::Condition condition_with(const ConditionSpec& spec, const std::string& given, std::int64_t count) {
  if (spec.optional_condition && given == "none") return nn::Condition::of_none(spec.values);
  const Conditions& conditions = spec.numbers;
  at::Tensor labels = in_turn(conditions.rows, count);
  std::istringstream parts(given + ',');  // what ends in a comma has an empty part behind it
  std::set<std::size_t> told_before;      // columns
  for (std::string part; std::getline(parts, part, ',');) {
    const auto equals = part.find('=');
    const std::string name = part.substr(0, equals), text = equals == std::string::npos ? "" : part.substr(equals + 1);
    const std::optional<double> number = io::number_of(text);
    bool known = false, told = false;
    for (std::size_t i = 0; i < conditions.names.size(); ++i) {
      const std::string& column = conditions.names[i];
      const bool in_group = !number && column.starts_with(name + ".");
      if (column == name && number) labels.select(1, static_cast<std::int64_t>(i)).fill_(*number);
      if (((column == name && number) || in_group) && !told_before.insert(i).second)
        throw UserError(fmt::format("--condition {}: {} is told twice", given, column));
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
  return {.values = labels};
}

std::vector<std::string> beyond_data(const ConditionSpec& spec, const nn::Condition& condition) {
  std::vector<std::string> notes;
  const at::Tensor& rows = spec.numbers.rows;
  if (!condition.values.defined() || !rows.defined() || rows.size(0) == 0) return notes;
  for (std::int64_t i = 0; i < rows.size(1); ++i) {
    const at::Tensor had = rows.select(1, i).to(at::kDouble), given = condition.values.select(1, i).to(at::kDouble);
    const double least = had.min().item<double>(), greatest = had.max().item<double>();
    const at::Tensor beyond = at::maximum(least - given, given - greatest);  // not a number: not told
    if (beyond.gt((greatest - least) / 10 + 1e-6).any().item<bool>())
      notes.push_back(fmt::format("{} {:g}: the data has {:.3g} to {:.3g}, beyond which the model was not trained",
                                  spec.numbers.names[static_cast<std::size_t>(i)],
                                  given[beyond.nan_to_num(-1e30).argmax().item<std::int64_t>()].item<double>(), least,
                                  greatest));
  }
  return notes;
}

}  // namespace igebm::model
