#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/augment.h"
#include "igebm/data/data.h"
#include "igebm/data/prefetch.h"

namespace igebm::data {

Batches::Batches(Dataset dataset, const Options& options, std::uint64_t seed)
    : dataset_(std::move(dataset)), options_(options), seed_(seed) {
  check(options_);
  if (dataset_.pictures) prefetcher_ = std::make_unique<Prefetcher>(dataset_.pictures);
}
Batches::Batches(Batches&&) noexcept = default;
Batches::~Batches() = default;

std::vector<std::int64_t> Batches::shape() const { return dataset_.shape(); }
std::int64_t Batches::size() const { return dataset_.size(); }
std::int64_t Batches::bytes() const { return dataset_.pictures ? 0 : static_cast<std::int64_t>(dataset_.x.nbytes()); }

double Batches::extent() const {
  if (dataset_.pictures || dataset_.x.scalar_type() == at::kByte)
    return std::max(std::fabs(options_.low), std::fabs(options_.high));
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

Batches::Choice Batches::choose(std::int64_t first, std::int64_t batch_size) const {
  Choice choice;
  for (std::int64_t i = first; i < first + batch_size; ++i) {
    choice.epochs.push_back(i / size());
    choice.records.push_back(order(choice.epochs.back())[static_cast<std::size_t>(i % size())]);
  }
  return choice;
}

Batch Batches::from(std::int64_t first, std::int64_t batch_size) const {
  if (size() == 0) throw UserError("data: no records");
  if (first < 0 || batch_size < 1) {
    throw UserError(fmt::format("data: expected a first record of at least 0 and a batch of at least 1, got {} and {}",
                                first, batch_size));
  }
  const Choice choice = choose(first, batch_size);
  const at::Tensor stored = bytes(choice.records);
  if (prefetcher_) prefetcher_->start(choose(first + batch_size, batch_size).records);
  return make(choice, stored, true);
}

Batch Batches::first(std::int64_t count) const {
  Choice choice;
  choice.records.resize(static_cast<std::size_t>(std::min(count, size())));
  std::iota(choice.records.begin(), choice.records.end(), 0);
  choice.epochs.resize(choice.records.size());
  return make(choice, bytes(choice.records), false);
}

at::Tensor Batches::bytes(const std::vector<std::int64_t>& records) const {
  return prefetcher_ ? prefetcher_->take(records) : dataset_.x.index_select(0, at::tensor(records, at::kLong));
}

Batch Batches::make(const Choice& choice, const at::Tensor& bytes, bool augmented) const {
  Batch batch;
  batch.index = at::tensor(choice.records, at::kLong);
  if (dataset_.labels.defined()) batch.labels = dataset_.labels.index_select(0, batch.index);
  if (dataset_.conditions.defined()) batch.conditions = dataset_.conditions.index_select(0, batch.index);
  batch.x = bytes.to(at::kFloat);
  if (bytes.scalar_type() != at::kByte) return batch;
  const std::int64_t count = batch.x.size(0);
  const PictureShape shape{batch.x.size(1), batch.x.size(2), batch.x.size(3)};
  const std::int64_t elements = shape.channels * shape.height * shape.width;
  float* x = batch.x.data_ptr<float>();
  const auto low = static_cast<float>(options_.low), range = static_cast<float>(options_.high - options_.low);
  const float levels = options_.dequantize ? 256 : 255, scale = range / levels;
  const ColourChange colours{options_.brightness, options_.contrast, options_.saturation};
  at::parallel_for(0, count, 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint32_t> bits(static_cast<std::size_t>(elements));
    for (std::int64_t i = begin; i < end; ++i) {
      const auto stream = static_cast<std::uint64_t>(choice.records[static_cast<std::size_t>(i)]);
      const auto epoch = static_cast<std::uint32_t>(choice.epochs[static_cast<std::size_t>(i)]);
      const RandomPlace place{seed_, Purpose::augment, stream, epoch};
      float* row = x + i * elements;
      if (augmented && options_.crop > 0) random_crop(row, shape, options_, place);
      if (options_.dequantize) {
        // 15 bits and a half: with 8 of the pixel, exact in a float, so that no sum is rounded into the next bin.
        random_bits({seed_, Purpose::dequantize, stream, epoch}, bits);
        for (std::int64_t j = 0; j < elements; ++j) {
          row[j] += (static_cast<float>(bits[static_cast<std::size_t>(j)] >> 17) + 0.5F) * 0x1p-15F;
        }
      }
      if (augmented && colours.any()) random_colour(row, shape, levels, colours, place);
      for (std::int64_t j = 0; j < elements; ++j) row[j] = low + row[j] * scale;
      if (augmented && options_.flip && random_uniform(place) < 0.5) mirror(row, shape);
    }
  });
  return batch;
}

}  // namespace igebm::data
