#include <ATen/ATen.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
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

const at::Tensor& Dataset::all() const {
  if (pictures)
    throw UserError(
        fmt::format("data.memory: {} pictures do not fit into it; raise it, or use fewer by data.count", size()));
  return x;
}

}  // namespace igebm::data
