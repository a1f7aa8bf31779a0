#pragma once

#include <cstdint>
#include <string>

#include "igebm/sampling/sampler.h"

/// How many gradients of E a sample costs, and what to do with a given number of them.
namespace igebm::sampling {

/// Gradients that a chain takes from start to end, `annealed` if the energy takes a noise level; two a step with
/// guidance.
std::int64_t gradient_count(const SamplerOptions& options, bool annealed);

/// What is wrong with the table of budgets, or nothing.
std::string table_problem(const AnnealingOptions& options);
/// What is wrong with the budget, or nothing. REQUIRES: nothing is with the table.
std::string budget_problem(const SamplerOptions& options, bool annealed);

/// Options that take at most options.budget gradients, and as nearly as many as whole levels or steps allow; the same
/// where it is 0. Annealed, AnnealingOptions::budget_steps says how many steps a level they are spent on, and there are
/// as many levels as are left to pay; else, as many steps of the kernel as the flow leaves. Throws UserError where
/// one of the problems above is there.
SamplerOptions within_budget(const SamplerOptions& options, bool annealed);

}  // namespace igebm::sampling
