#pragma once

#include <string>
#include <vector>

#include "igebm/data/data.h"

namespace igebm::data {

/// What tells one set of data from another. Sums are CRC-32 in hexadecimal; an empty one is not known.
struct Fingerprint {
  std::int64_t records = 0;
  std::vector<std::int64_t> shape;
  std::string class_names, labels, conditions;
  std::string content;  ///< of some of the records, evenly spaced
};

Fingerprint fingerprint(const Dataset& set);

/// In words, how data are not what they were; empty if they are, as far as both are known.
std::string difference(const Fingerprint& before, const Fingerprint& now);

}  // namespace igebm::data
