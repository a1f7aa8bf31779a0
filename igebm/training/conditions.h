#pragma once

#include <string>
#include <vector>

#include "igebm/data/data.h"
#include "igebm/nn/graph.h"

/// Labels of samples: classes, or numbers that the data have. Rows of the latter are kept with a model, so that
/// sampling needs no data.
namespace igebm::training {

struct Recipe;

/// The numbers that a network is conditional on.
struct Conditions {
  std::vector<std::string> names;  ///< of the F columns; empty: it is conditional on none
  at::Tensor rows;                 ///< (R, F) float: of some training data, R at least 1
};

/// Columns of the data that network.conditions picks, with rows of 256 of the data at random.
Conditions conditions_of(const data::Dataset& data, const std::vector<std::string>& picked, std::uint64_t seed);

/// Throws UserError where the recipe would change pictures, the data's or replayed ones, so that the numbers which the
/// network is conditional on are no longer true of them.
void check_augmentation(const Recipe& recipe, const data::Dataset& data);

/// As kept in the metadata of a network's file. from_json throws UserError.
std::string to_json(const Conditions& conditions);
Conditions conditions_from_json(const std::string& text);

/// Labels of `count` samples as the graph takes them, beside a noise level: the classes in turn, the rows of conditions
/// in turn, or undefined.
at::Tensor usual_labels(const nn::Graph& graph, const Conditions& conditions, std::int64_t count);

/// Labels of zero in the same form, for figures that take any.
at::Tensor zero_labels(const nn::Graph& graph, std::int64_t count);

/// Rows of conditions in turn with some numbers set by "NAME=VALUE,NAME=VALUE": a column's name and a number, or where
/// columns are called GROUP.ONE, GROUP.OTHER, the group's name and which of them is 1 while the others are 0. Throws
/// UserError.
at::Tensor labels_with(const Conditions& conditions, const std::string& given, std::int64_t count);

}  // namespace igebm::training
