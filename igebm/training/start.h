#pragma once

#include <string>

#include "igebm/training/learner.h"

/// Training that begins with another model's weights.
namespace igebm::training {

/// Gives a learner that has taken no step the weights of `model` (model::find_model), and the sigma_data they were
/// trained for where its recipe leaves it open. The networks must be the same but for the classes they know: a class of
/// the same name keeps what was learned about it, others start as the mean of those that the model knows. Without names
/// on one side, classes keep their numbers if there are as many. Throws UserError where something else differs.
void start_from(Learner& learner, const std::string& model);

}  // namespace igebm::training
