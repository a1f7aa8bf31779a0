#include "igebm/generation/terms.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/generation/plane.h"
#include "igebm/io/recipe.h"
#include "igebm/model/shipped.h"

namespace igebm::generation {
namespace {

std::vector<double> numbers_of(const std::vector<std::string>& arguments) {
  std::vector<double> numbers;
  for (const std::string& a : arguments) {
    const auto value = io::number_of(a);
    if (!value) throw UserError(fmt::format("expected a number, got \"{}\"", a));
    numbers.push_back(*value);
  }
  return numbers;
}

nn::Condition one_row(const std::vector<double>& numbers) {
  return {.values = at::tensor(numbers, at::kDouble).to(at::kFloat).unsqueeze(0)};
}

/// "size", of "size" and of "shape.square": what the columns are of.
std::string group_of(const std::string& column) { return column.substr(0, column.find('.')); }

nn::Condition numbers_condition(const model::ConditionSpec& spec, const std::vector<std::string>& arguments) {
  const std::vector<std::string>& names = spec.numbers.names;
  const bool turned =
      names.size() == 2 && names[0] == group_of(names[0]) + ".cos" && names[1] == group_of(names[1]) + ".sin";
  const bool placed = names.size() == 2 && names[0].ends_with(".x") && names[1].ends_with(".y");
  const bool grouped = !turned && !placed && !names.empty() && names[0] != group_of(names[0]) &&
                       std::ranges::all_of(names, [&](const auto& n) { return group_of(n) == group_of(names[0]); });
  if (turned && arguments.size() == 1) {
    const double angle = numbers_of(arguments)[0] / 180 * std::numbers::pi;
    return one_row({std::cos(angle), std::sin(angle)});
  }
  if (grouped && arguments.size() == 1 && !io::number_of(arguments[0])) {
    std::vector<double> row;
    std::vector<std::string> parts;
    for (const std::string& n : names) {
      parts.push_back(n.substr(n.find('.') + 1));
      row.push_back(parts.back() == arguments[0] ? 1 : 0);
    }
    if (std::ranges::find(parts, arguments[0]) == parts.end())
      throw UserError(fmt::format("\"{}\": expected one of {}{}", arguments[0], fmt::join(parts, ", "),
                                  io::did_you_mean(arguments[0], parts)));
    return one_row(row);
  }
  if (static_cast<std::int64_t>(arguments.size()) != spec.values)
    throw UserError(fmt::format("expected {} number{}, {}{}, got {}", spec.values, spec.values == 1 ? "" : "s",
                                fmt::join(names, ", "), turned ? " (or one, an angle in degrees)" : "",
                                arguments.size()));
  return one_row(numbers_of(arguments));
}

}  // namespace

nn::Condition condition_of(const model::ConditionSpec& spec, const std::vector<std::string>& arguments) {
  const bool says_none = arguments.size() == 1 && arguments[0] == "none" && spec.classes == 0;
  if (spec.optional_condition && (arguments.empty() || says_none)) return nn::Condition::of_none(spec.values);
  if (spec.classes > 0) {
    if (arguments.size() == 1) return model::condition_of_class(spec, arguments[0]);
    throw UserError(fmt::format("expected one class, as in (0), got {} arguments", arguments.size()));
  }
  if (spec.values > 0) return numbers_condition(spec, arguments);
  if (!arguments.empty()) throw UserError("this model is conditional on nothing; expected no arguments");
  return {};
}

namespace {

/// What is wrong with a term's arguments, not with its name.
struct BadArguments : UserError {
  using UserError::UserError;
};

template <class Work>
auto of_arguments(const Work& work) {
  try {
    return work();
  } catch (const UserError& e) {
    throw BadArguments(e.what());
  }
}

}  // namespace

Vocabulary::Vocabulary(model::OpenOptions options) : options_(std::move(options)) {}

void Vocabulary::define(const std::string& name, const std::string& what) {
  if (!is_name(name))
    throw UserError(
        fmt::format("\"{}\": expected a name of letters, digits, _, - and ., that begins with a letter", name));
  if (!defined_.emplace(name, what).second) throw UserError(fmt::format("{} is defined twice", name));
}

std::shared_ptr<const model::Model> Vocabulary::open(const std::string& what) {
  auto& model = opened_[what];
  if (!model) model = std::make_shared<model::Model>(model::Model::open(what, options_));
  if (options_.device.empty()) options_.device = model->device().str();  // all on the first one's
  return model;
}

Term Vocabulary::find(const Expression& e) {
  const auto defined = defined_.find(e.name);
  if (defined != defined_.end()) used_.insert(e.name);
  if (defined != defined_.end() && std::filesystem::path(defined->second).extension() == ".pt") {
    if (!e.arguments.empty()) throw UserError("a constraint takes no arguments");
    if (!std::filesystem::is_regular_file(defined->second))
      throw UserError(fmt::format("{}: no such file", defined->second));
    return {.text = e.text(), .script = defined->second};
  }
  const auto& densities = plane_densities();
  const auto density = std::ranges::find(densities, e.name, &PlaneDensity::name);
  if (defined == defined_.end() && density != densities.end()) {
    if (e.arguments.size() != density->count)
      throw UserError(
          fmt::format("expected {} numbers, {}, got {}", density->count, density->arguments, e.arguments.size()));
    const std::vector<double> numbers = of_arguments([&] {
      const std::vector<double> found = numbers_of(e.arguments);
      if (std::ranges::any_of(found, [](double n) { return std::fabs(n) > 1e6; }))
        throw UserError("expected numbers within a million");
      density->make(found, 1);  // what is out of range is said here
      return found;
    });
    const double extent = density->extent(numbers), detail = density->detail(numbers);
    return {.text = e.text(),
            .space = {.kind = model::SampleSpace::Kind::points, .shape = {2}},
            .noise =
                model::NoiseScale{
                    .sigma_min = std::min(0.01, detail / 5), .sigma_max = std::max(10.0, 4 * extent), .sigma_data = 1},
            .normalised = true,
            .energy = [numbers, make = density->make](double sigma) { return make(numbers, sigma); }};
  }
  std::vector<std::string> known;
  for (const auto& [name, _] : defined_) known.push_back(name);
  if (defined == defined_.end()) {
    for (const auto& m : model::shipped_models()) known.push_back(m.name);
    for (const auto& d : densities) known.push_back(d.name);
    if (std::ranges::find(known, e.name) == known.end())
      throw UserError(fmt::format("\"{}\": expected one of {}, or a run that --model NAME=RUN names{}", e.name,
                                  fmt::join(known, ", "), io::did_you_mean(e.name, known)));
  }
  const auto model = open(defined == defined_.end() ? e.name : defined->second);
  const model::ConditionSpec& spec = model->condition_spec();
  const nn::Condition condition = of_arguments([&] { return condition_of(spec, e.arguments); });
  for (const std::string& note : model::beyond_data(spec, condition))
    notes_.push_back(fmt::format("column {}: {}: {}", e.column, e.text(), note));
  Term term{.text = e.text(), .space = model->space(), .noise = spec.noise, .model = model, .condition = condition};
  if (spec.noise) {
    term.energy = [model, condition](double sigma) { return model->energy(condition, sigma); };
  } else {
    const energy::EnergyPtr energy = model->energy(condition);
    term.energy = [energy](double) { return energy; };
  }
  return term;
}

std::string Vocabulary::unused() const {
  for (const auto& [name, _] : defined_) {
    if (!used_.contains(name)) return name;
  }
  return {};
}

Term Vocabulary::term(const Expression& e) {
  try {
    return find(e);
  } catch (const BadArguments& error) {
    throw UserError(fmt::format("column {}: {}: {}", e.arguments_column, e.text(), error.what()));
  } catch (const UserError& error) {
    throw UserError(fmt::format("column {}: {}: {}", e.column, e.text(), error.what()));
  }
}

}  // namespace igebm::generation
