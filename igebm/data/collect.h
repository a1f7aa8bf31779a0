#pragma once

#include <filesystem>

#include "igebm/data/data.h"

namespace igebm::data {

/// Joins the files of a set, with no more memory than the whole and one file.
class Collector {
 public:
  /// Done once `count` records are there; 0: never.
  explicit Collector(std::int64_t count) : wanted_(count) {}
  bool done() const { return wanted_ > 0 && records_ >= wanted_; }
  /// x uint8 (N, C, H, W); labels (N) int64. Throws UserError where a file's pictures differ from those before.
  void add(at::Tensor x, at::Tensor labels, const std::filesystem::path& from);
  /// Classes named, or numbered where `class_names` is empty.
  Dataset finish(std::int64_t classes, std::vector<std::string> class_names);

 private:
  std::int64_t wanted_, records_ = 0;
  std::vector<at::Tensor> parts_, labels_;
};

/// `labels`, of any type, as int64. Throws UserError with the record where one is no whole number in
/// [first, first + classes), and with its offset where `offset`, that of the first label as a byte, is known.
at::Tensor require_labels(const at::Tensor& labels, std::int64_t classes, const std::filesystem::path& from,
                          std::int64_t first = 0, std::int64_t offset = -1);

/// "0", "1", ...
std::vector<std::string> numbered(std::int64_t classes);

}  // namespace igebm::data
