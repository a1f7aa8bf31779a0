#include "igebm/sampling/chains.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::sampling {
namespace {

/// Has it a row for each chain? Else all chains share it.
bool has_rows(const at::Tensor& fixed, const Chains& c) {
  return fixed.defined() && fixed.dim() == c.x.dim() && fixed.size(0) == c.size();
}

/// rows: of what has a row for each chain, else of the whole.
template <typename Apply>
Chains each(const Chains& c, bool of_rows, const Apply& apply) {
  Chains out{apply(c.x), c.labels.defined() ? apply(c.labels) : at::Tensor(), apply(c.stream), apply(c.steps)};
  if (c.fixed.defined()) out.fixed = !of_rows || has_rows(c.fixed, c) ? apply(c.fixed) : c.fixed;
  for (const auto& [name, t] : c.state) out.state[name] = apply(t);
  return out;
}

/// Zeros for `count` chains, like `t`'s rows.
at::Tensor zero_rows(const at::Tensor& t, std::int64_t count) {
  std::vector<std::int64_t> size = t.sizes().vec();
  size[0] = count;
  return at::zeros(size, t.options());
}

KernelState join_states(const std::vector<Chains>& parts) {
  KernelState known, out;  // known: some part's
  for (const Chains& part : parts) known.insert(part.state.begin(), part.state.end());
  for (const auto& [name, like] : known) {
    std::vector<at::Tensor> tensors;
    for (const Chains& part : parts) {
      const auto found = part.state.find(name);
      tensors.push_back(found != part.state.end() ? found->second : zero_rows(like, part.size()));
    }
    out[name] = at::cat(tensors);
  }
  return out;
}

at::Tensor fixed_or_none(const Chains& c) {
  return c.fixed.defined() ? c.fixed_elements() : at::zeros(c.x.sizes(), c.x.options().dtype(at::kBool));
}

}  // namespace

Chains Chains::slice(std::int64_t begin, std::int64_t end) const {
  return each(*this, true, [&](const at::Tensor& t) { return t.slice(0, begin, end); });
}

Chains Chains::select(const at::Tensor& rows) const {
  return each(*this, true, [&](const at::Tensor& t) { return t.index_select(0, rows); });
}

Chains Chains::to(c10::Device device) const {
  return each(*this, false, [&](const at::Tensor& t) { return t.to(device); });
}

void Chains::put(const at::Tensor& rows, const Chains& from) {
  if (fixed.defined() || from.fixed.defined()) fixed = fixed_or_none(*this).index_copy(0, rows, fixed_or_none(from));
  x.index_copy_(0, rows, from.x);
  if (labels.defined()) labels.index_copy_(0, rows, from.labels);
  stream.index_copy_(0, rows, from.stream);
  steps.index_copy_(0, rows, from.steps);
  for (const auto& [name, t] : from.state) {
    at::Tensor& mine = state[name];
    if (!mine.defined()) mine = zero_rows(t, size());
    mine.index_copy_(0, rows, t);
  }
  for (auto& [name, mine] : state) {
    if (!from.state.contains(name)) mine.index_fill_(0, rows, 0);
  }
}

Chains Chains::join(const std::vector<Chains>& parts) {
  std::vector<Chains> some;
  for (const Chains& part : parts) {
    if (part.size() > 0) some.push_back(part);
  }
  const auto gather = [&](at::Tensor Chains::*member) {
    std::vector<at::Tensor> tensors;
    for (const Chains& part : some) {
      if ((part.*member).defined()) tensors.push_back(part.*member);
    }
    return tensors.empty() ? at::Tensor() : at::cat(tensors);
  };
  Chains out{gather(&Chains::x), gather(&Chains::labels), gather(&Chains::stream), gather(&Chains::steps)};
  if (std::ranges::any_of(some, [](const Chains& part) { return part.fixed.defined(); })) {
    std::vector<at::Tensor> masks;
    for (const Chains& part : some) masks.push_back(fixed_or_none(part));
    out.fixed = at::cat(masks);
  }
  out.state = join_states(some);
  return out;
}

at::Tensor Chains::fixed_elements() const {
  if (!fixed.defined()) return {};
  if (fixed.scalar_type() != at::kBool || !at::is_expandable_to(fixed.sizes(), x.sizes()))
    throw UserError(fmt::format("chains: fixed: expected bool, broadcast to x's ({}), got {} ({})",
                                fmt::join(x.sizes().vec(), ", "), c10::toString(fixed.scalar_type()),
                                fmt::join(fixed.sizes().vec(), ", ")));
  return fixed.expand(x.sizes()).contiguous();
}

at::Tensor Chains::held(const at::Tensor& moved) const {
  return fixed.defined() ? at::where(fixed_elements(), x, moved) : moved;
}

void Chains::touch() const {
  if (!x.is_inference()) x.unsafeGetTensorImpl()->bump_version();
}

at::Tensor normals_of(const Chains& chains, std::uint64_t seed, Purpose purpose, std::int64_t ahead) {
  const at::Tensor stream = chains.stream.cpu(), place = chains.steps.cpu() + ahead;
  const auto rows = static_cast<std::size_t>(chains.size());
  at::Tensor numbers = at::empty(chains.x.sizes());
  random_normal_rows(seed, purpose, {stream.const_data_ptr<std::int64_t>(), rows},
                     {place.const_data_ptr<std::int64_t>(), rows},
                     numbers.numel() / std::max<std::int64_t>(chains.size(), 1), numbers.data_ptr<float>());
  return numbers.to(chains.x.device());
}

Chains start_chains(const StartOptions& options, const std::vector<std::int64_t>& shape, std::int64_t count,
                    std::int64_t first_stream, const at::Tensor& labels, std::uint64_t seed) {
  return start_chains(options, shape, at::arange(first_stream, first_stream + count, at::kLong), labels, seed);
}

Chains start_chains(const StartOptions& options, const std::vector<std::int64_t>& shape, const at::Tensor& streams,
                    const at::Tensor& labels, std::uint64_t seed) {
  const std::int64_t count = streams.size(0);
  std::vector<std::int64_t> size = {count};
  size.insert(size.end(), shape.begin(), shape.end());
  Chains chains{at::empty(size), labels, streams.clone(), at::zeros({count}, at::kLong)};
  const std::int64_t elements = count > 0 ? chains.x.numel() / count : 0;
  float* x = chains.x.data_ptr<float>();
  const auto* stream = chains.stream.const_data_ptr<std::int64_t>();
  const bool uniform = options.start == Start::uniform;
  at::parallel_for(0, count, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::span<float> row(x + i * elements, static_cast<std::size_t>(elements));
      const RandomPlace place{seed, Purpose::chain_start, static_cast<std::uint64_t>(stream[i]), 0};
      uniform ? random_uniform(place, row) : random_normal(place, row);
    }
  });
  if (uniform) chains.x.mul_(options.high - options.low).add_(options.low);
  return chains;
}

}  // namespace igebm::sampling
