#include "igebm/data/ahead.h"

#include <ATen/ATen.h>

#include <system_error>

namespace igebm::data {

void BatchesAhead::drop() {
  if (!coming_.valid()) return;
  coming_.wait();
  coming_ = {};
}

Batch BatchesAhead::take(std::int64_t first, std::int64_t size) {
  const bool is_it = coming_.valid() && first == first_ && size == size_;
  if (!is_it) drop();
  Batch batch = is_it ? coming_.get() : batches_.from(first, size);
  if (batches_.bytes() == 0) return batch;
  first_ = first + size;
  size_ = size;
  try {
    coming_ = std::async(std::launch::async, [this] { return batches_.from(first_, size_); });
  } catch (const std::system_error&) {
    coming_ = {};  // the system allows no thread: the next one is made when it is asked for
  }
  return batch;
}

}  // namespace igebm::data
