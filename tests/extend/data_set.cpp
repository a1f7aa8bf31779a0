#include <ATen/ATen.h>
#include <igebm/data/data.h>

#include "parts.h"

namespace {

/// Points evenly on the line y = 1, from x = -1 to 1.
igebm::data::Dataset read_line(const igebm::data::Options& options, bool /*test*/, std::uint64_t /*seed*/) {
  const std::int64_t count = options.count > 0 ? options.count : 1000;
  igebm::data::Dataset set;
  set.x = at::stack({at::linspace(-1, 1, count), at::ones({count})}, 1);
  return set;
}

}  // namespace

void add_data_set() { igebm::data::register_set({.name = "line", .about = "2-D: a straight line", .read = read_line}); }
