#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "igebm/model/files.h"
#include "igebm/scoring/scorer.h"

/// Fitting takes some thousand inputs; what it found is kept in a file, beside other caches of the user's.
namespace igebm::scoring {

/// A file in $XDG_CACHE_HOME/igebm (~/.cache/igebm), whose name is a sum of the network's weights and of all that the
/// fit depends on: the data's options and seed, the condition, levels and the number of inputs. Empty where there is
/// no such folder, as neither variable is set.
std::filesystem::path usual_file(const std::filesystem::path& what, model::Weights weights, bool best,
                                 const model::Settings& settings, const ScorerOptions& options, std::int64_t count);

/// Nothing where the file is missing, or holds anything else.
std::optional<Usual> read_usual(const std::filesystem::path& file);
/// Makes folders. Throws UserError where nothing can be written there.
void write_usual(const std::filesystem::path& file, const Usual& usual);

}  // namespace igebm::scoring
