#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/data.h"

namespace igebm::data {

Batches::Batches(Dataset dataset, const Options& options, std::uint64_t seed)
    : dataset_(std::move(dataset)), options_(options), seed_(seed) {
  check(options_);
}

std::vector<std::int64_t> Batches::shape() const { return dataset_.x.sizes().slice(1).vec(); }
std::int64_t Batches::size() const { return dataset_.x.size(0); }

double Batches::extent() const {
  if (dataset_.x.scalar_type() == at::kByte) return std::max(std::fabs(options_.low), std::fabs(options_.high));
  return dataset_.x.abs().max().item<double>();
}

const std::vector<std::int64_t>& Batches::order(std::int64_t epoch) const {
  const auto slot = static_cast<std::size_t>(epoch % 2);
  if (cached_epoch_[slot] != epoch) {
    std::vector<std::int64_t>& order = cached_order_[slot];
    order.resize(static_cast<std::size_t>(size()));
    std::iota(order.begin(), order.end(), 0);
    for (std::int64_t i = size() - 1; i > 0; --i) {
      const auto j = random_index(
          {seed_, Purpose::data_order, static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(epoch)}, i + 1);
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
    }
    cached_epoch_[slot] = epoch;
  }
  return cached_order_[slot];
}

Batch Batches::at(std::int64_t step, std::int64_t batch_size) const {
  if (size() == 0) throw UserError("data: no records");
  if (step < 0 || batch_size < 1) {
    throw UserError(
        fmt::format("data: expected a step of at least 0 and a batch of at least 1, got {} and {}", step, batch_size));
  }
  std::vector<std::int64_t> records, epochs;
  for (std::int64_t i = step * batch_size; i < (step + 1) * batch_size; ++i) {
    epochs.push_back(i / size());
    records.push_back(order(epochs.back())[static_cast<std::size_t>(i % size())]);
  }
  return make(records, epochs);
}

Batch Batches::first(std::int64_t count) const {
  std::vector<std::int64_t> records(static_cast<std::size_t>(std::min(count, size())));
  std::iota(records.begin(), records.end(), 0);
  return make(records, std::vector<std::int64_t>(records.size(), 0));
}

Batch Batches::make(const std::vector<std::int64_t>& records, const std::vector<std::int64_t>& epochs) const {
  Batch batch;
  batch.index = at::tensor(records, at::kLong);
  if (dataset_.labels.defined()) batch.labels = dataset_.labels.index_select(0, batch.index);
  if (dataset_.x.scalar_type() != at::kByte) {
    batch.x = dataset_.x.index_select(0, batch.index);
    return batch;
  }
  batch.x = dataset_.x.index_select(0, batch.index).to(at::kFloat);
  const std::int64_t count = batch.x.size(0), elements = dataset_.x[0].numel(), width = batch.x.size(3);
  float* x = batch.x.data_ptr<float>();
  const auto low = static_cast<float>(options_.low);
  const auto scale = static_cast<float>((options_.high - options_.low) / (options_.dequantize ? 256 : 255));
  at::parallel_for(0, count, 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint32_t> bits(static_cast<std::size_t>(elements));
    for (std::int64_t i = begin; i < end; ++i) {
      const auto stream = static_cast<std::uint64_t>(records[static_cast<std::size_t>(i)]);
      const auto epoch = static_cast<std::uint32_t>(epochs[static_cast<std::size_t>(i)]);
      float* row = x + i * elements;
      if (options_.dequantize) {
        // 15 bits and a half: with 8 of the pixel, exact in a float, so that no sum is rounded into the next bin.
        random_bits({seed_, Purpose::dequantize, stream, epoch}, bits);
        for (std::int64_t j = 0; j < elements; ++j) {
          row[j] += (static_cast<float>(bits[static_cast<std::size_t>(j)] >> 17) + 0.5F) * 0x1p-15F;
        }
      }
      for (std::int64_t j = 0; j < elements; ++j) row[j] = low + row[j] * scale;
      if (options_.flip && random_uniform({seed_, Purpose::augment, stream, epoch}) < 0.5) {
        for (std::int64_t line = 0; line < elements; line += width) std::reverse(row + line, row + line + width);
      }
    }
  });
  return batch;
}

}  // namespace igebm::data
