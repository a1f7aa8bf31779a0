#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace igebm::data {

/// What a pickle of a data batch is made of.
struct PickleValue {
  enum class Kind { none, boolean, integer, real, text, list, tuple, dict, array, type, name };
  Kind kind = Kind::none;
  std::int64_t integer = 0;  ///< boolean, integer
  double real = 0;
  std::string text;                                 ///< bytes or text in UTF-8; of a type: its code, such as "u1"
  std::vector<std::shared_ptr<PickleValue>> items;  ///< list, tuple
  std::vector<std::pair<std::shared_ptr<PickleValue>, std::shared_ptr<PickleValue>>> pairs;  ///< dict
  at::Tensor array;

  /// The value of a dict under the text or bytes `key`, or nullptr.
  const PickleValue* find(const std::string& key) const;
};

/// Python's pickles as data sets are published in: protocols 2 to 5, of dicts, lists, tuples, numbers, texts, bytes and
/// NumPy arrays and scalars of numbers (Python 2's byte strings too). Nothing is executed: the only names it knows are
/// those that rebuild these. Throws UserError with file and offset where the file is truncated, damaged or holds more.
std::shared_ptr<PickleValue> read_pickle(const std::filesystem::path& path);

}  // namespace igebm::data
