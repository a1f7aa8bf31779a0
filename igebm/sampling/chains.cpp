#include "igebm/sampling/chains.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::sampling {
namespace {

template <typename Apply>
Chains each(const Chains& c, const Apply& apply) {
  return {apply(c.x), c.labels.defined() ? apply(c.labels) : at::Tensor(), apply(c.stream), apply(c.steps)};
}

}  // namespace

Chains Chains::slice(std::int64_t begin, std::int64_t end) const {
  return each(*this, [&](const at::Tensor& t) { return t.slice(0, begin, end); });
}

Chains Chains::select(const at::Tensor& rows) const {
  return each(*this, [&](const at::Tensor& t) { return t.index_select(0, rows); });
}

Chains Chains::to(c10::Device device) const {
  return each(*this, [&](const at::Tensor& t) { return t.to(device); });
}

void Chains::put(const at::Tensor& rows, const Chains& from) const {
  x.index_copy_(0, rows, from.x);
  if (labels.defined()) labels.index_copy_(0, rows, from.labels);
  stream.index_copy_(0, rows, from.stream);
  steps.index_copy_(0, rows, from.steps);
}

Chains Chains::join(const std::vector<Chains>& parts) {
  const auto gather = [&](at::Tensor Chains::*member) {
    std::vector<at::Tensor> tensors;
    for (const Chains& part : parts) {
      if (part.size() > 0 && (part.*member).defined()) tensors.push_back(part.*member);
    }
    return tensors.empty() ? at::Tensor() : at::cat(tensors);
  };
  return {gather(&Chains::x), gather(&Chains::labels), gather(&Chains::stream), gather(&Chains::steps)};
}

Chains start_chains(const StartOptions& options, const std::vector<std::int64_t>& shape, std::int64_t count,
                    std::int64_t first_stream, const at::Tensor& labels, std::uint64_t seed) {
  if (options.start != "uniform" && options.start != "normal") {
    throw UserError(fmt::format("start: expected \"uniform\" or \"normal\", got \"{}\"", options.start));
  }
  std::vector<std::int64_t> size = {count};
  size.insert(size.end(), shape.begin(), shape.end());
  Chains chains{at::empty(size), labels, at::arange(first_stream, first_stream + count, at::kLong),
                at::zeros({count}, at::kLong)};
  const std::int64_t elements = count > 0 ? chains.x.numel() / count : 0;
  float* x = chains.x.data_ptr<float>();
  const bool uniform = options.start == "uniform";
  at::parallel_for(0, count, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::span<float> row(x + i * elements, static_cast<std::size_t>(elements));
      const RandomPlace place{seed, Purpose::chain_start, static_cast<std::uint64_t>(first_stream + i), 0};
      uniform ? random_uniform(place, row) : random_normal(place, row);
    }
  });
  if (uniform) chains.x.mul_(options.high - options.low).add_(options.low);
  return chains;
}

}  // namespace igebm::sampling
