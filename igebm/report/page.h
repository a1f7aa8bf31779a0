#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "igebm/report/run_facts.h"

namespace igebm::report {

struct PageOptions {
  /// What made the page: program, machine, time; in words.
  std::vector<std::pair<std::string, std::string>> made_by = {};
  std::string repeat = {};          ///< the command that makes the page again
  std::int64_t reload_seconds = 0;  ///< above 0: a browser that shows the page asks for it again so often
};

/// One HTML file with all that it shows within it: opens from a disk, asks no other for anything. Several runs stand
/// side by side, their curves in one plot. Curves need dygraphs when igebm is built; without it there are their last
/// and best values.
std::string page(const std::vector<RunFacts>& runs, const PageOptions& options = {});

}  // namespace igebm::report
