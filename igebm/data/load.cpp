#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/data.h"

namespace igebm::data {
namespace {

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Set& set : sets()) all.emplace_back(set.name);
  return all;
}

const Set& find(const std::string& name) {
  for (const Set& set : sets()) {
    if (name == set.name) return set;
  }
  const std::string near = io::nearest(name, names());
  throw UserError(fmt::format("data.name: unknown data set \"{}\"{}", name,
                              near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
}

}  // namespace

void describe(io::Fields& f, Options& o) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  f.field("name", o.name, names(), "which set");
  f.field("path", o.path, {}, "its folder; empty: where it is usually installed");
  f.field("low", o.low, io::Range{-infinity, infinity, true, true}, "what black becomes");
  f.field("high", o.high, io::Range{-infinity, infinity, true, true}, "what white becomes");
  f.field("dequantize", o.dequantize, "(pixel + uniform noise) / 256");
  f.field("flip", o.flip, "mirror each picture with probability 1/2");
  f.field("validation", o.validation, io::Range{0, 1, false, true}, "share of the training records held out");
  f.field("count", o.count, io::Range{0, 1e12}, "of records; 0: all (2-D sets: 20000)");
  f.field("noise", o.noise, io::Range{0, infinity, false, true}, "of 2-D sets, standard deviation");
  if (o.low >= o.high) f.problem("low", "low must be below high");
}

void check(const Options& o) {
  const auto require = [](bool good, const char* what, auto value) {
    if (!good) throw UserError(fmt::format("data.{}, got {}", what, value));
  };
  require(std::isfinite(o.low) && std::isfinite(o.high) && o.low < o.high, "low: expected a number below high", o.low);
  require(o.validation >= 0 && o.validation < 1, "validation: expected [0, 1)", o.validation);
  require(o.count >= 0, "count: expected at least 0", o.count);
  require(o.noise >= 0 && std::isfinite(o.noise), "noise: expected at least 0", o.noise);
}

Dataset load(const Options& options, Split split, std::uint64_t seed) {
  check(options);
  Dataset set = find(options.name).read(options, split == Split::test, seed);
  const std::int64_t total = set.x.size(0), used = options.count > 0 ? std::min(options.count, total) : total;
  // Held out: a random choice of the records, the same for every run with this seed. No epoch has this number.
  constexpr std::uint32_t no_epoch = ~std::uint32_t{0};
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < used; ++i) {
    const double u = random_uniform({seed, Purpose::data_order, static_cast<std::uint64_t>(i), no_epoch});
    const bool held_out = u < options.validation;
    if (split == Split::test || held_out == (split == Split::validation)) chosen.push_back(i);
  }
  if (static_cast<std::int64_t>(chosen.size()) == total) return set;
  const at::Tensor rows = at::tensor(chosen, at::kLong);
  set.x = set.x.index_select(0, rows);
  if (set.labels.defined()) set.labels = set.labels.index_select(0, rows);
  return set;
}

}  // namespace igebm::data
