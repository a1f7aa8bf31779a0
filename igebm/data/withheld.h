#pragma once

#include <string>
#include <vector>

#include "igebm/data/data.h"

namespace igebm::data {

/// Which records a list of groups names. A group is a conjunction, as "heart & size < 0.65 & position.x > 0.5": names
/// of classes (their numbers where they have none), and comparisons (< or >) of the set's numbers, which are its
/// conditions by column. A record is withheld if it is in any group.
class Withheld {
 public:
  /// Throws UserError that begins with "data.without": a group that can't be read, an unknown name (with the nearest).
  Withheld(const Dataset& set, const std::vector<std::string>& groups);

  bool operator()(std::int64_t record) const;

 private:
  struct Part {
    std::int64_t column = -1;  ///< of the conditions; below 0: a class
    std::int64_t label = 0;
    bool below = false;
    float bound = 0;
  };
  at::Tensor labels_, conditions_;  // as they lie in memory row by row; undefined where the set has none
  std::vector<std::vector<Part>> groups_;
};

}  // namespace igebm::data
