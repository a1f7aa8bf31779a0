#pragma once

#include <ATen/core/Tensor.h>

#include <future>
#include <memory>
#include <vector>

#include "igebm/data/data.h"

namespace igebm::data {

/// Records `records` of `pictures`, uint8 (N, C, H, W), read by as many threads as the program computes with, or by
/// fewer where the system allows no more. Throws what reading throws, for the first of the records that fails.
at::Tensor read_pictures(const Pictures& pictures, const std::vector<std::int64_t>& records);

/// Reads pictures before they are asked for: what was announced by `start` is read in the background, and `take` waits
/// for it; other records are read at once, as are those for which there is no thread. Results do not depend on what was
/// announced.
class Prefetcher {
 public:
  explicit Prefetcher(std::shared_ptr<const Pictures> pictures) : pictures_(std::move(pictures)) {}
  ~Prefetcher();
  void start(std::vector<std::int64_t> records);
  at::Tensor take(const std::vector<std::int64_t>& records);

 private:
  std::shared_ptr<const Pictures> pictures_;
  std::vector<std::int64_t> announced_;
  std::future<at::Tensor> coming_;
};

}  // namespace igebm::data
