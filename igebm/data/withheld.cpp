#include "igebm/data/withheld.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/io/recipe.h"

namespace igebm::data {
namespace {

std::string trimmed(const std::string& text) {
  const auto from = text.find_first_not_of(" \t");
  return from == std::string::npos ? "" : text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

std::int64_t place(const std::string& name, const std::vector<std::string>& names, const char* kind,
                   const std::string& group) {
  const auto at = std::find(names.begin(), names.end(), name);
  if (at != names.end()) return at - names.begin();
  if (names.empty()) throw UserError(fmt::format("data.without: \"{}\": the data have no {}", group, kind));
  const std::string near = io::did_you_mean(name, names);
  throw UserError(fmt::format("data.without: \"{}\": no {} \"{}\"{}", group, kind, name,
                              near.empty() ? fmt::format("; expected one of {}", fmt::join(names, ", ")) : near));
}

}  // namespace

Withheld::Withheld(const Dataset& set, const std::vector<std::string>& groups) {
  if (set.labels.defined()) labels_ = set.labels.contiguous();
  if (set.conditions.defined()) conditions_ = set.conditions.contiguous();
  const std::vector<std::string> classes = set.names_of_classes();
  for (const auto& group : groups) {
    std::vector<Part> parts;
    for (std::size_t from = 0; from <= group.size();) {
      const std::size_t to = std::min(group.find('&', from), group.size());
      const std::string text = trimmed(group.substr(from, to - from));
      from = to + 1;
      if (text.empty())
        throw UserError(
            fmt::format("data.without: \"{}\": expected class names and comparisons joined by &, as in \"heart & size "
                        "< 0.65\"",
                        group));
      Part part;
      const std::size_t sign = text.find_first_of("<>");
      if (sign == std::string::npos) {
        part.label = place(text, classes, "class", group);
      } else {
        part.column = place(trimmed(text.substr(0, sign)), set.condition_names, "number", group);
        part.below = text[sign] == '<';
        const std::string number = trimmed(text.substr(sign + 1));
        const auto bound = io::number_of(number);
        if (!bound)
          throw UserError(
              fmt::format("data.without: \"{}\": expected a number after {}, got \"{}\"", group, text[sign], number));
        part.bound = static_cast<float>(*bound);
      }
      parts.push_back(part);
    }
    groups_.push_back(std::move(parts));
  }
}

bool Withheld::operator()(std::int64_t record) const {
  return std::any_of(groups_.begin(), groups_.end(), [&](const std::vector<Part>& parts) {
    return std::all_of(parts.begin(), parts.end(), [&](const Part& part) {
      if (part.column < 0) return labels_.const_data_ptr<std::int64_t>()[record] == part.label;
      const float value = conditions_.const_data_ptr<float>()[record * conditions_.size(1) + part.column];
      return part.below ? value < part.bound : value > part.bound;
    });
  });
}

}  // namespace igebm::data
