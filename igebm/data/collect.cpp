#include "igebm/data/collect.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "igebm/base/error.h"

namespace igebm::data {

void Collector::add(at::Tensor x, at::Tensor labels, const std::filesystem::path& from) {
  if (!parts_.empty() && x.sizes().slice(1) != parts_[0].sizes().slice(1))
    throw UserError(fmt::format("{}: pictures ({}), where the files before have ({})", from.string(),
                                fmt::join(x.sizes().slice(1), ", "), fmt::join(parts_[0].sizes().slice(1), ", ")));
  records_ += x.size(0);
  parts_.push_back(std::move(x));
  labels_.push_back(std::move(labels));
}

Dataset Collector::finish(std::int64_t classes, std::vector<std::string> class_names) {
  Dataset set;
  set.labels = at::cat(labels_);
  set.classes = classes;
  set.class_names = class_names.empty() ? numbered(classes) : std::move(class_names);
  if (parts_.size() == 1) {
    set.x = std::move(parts_[0]);
    return set;
  }
  std::vector<std::int64_t> shape = parts_.at(0).sizes().vec();
  shape[0] = records_;
  set.x = at::empty(shape, at::kByte);
  std::int64_t done = 0;
  for (at::Tensor& part : parts_) {
    set.x.narrow(0, done, part.size(0)).copy_(part);
    done += part.size(0);
    part.reset();
  }
  return set;
}

at::Tensor require_labels(const at::Tensor& labels, std::int64_t classes, const std::filesystem::path& from,
                          std::int64_t first, std::int64_t offset) {
  const bool real = labels.is_floating_point();
  const at::Tensor values = labels.to(real ? at::kDouble : at::kLong);
  at::Tensor wrong = values.lt(first).logical_or_(values.ge(first + classes));
  if (real) wrong.logical_or_(values.ne(values.floor()));  // NaN too
  wrong = wrong.nonzero();
  if (wrong.size(0) == 0) return values.to(at::kLong);
  const auto record = wrong[0][0].item<std::int64_t>();
  const at::Tensor label = values[record];
  throw UserError(fmt::format("{}: label {} of record {}{}, where {}{} to {} are expected", from.string(),
                              real ? fmt::to_string(label.item<double>()) : fmt::to_string(label.item<std::int64_t>()),
                              record, offset < 0 ? "" : fmt::format(" at offset {}", offset + record),
                              real ? "whole numbers from " : "", first, first + classes - 1));
}

std::vector<std::string> numbered(std::int64_t classes) {
  std::vector<std::string> names;
  for (std::int64_t k = 0; k < classes; ++k) names.push_back(std::to_string(k));
  return names;
}

}  // namespace igebm::data
