#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "igebm/model/noise.h"
#include "igebm/nn/conditions.h"

/// What a model can be asked for.
namespace igebm::model {

/// The numbers that a network is conditional on. Rows of some data's are kept with a model, so that sampling needs no
/// data.
struct Conditions {
  std::vector<std::string> names;  ///< of the F columns; empty: it is conditional on none
  at::Tensor rows;                 ///< (R, F) float: of some training data, R at least 1
};

/// What a model is conditional on: classes, or numbers; and beside them, or alone, a noise level.
struct ConditionSpec {
  std::int64_t classes = 0;                   ///< 0: on none
  std::vector<std::string> class_names = {};  ///< one each, where the model's file has them
  bool optional_condition = false;            ///< an empty condition means none in particular
  std::int64_t values = 0;                    ///< how many numbers; 0: on none
  Conditions numbers = {};                    ///< their names and some rows, where the model's file has them
  std::optional<NoiseScale> noise = {};

  /// class_names, or where there are none the classes' numbers.
  std::vector<std::string> names_of_classes() const;
};

/// What a network's graph takes and its file's metadata tell: "conditions", "class_names" (a JSON list), "noise".
/// Throws UserError.
ConditionSpec condition_spec(const nn::Graph& graph, const std::map<std::string, std::string>& metadata);
/// The same in metadata.
std::map<std::string, std::string> metadata_of(const ConditionSpec& spec);

/// As kept there. from_json throws UserError.
std::string to_json(const Conditions& conditions);
Conditions conditions_from_json(const std::string& text);

/// A class by its name, whatever the case, or its number; or "none", of a model that knows no class in particular.
/// Throws UserError.
nn::Condition condition_of_class(const ConditionSpec& spec, const std::string& name);

/// Of `count` samples that nobody asked anything of: the classes in turn, the rows of numbers in turn, or empty.
nn::Condition usual_condition(const ConditionSpec& spec, std::int64_t count);

/// One row of zeros, for figures that take any.
nn::Condition zero_condition(const ConditionSpec& spec);

/// Rows of numbers in turn with some of them set by "NAME=VALUE,NAME=VALUE": a column's name and a number, or where
/// columns are called GROUP.ONE, GROUP.OTHER, the group's name and which of them is 1 while the others are 0; or
/// "none", of a model that knows none in particular. Throws UserError.
nn::Condition condition_with(const ConditionSpec& spec, const std::string& given, std::int64_t count);

/// A line for each number that lies outside what the rows of the model's file span by more than a tenth of that: the
/// model was not trained there. Empty where there are no such rows.
std::vector<std::string> beyond_data(const ConditionSpec& spec, const nn::Condition& condition);

}  // namespace igebm::model
