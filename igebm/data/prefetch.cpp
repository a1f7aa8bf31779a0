#include "igebm/data/prefetch.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

namespace igebm::data {

at::Tensor read_pictures(const Pictures& pictures, const std::vector<std::int64_t>& records) {
  std::vector<std::int64_t> shape = pictures.shape();
  std::int64_t bytes = 1;
  for (const auto d : shape) bytes *= d;
  shape.insert(shape.begin(), static_cast<std::int64_t>(records.size()));
  at::Tensor x = at::empty(shape, at::kByte);
  auto* out = x.data_ptr<std::uint8_t>();
  std::atomic<std::size_t> next{0};
  std::mutex guard;
  std::size_t failed = records.size();
  std::exception_ptr error;
  const auto work = [&] {
    for (std::size_t i = next++; i < records.size(); i = next++) {
      try {
        pictures.read(records[i], out + static_cast<std::int64_t>(i) * bytes);
      } catch (...) {
        const std::lock_guard lock(guard);
        if (i < failed) failed = i, error = std::current_exception();
        next = records.size();
      }
    }
  };
  std::vector<std::thread> others;
  const std::size_t most = std::min(static_cast<std::size_t>(std::max(at::get_num_threads(), 1)), records.size() / 4);
  try {
    for (std::size_t i = 1; i < most; ++i) others.emplace_back(work);
  } catch (const std::system_error&) {  // no more threads are allowed here: those that are there do it all
  }
  work();
  for (auto& thread : others) thread.join();
  if (error) std::rethrow_exception(error);
  return x;
}

Prefetcher::~Prefetcher() {
  if (coming_.valid()) coming_.wait();
}

void Prefetcher::start(std::vector<std::int64_t> records) {
  if (coming_.valid()) coming_.wait();
  announced_ = std::move(records);
  try {
    coming_ = std::async(std::launch::async,
                         [pictures = pictures_, wanted = announced_] { return read_pictures(*pictures, wanted); });
  } catch (const std::system_error&) {  // no thread to be had: they are read when they are taken
    coming_ = {};
  }
}

at::Tensor Prefetcher::take(const std::vector<std::int64_t>& records) {
  if (coming_.valid() && records == announced_) return coming_.get();
  return read_pictures(*pictures_, records);
}

}  // namespace igebm::data
