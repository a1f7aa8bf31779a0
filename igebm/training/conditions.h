#pragma once

#include <string>
#include <vector>

#include "igebm/data/data.h"
#include "igebm/model/conditions.h"

/// The data's numbers that a network is conditional on.
namespace igebm::training {

struct Recipe;

/// Columns of the data that network.conditions picks, with rows of 256 of the data at random.
model::Conditions conditions_of(const data::Dataset& data, const std::vector<std::string>& picked, std::uint64_t seed);

/// Throws UserError where the recipe would change pictures, the data's or replayed ones, so that the numbers which the
/// network is conditional on are no longer true of them.
void check_augmentation(const Recipe& recipe, const data::Dataset& data);

}  // namespace igebm::training
