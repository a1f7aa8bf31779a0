#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in options.path, from the binary version (data_batch_1..5.bin,
/// test_batch.bin; train.bin, test.bin) or the Python version (the same names without .bin; train, test).
/// CIFAR-100's variant "coarse" has its 20 groups of classes as labels.
Dataset cifar10(const Options& options, bool test);
Dataset cifar100(const Options& options, bool test);

/// Records as in CIFAR-10's binary version, one label byte and 3 x 32 x 32 pixel bytes, in the file options.path, or in
/// train.bin and test.bin in that folder. As many classes as the labels of training say. One file has no test split.
Dataset cifar_records(const Options& options, bool test);

/// Records of `label_bytes` labels, of which number `which` is used, and 3072 pixels. Throws UserError with file and
/// offset: a record that is not whole; a label not below `classes`.
struct Records {
  at::Tensor x, labels;
};
Records read_cifar_binary(const std::filesystem::path& path, std::int64_t label_bytes, std::int64_t which,
                          std::int64_t classes);

/// A pickled batch: "data" uint8 (N, 3 * side * side) and the list `labels`, each at least `first_label`.
Records read_pickled_batch(const std::filesystem::path& path, const std::string& labels, std::int64_t classes,
                           std::int64_t first_label = 0, std::int64_t side = 32);

/// The same two from any source: checks that they fit together and makes pictures of the rows.
Records batch_of_rows(const at::Tensor& data, const at::Tensor& labels, std::int64_t classes, std::int64_t first_label,
                      std::int64_t side, const std::filesystem::path& path);

}  // namespace igebm::data
