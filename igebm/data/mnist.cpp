#include "igebm/data/mnist.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <utility>

#include "igebm/base/error.h"
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

/// One label for each of `count` pictures.
at::Tensor labels_of(const fs::path& path, std::int64_t count) {
  const at::Tensor labels = read_idx(path);
  if (labels.dim() != 1 || labels.size(0) != count) {
    throw UserError(fmt::format("{}: expected {} labels, one for each picture beside it, got {} in {} dimensions",
                                path.string(), count, labels.numel(), labels.dim()));
  }
  return labels.to(at::kLong);
}

void require_below(const at::Tensor& labels, std::int64_t classes, const fs::path& path) {
  const auto greatest = labels.argmax().item<std::int64_t>();
  if (labels[greatest].item<std::int64_t>() >= classes) {
    throw UserError(fmt::format("{}: label {} where 0 to {} are expected, at offset {} of its data", path.string(),
                                labels[greatest].item<std::int64_t>(), classes - 1, 8 + greatest));
  }
}

Dataset named_files(const fs::path& images, const fs::path& labels, std::vector<std::string> class_names,
                    std::int64_t first_label) {
  Dataset set;
  set.x = pictures(images);
  set.labels = labels_of(labels, set.x.size(0));
  set.classes = static_cast<std::int64_t>(class_names.size());
  set.class_names = std::move(class_names);
  require_below(set.labels, set.classes + first_label, labels);
  if (first_label == 0) return set;
  set.labels -= first_label;
  if (set.labels.min().item<std::int64_t>() < 0)
    throw UserError(fmt::format("{}: label 0 where 1 to {} are expected", labels.string(), set.classes));
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
  set.labels = labels_of(labels, set.x.size(0));
  const at::Tensor training = test ? read_idx(find_idx(folder, labels_name(false), hint)) : set.labels;
  set.classes = training.max().item<std::int64_t>() + 1;
  for (std::int64_t k = 0; k < set.classes; ++k) set.class_names.push_back(std::to_string(k));
  require_below(set.labels, set.classes, labels);
  return set;
}

}  // namespace igebm::data
