#pragma once

#include <future>

#include "igebm/data/data.h"

namespace igebm::data {

/// Batches of a set, the next one made in the background while the last one is in use: for whoever waits for a device
/// meanwhile. Batches are those of Batches::from, whatever is asked for. Of sets whose pictures are decoded as they are
/// asked for nothing is made ahead, for these are read ahead already (prefetch.h).
class BatchesAhead {
 public:
  /// `batches` is kept by reference; its `from` is not to be called by others.
  explicit BatchesAhead(const Batches& batches) : batches_(batches) {}
  ~BatchesAhead() { drop(); }
  BatchesAhead(const BatchesAhead&) = delete;
  BatchesAhead& operator=(const BatchesAhead&) = delete;

  Batch take(std::int64_t first, std::int64_t size);

 private:
  void drop();  // what is in the making, with whatever it throws

  const Batches& batches_;
  std::int64_t first_ = 0, size_ = 0;
  std::future<Batch> coming_;
};

}  // namespace igebm::data
