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
  const auto greatest = labels.max().item<std::int64_t>();
  if (greatest >= classes) {
    throw UserError(fmt::format("{}: label {} where 0 to {} are expected", path.string(), greatest, classes - 1));
  }
}

}  // namespace

Dataset mnist_files(const Options& options, bool test, const char* usual, const char* hint,
                    std::vector<std::string> class_names) {
  const fs::path folder = options.path.empty() ? usual : options.path;
  const fs::path images = find_idx(folder, fmt::format("{}-images-idx3-ubyte", part(test)), hint);
  const fs::path labels = find_idx(folder, fmt::format("{}-labels-idx1-ubyte", part(test)), hint);
  Dataset set;
  set.x = pictures(images);
  set.labels = labels_of(labels, set.x.size(0));
  set.classes = static_cast<std::int64_t>(class_names.size());
  set.class_names = std::move(class_names);
  require_below(set.labels, set.classes, labels);
  return set;
}

Dataset idx_files(const Options& options, bool test) {
  if (options.path.empty()) throw UserError("data.path: expected the folder of the IDX files, as data.name is \"idx\"");
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
