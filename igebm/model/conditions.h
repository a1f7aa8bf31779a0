#pragma once

#include <ATen/core/Tensor.h>

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
  std::int64_t classes = 0;  ///< 0: on none
  std::int64_t values = 0;   ///< how many numbers; 0: on none
  Conditions numbers = {};   ///< their names and some rows, where the model's file has them
  std::optional<NoiseScale> noise = {};
};

/// As kept in the metadata of a network's file. from_json throws UserError.
std::string to_json(const Conditions& conditions);
Conditions conditions_from_json(const std::string& text);

/// Of `count` samples that nobody asked anything of: the classes in turn, the rows of numbers in turn, or empty.
nn::Condition usual_condition(const ConditionSpec& spec, std::int64_t count);

/// One row of zeros, for figures that take any.
nn::Condition zero_condition(const ConditionSpec& spec);

/// Rows of numbers in turn with some of them set by "NAME=VALUE,NAME=VALUE": a column's name and a number, or where
/// columns are called GROUP.ONE, GROUP.OTHER, the group's name and which of them is 1 while the others are 0. Throws
/// UserError.
nn::Condition condition_with(const Conditions& conditions, const std::string& given, std::int64_t count);

}  // namespace igebm::model
