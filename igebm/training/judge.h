#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "igebm/training/recipe.h"

namespace igebm::training {

/// A figure of quality of samples, pictures (N, C, H, W) in [0, 1] or points (N, D).
using Judge = std::function<double(const at::Tensor& samples)>;
/// The judge that a recipe's section [evaluate] asks for: evaluation::judge, which this room does not know.
using MakeJudge = std::function<Judge(const Recipe& recipe)>;

/// Empty where the recipe evaluates nothing. Throws UserError where it does and `make` is empty.
Judge judge_of(const Recipe& recipe, const MakeJudge& make);

}  // namespace igebm::training
