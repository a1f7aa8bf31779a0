#include "igebm/training/objective.h"

#include <ATen/ATen.h>

#include <numeric>

namespace igebm::training {

const std::function<bool()> Step::never;

void Step::check() const {
  if (stop && stop()) throw Interrupted();
}

at::Tensor Step::normals(Purpose purpose) const {
  at::Tensor numbers = at::empty(data.sizes());
  std::vector<std::int64_t> streams(static_cast<std::size_t>(data.size(0)));
  std::iota(streams.begin(), streams.end(), first_stream);
  const std::vector<std::int64_t> steps(streams.size(), 0);
  random_normal_rows(seed, purpose, streams, steps, data.numel() / data.size(0), numbers.data_ptr<float>());
  return numbers;
}

}  // namespace igebm::training
