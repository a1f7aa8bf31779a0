#include "igebm/evaluation/records.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "igebm/base/error.h"
#include "igebm/data/npz_set.h"
#include "igebm/io/npz.h"

namespace igebm::evaluation {
namespace {

/// Pictures as float (N, C, H, W) in [0, 1], or points; `where` is for messages.
at::Tensor require_samples(at::Tensor x, const std::string& where) {
  const bool pictures = x.dim() == 3 || x.dim() == 4, good = pictures
                                                                 ? x.is_floating_point() || x.scalar_type() == at::kByte
                                                                 : x.dim() == 2 && x.is_floating_point();
  if (!good)
    throw UserError(fmt::format(
        "{}: expected pictures (N, C, H, W), (N, H, W, C) or (N, H, W), float in [0, 1] or uint8, or points (N, D), "
        "float; got {} ({})",
        where, at::toString(x.scalar_type()), fmt::join(x.sizes().vec(), ", ")));
  if (x.numel() == 0)
    throw UserError(fmt::format("{}: holds no samples: its shape is ({})", where, fmt::join(x.sizes().vec(), ", ")));
  if (pictures) x = data::channels_first(x).contiguous();
  const bool bytes = x.scalar_type() == at::kByte;
  x = x.to(at::kFloat);
  if (bytes) x.div_(255);
  if (!x.isfinite().all().item<bool>()) throw UserError(where + ": holds numbers that are not finite");
  if (pictures && (x.min().item<double>() < 0 || x.max().item<double>() > 1))
    throw UserError(fmt::format("{}: expected values in [0, 1], got {:.3g} to {:.3g}", where, x.min().item<double>(),
                                x.max().item<double>()));
  return x;
}

/// What the file says of `count` samples' classes, undefined if nothing: "labels" or "y", or what numpy.savez(x,
/// labels) names "arr_1".
at::Tensor labels_in(const io::NpzFile& file, const std::string& path, std::int64_t count) {
  const std::string name = data::first_array(file, {"labels", "y"});
  if (name.empty() && !file.has("arr_1")) return {};
  const at::Tensor labels = file.open(name.empty() ? "arr_1" : name).read();
  if (labels.dim() == 1 && labels.size(0) == count && at::isIntegralType(labels.scalar_type(), /*includeBool=*/false))
    return labels.to(at::kLong);
  if (name.empty()) return {};
  throw UserError(fmt::format("{}: {}: expected integers ({}), got {} ({})", path, name, count,
                              at::toString(labels.scalar_type()), fmt::join(labels.sizes().vec(), ", ")));
}

}  // namespace

Records records_of(const data::Dataset& set, const at::Tensor& rows, const std::vector<std::int64_t>& columns) {
  const auto those = [&](const at::Tensor& of_all) {
    return of_all.defined() && rows.defined() ? of_all.index_select(0, rows) : of_all;
  };
  Records records{.x = rows.defined() ? set.take(rows) : set.all(), .labels = those(set.labels)};
  if (!columns.empty()) records.conditions = those(set.conditions).index_select(1, at::tensor(columns, at::kLong));
  return records;
}

Records read_records(const std::filesystem::path& path) {
  const std::string what = path.string();
  const io::NpzFile file(path);
  const std::string name = data::first_array(file, {"images", "points", "x", "data", "arr_0"});
  if (name.empty())
    throw UserError(fmt::format("{}: holds none of \"images\", \"points\", \"x\", \"data\" and \"arr_0\", but {}", what,
                                fmt::join(file.names(), ", ")));
  Records records{.x = require_samples(file.open(name).read(), fmt::format("{}: {}", what, name)), .name = what};
  records.labels = labels_in(file, what, records.size());
  return records;
}

at::Tensor in_unit(const at::Tensor& x) {
  const at::Tensor numbers = x.to(at::kFloat);
  return x.scalar_type() == at::kByte ? numbers / 255 : numbers;
}

at::Tensor into_model(const at::Tensor& inputs, const model::SampleSpace& space, bool dequantised) {
  if (inputs.sizes().slice(1).vec() != space.shape)
    throw UserError(fmt::format("inputs of shape ({}), where ({}) is expected",
                                fmt::join(inputs.sizes().slice(1), ", "), fmt::join(space.shape, ", ")));
  if (space.kind == model::SampleSpace::Kind::points) return inputs.to(at::kFloat);
  const at::Tensor bytes = inputs.to(at::kFloat);
  return space.from_unit(dequantised ? (bytes + 0.5) / 256 : bytes / 255);
}

}  // namespace igebm::evaluation
