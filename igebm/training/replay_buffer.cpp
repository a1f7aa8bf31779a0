#include "igebm/training/replay_buffer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/augment.h"
#include "igebm/io/ranges.h"

namespace igebm::training {

using io::Fields;
using io::Range;
using namespace io::ranges;  // NOLINT(google-build-using-namespace)

void describe(Fields& f, ReplayAugmentation& o) {
  f.field("share", o.share, share, "of the pictures taken from the buffer that are changed before they go on");
  f.field("flip", o.flip, "mirrored with probability 1/2");
  f.field("area", o.area, Range{0, 1, true}, "least share of the area that a crop keeps, enlarged; 1: no crop");
  f.field("brightness", o.brightness, share, "pictures times a factor from [1 - b, 1 + b]");
  f.field("contrast", o.contrast, share, "the same of distances to the picture's mean grey");
  f.field("saturation", o.saturation, share, "the same of distances to each pixel's grey");
  f.field("blur", o.blur, Range{0, 100}, "greatest standard deviation, pixels, of half the pictures; 0: none");
  if (o.blur > 0 && o.blur < 0.1) f.problem("blur", "expected 0 or at least 0.1");
}

ReplayBuffer::ReplayBuffer(const ReplayOptions& options, const sampling::StartOptions& start,
                           const std::vector<std::int64_t>& shape, const at::Tensor& labels, double low, double high)
    : options_(options), start_(start), low_(low), high_(high) {
  if (options.augment.share > 0) {
    if (shape.size() != 3) throw UserError("contrastive_divergence.augment: pictures only; these data are points");
    if (!std::isfinite(low) || !std::isfinite(high))
      throw UserError("contrastive_divergence.augment: low and high, black and white, must be finite");
  }
  if (options.compact && (!std::isfinite(low) || !std::isfinite(high)))
    throw UserError("contrastive_divergence.compact: low and high, black and white, must be finite");
  std::vector<std::int64_t> size = {options.size};
  size.insert(size.end(), shape.begin(), shape.end());
  std::vector<std::int64_t> label_size = {options.size};
  if (labels.defined()) label_size.insert(label_size.end(), labels.sizes().begin() + 1, labels.sizes().end());
  chains_ = {at::zeros(size, options.compact ? at::kByte : at::kFloat),
             at::zeros(label_size, labels.defined() ? labels.scalar_type() : at::kLong),
             at::full({options.size}, -1, at::kLong), at::zeros({options.size}, at::kLong)};
}

double ReplayBuffer::bytes_per_chain(const ReplayOptions& options, const std::vector<std::int64_t>& shape) {
  double elements = 1;
  for (const auto d : shape) elements *= static_cast<double>(d);
  return elements * (options.compact ? 1 : 4) + 4 * 8;  // its label, stream and steps, and its place in the order
}

at::Tensor ReplayBuffer::pack(const at::Tensor& x) const {
  if (!options_.compact) return x;
  return x.sub(low_).mul_(255 / (high_ - low_)).round_().clamp_(0, 255).to(at::kByte);
}

at::Tensor ReplayBuffer::unpack(const at::Tensor& x) const {
  if (!options_.compact) return x;
  return x.to(at::kFloat).mul_((high_ - low_) / 255).add_(low_);
}

ReplayBuffer::Taken ReplayBuffer::take(const at::Tensor& data, const at::Tensor& labels, std::uint64_t seed,
                                       std::int64_t step, std::int64_t first_stream) {
  const std::int64_t count = data.size(0);
  const auto at_step = static_cast<std::uint32_t>(step);
  // The first `count` places of a Fisher-Yates shuffle are a draw without replacement.
  std::vector<std::int64_t> order(static_cast<std::size_t>(options_.size));
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto j = i + random_index({seed, Purpose::replay, static_cast<std::uint64_t>(i), at_step}, options_.size - i);
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
  }
  order.resize(static_cast<std::size_t>(count));
  const at::Tensor rows = at::tensor(order, at::kLong);
  sampling::Chains chains = chains_.select(rows);
  chains.x = unpack(chains.x);
  const sampling::Chains fresh =
      sampling::start_chains(start_, data.sizes().slice(1).vec(), count, first_stream, labels, seed);

  at::Tensor anew = at::zeros({count}, at::kBool);
  bool* anew_flags = anew.data_ptr<bool>();
  std::vector<std::int64_t> restarted, from_data, kept;
  const std::int64_t* stream = chains.stream.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    const double u = random_uniform({seed, Purpose::replay, static_cast<std::uint64_t>(options_.size + i), at_step});
    if (u < options_.data_share) {
      from_data.push_back(i);
    } else if (stream[i] < 0 || u < options_.data_share + options_.restart_share) {
      restarted.push_back(i);
      anew_flags[i] = true;
    } else {
      kept.push_back(i);
    }
  }
  augment(chains.x, kept, seed, step);
  const auto start = [&](const std::vector<std::int64_t>& which, const sampling::Chains& from) {
    if (which.empty()) return;
    const at::Tensor index = at::tensor(which, at::kLong);
    sampling::Chains part = from.select(index);
    if (!part.labels.defined()) part.labels = at::zeros({part.size()}, at::kLong);
    chains.put(index, part);
  };
  start(restarted, fresh);
  start(from_data, {data, fresh.labels, fresh.stream, fresh.steps});
  if (!labels.defined()) chains.labels = at::Tensor();
  return {chains, rows, anew};
}

at::Tensor ReplayBuffer::others(const Taken& taken, std::int64_t count, std::uint64_t seed, std::int64_t step) const {
  at::Tensor free = chains_.stream.ge(0);  // those that never moved are no samples
  free.index_fill_(0, taken.rows, false);
  const at::Tensor rows = free.nonzero().squeeze(1);
  count = std::min(count, rows.size(0));
  std::int64_t* row = rows.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto place = static_cast<std::uint64_t>(2 * options_.size + i);
    std::swap(
        row[i],
        row[i + random_index({seed, Purpose::replay, place, static_cast<std::uint32_t>(step)}, rows.size(0) - i)]);
  }
  return unpack(chains_.x.index_select(0, rows.slice(0, 0, count)));
}

void ReplayBuffer::augment(const at::Tensor& x, const std::vector<std::int64_t>& rows, std::uint64_t seed,
                           std::int64_t step) const {
  const ReplayAugmentation& a = options_.augment;
  if (a.share <= 0) return;
  const data::PictureShape shape{x.size(1), x.size(2), x.size(3)};
  const data::ColourChange colours{a.brightness, a.contrast, a.saturation};
  const std::int64_t elements = x[0].numel();
  const auto low = static_cast<float>(low_), range = static_cast<float>(high_ - low_);
  at::parallel_for(0, static_cast<std::int64_t>(rows.size()), 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t i = rows[static_cast<std::size_t>(r)];
      const RandomPlace place{seed, Purpose::replay, static_cast<std::uint64_t>(3 * options_.size + i),
                              static_cast<std::uint32_t>(step)};
      std::array<float, 8> u{};
      random_uniform(place, u);
      if (u[7] >= a.share) continue;
      float* picture = x.data_ptr<float>() + i * elements;
      if (a.area < 1) data::random_resized_crop(picture, shape, a.area, place);
      if (a.flip && u[0] < 0.5F) data::mirror(picture, shape);
      if (colours.any()) {
        for (std::int64_t j = 0; j < elements; ++j) picture[j] = (picture[j] - low) / range;
        data::random_colour(picture, shape, 1, colours, place);
        for (std::int64_t j = 0; j < elements; ++j) picture[j] = low + picture[j] * range;
      }
      if (a.blur > 0) data::random_blur(picture, shape, a.blur, place);
    }
  });
}

void ReplayBuffer::put(const Taken& taken) {
  sampling::Chains packed = taken.chains.to(c10::kCPU);
  packed.x = pack(packed.x);
  if (!packed.labels.defined()) packed.labels = at::zeros({packed.size()}, at::kLong);
  packed.fixed = at::Tensor();  // of who moved them
  chains_.put(taken.rows, packed);
}

namespace {

constexpr std::string_view kernel_prefix = "kernel.";  // of the names of what kernels keep

}  // namespace

nn::Tensors ReplayBuffer::state() const {
  nn::Tensors out = {
      {"x", chains_.x}, {"labels", chains_.labels}, {"stream", chains_.stream}, {"steps", chains_.steps}};
  for (const auto& [name, t] : chains_.state) out[std::string(kernel_prefix) + name] = t;
  return out;
}

void ReplayBuffer::load(const nn::Tensors& state) {
  const auto copy = [&](at::Tensor& to, const char* name) {
    const at::Tensor& from = state.at(name);
    if (from.sizes() != to.sizes() || from.dtype() != to.dtype()) {
      throw UserError(
          fmt::format("replay buffer: \"{}\" in the checkpoint is of another shape than the recipe's", name));
    }
    to.copy_(from);
  };
  copy(chains_.x, "x");
  copy(chains_.labels, "labels");
  copy(chains_.stream, "stream");
  copy(chains_.steps, "steps");
  chains_.state.clear();
  for (const auto& [name, t] : state) {
    if (!name.starts_with(kernel_prefix)) continue;
    if (t.dim() < 1 || t.size(0) != options_.size)
      throw UserError(fmt::format("replay buffer: \"{}\" in the checkpoint: expected {} rows", name, options_.size));
    chains_.state[name.substr(kernel_prefix.size())] = t.clone();
  }
}

}  // namespace igebm::training
