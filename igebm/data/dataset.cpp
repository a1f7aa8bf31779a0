#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/data/collect.h"
#include "igebm/data/data.h"
#include "igebm/data/prefetch.h"

namespace igebm::data {

std::int64_t Dataset::size() const { return pictures ? pictures->size() : x.size(0); }
std::vector<std::int64_t> Dataset::shape() const { return pictures ? pictures->shape() : x.sizes().slice(1).vec(); }

at::Tensor Dataset::take(const at::Tensor& rows) const {
  if (!pictures) return x.index_select(0, rows);
  const at::Tensor list = rows.contiguous();
  const auto* first = list.const_data_ptr<std::int64_t>();
  return read_pictures(*pictures, {first, first + list.numel()});
}

std::vector<std::int64_t> Dataset::condition_columns(const std::vector<std::string>& names) const {
  std::vector<std::int64_t> columns;
  for (const auto& name : names) {
    bool known = false;
    for (std::size_t i = 0; i < condition_names.size(); ++i) {
      const auto& column = condition_names[i];
      if (column != name && !column.starts_with(name + ".")) continue;
      known = true;
      if (std::find(columns.begin(), columns.end(), static_cast<std::int64_t>(i)) != columns.end())
        throw UserError(fmt::format("network.conditions: {} is picked twice", column));
      columns.push_back(static_cast<std::int64_t>(i));
    }
    if (known) continue;
    if (condition_names.empty())
      throw UserError(fmt::format("network.conditions: the data have no conditions, so no \"{}\"", name));
    throw UserError(fmt::format("network.conditions: the data have no \"{}\"; expected some of {}", name,
                                fmt::join(condition_names, ", ")));
  }
  return columns;
}

std::string Dataset::made_untrue(const std::vector<std::string>& names, const Changes& by) const {
  for (const auto column : condition_columns(names)) {
    const auto i = static_cast<std::size_t>(column);
    if (i >= untrue_by.size()) continue;
    const Changes& of = untrue_by[i];
    if ((of.mirror && by.mirror) || (of.shift && by.shift) || (of.zoom && by.zoom)) return condition_names[i];
  }
  return {};
}

std::vector<std::string> Dataset::names_of_classes() const {
  return class_names.empty() ? numbered(classes) : class_names;
}

const at::Tensor& Dataset::all() const {
  if (pictures)
    throw UserError(fmt::format(
        "data.memory: {} pictures do not fit into it; raise it, or of training pictures use fewer by data.count",
        size()));
  return x;
}

}  // namespace igebm::data
