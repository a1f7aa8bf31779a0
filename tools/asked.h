#pragma once

#include <string>
#include <vector>

#include "igebm/model/conditions.h"

/// What a command asks of a model.
namespace igebm::tools {

/// Of --label and --condition, of which either may be empty; empty where both are. Says where numbers lie beyond the
/// data's. Throws UserError.
nn::Condition asked_condition(const model::ConditionSpec& spec, const std::string& label, const std::string& numbers,
                              std::int64_t count = 1);

/// Notes on standard error.
void tell_notes(const std::vector<std::string>& notes);

}  // namespace igebm::tools
