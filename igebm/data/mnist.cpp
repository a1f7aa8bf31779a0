#include "igebm/data/mnist.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <utility>

#include "igebm/base/error.h"
#include "igebm/data/collect.h"
#include "igebm/data/idx.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

const char* part(bool test) { return test ? "t10k" : "train"; }

at::Tensor pictures(const fs::path& path) {
  const at::Tensor x = read_idx(path);
  if (x.dim() == 3) return x.unsqueeze(1);
  if (x.dim() == 4) return x;
  throw UserError(
      fmt::format("{}: expected pictures (3 dimensions, or 4 with channels), got {}", path.string(), x.dim()));
}

/// One label, as stored, for each of `count` pictures.
at::Tensor labels_of(const fs::path& path, std::int64_t count) {
  const at::Tensor labels = read_idx(path);
  if (labels.dim() != 1 || labels.size(0) != count) {
    throw UserError(fmt::format("{}: expected {} labels, one for each picture beside it, got {} in {} dimensions",
                                path.string(), count, labels.numel(), labels.dim()));
  }
  return labels;
}

constexpr std::int64_t labels_at = 8;  // their offset in a file

Dataset named_files(const fs::path& images, const fs::path& labels, std::vector<std::string> class_names,
                    std::int64_t first_label) {
  Dataset set;
  set.x = pictures(images);
  set.classes = static_cast<std::int64_t>(class_names.size());
  set.class_names = std::move(class_names);
  set.labels = require_labels(labels_of(labels, set.x.size(0)), set.classes, labels, first_label, labels_at);
  if (first_label != 0) set.labels -= first_label;
  return set;
}

const char* incomplete = "the set is not whole";

}  // namespace

Dataset mnist_files(const Options& options, bool test, std::vector<std::string> class_names) {
  return named_files(find_idx(options.path, fmt::format("{}-images-idx3-ubyte", part(test)), incomplete),
                     find_idx(options.path, fmt::format("{}-labels-idx1-ubyte", part(test)), incomplete),
                     std::move(class_names), 0);
}

Dataset emnist(const Options& options, bool test) {
  const std::string& kind = options.variant;
  const bool digits = kind != "letters", letters = kind != "digits" && kind != "mnist";
  std::vector<std::string> names;
  for (char c = '0'; c <= '9' && digits; ++c) names.emplace_back(1, c);
  for (char c = 'A'; c <= 'Z' && letters; ++c) names.emplace_back(1, c);
  // Where small letters look like capitals, "balanced" and "bymerge" have them as one class.
  const std::string small = kind == "byclass"                         ? "abcdefghijklmnopqrstuvwxyz"
                            : kind == "balanced" || kind == "bymerge" ? "abdefghnqrt"
                                                                      : "";
  for (const char c : small) names.emplace_back(1, c);
  const auto file = [&](const char* what) {
    return find_idx(options.path, fmt::format("emnist-{}-{}-{}-ubyte", kind, test ? "test" : "train", what),
                    incomplete);
  };
  const auto images = file("images-idx3"), labels = file("labels-idx1");  // in this order: the first missing is named
  Dataset set = named_files(images, labels, std::move(names), kind == "letters" ? 1 : 0);
  set.x = set.x.transpose(2, 3).contiguous();
  return set;
}

Dataset idx_files(const Options& options, bool test) {
  const fs::path folder = options.path;
  const auto labels_name = [](bool of_test) { return fmt::format("{}-labels-idx1-ubyte", part(of_test)); };
  const char* hint = "data.name = \"idx\" expects files named like MNIST's in data.path";
  Dataset set;
  set.x = pictures(find_idx(folder, fmt::format("{}-images-idx3-ubyte", part(test)), hint));
  if (!has_idx(folder, labels_name(test))) return set;
  const fs::path labels = find_idx(folder, labels_name(test), hint);
  const at::Tensor own = labels_of(labels, set.x.size(0));
  set.classes = (test ? read_idx(find_idx(folder, labels_name(false), hint)) : own).max().item<std::int64_t>() + 1;
  set.class_names = numbered(set.classes);
  set.labels = require_labels(own, set.classes, labels, 0, labels_at);
  return set;
}

}  // namespace igebm::data
