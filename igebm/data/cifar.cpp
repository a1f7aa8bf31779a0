#include "igebm/data/cifar.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <fstream>

#include "igebm/base/error.h"
#include "igebm/data/collect.h"
#include "igebm/data/pickle.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t width = 32, pixels = 3 * width * width;

const std::vector<std::string> cifar10_names = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                "dog",      "frog",       "horse", "ship", "truck"};

/// The lines of a file of names, if it is there.
std::vector<std::string> names_in(const fs::path& path) {
  std::vector<std::string> names;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  return names;
}

std::vector<std::string> names_pickled(const fs::path& path, const std::string& key) {
  std::vector<std::string> names;
  if (!fs::exists(path)) return names;
  const auto meta = read_pickle(path);
  if (const auto* list = meta->find(key)) {
    for (const auto& item : list->items) names.push_back(item->text);
  }
  return names;
}

/// `files` all in the binary or all in the Python version.
template <typename Binary, typename Pickled>
Dataset read_files(const Options& options, const std::vector<std::string>& files, std::int64_t classes,
                   std::vector<std::string> names, const Binary& binary, const Pickled& pickled) {
  const fs::path folder = options.path;
  const bool is_binary = fs::exists(folder / (files[0] + ".bin"));
  Collector all(options.count);
  for (const std::string& file : files) {
    if (all.done()) break;
    const fs::path path = folder / (is_binary ? file + ".bin" : file);
    if (!fs::exists(path))
      throw UserError(fmt::format("{}: neither {}.bin nor {} is there", folder.string(), file, file));
    const Records records = is_binary ? binary(path) : pickled(path);
    all.add(records.x, records.labels, path);
  }
  if (static_cast<std::int64_t>(names.size()) != classes) names.clear();
  return all.finish(classes, std::move(names));
}

}  // namespace

Records read_cifar_binary(const fs::path& path, std::int64_t label_bytes, std::int64_t which, std::int64_t classes) {
  const std::int64_t record = label_bytes + pixels;
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path)) throw UserError(fmt::format("{}: cannot be read", path.string()));
  const auto size = static_cast<std::int64_t>(fs::file_size(path));
  const std::int64_t count = size / record;
  if (size == 0 || size % record != 0)
    throw UserError(fmt::format(
        "{}: truncated, or not of this format: {} bytes are {} records of {} bytes, and {} more at offset {}",
        path.string(), size, count, record, size % record, count * record));
  Records records{at::empty({count, 3, width, width}, at::kByte), at::empty({count}, at::kLong)};
  std::vector<char> labels(static_cast<std::size_t>(label_bytes));
  for (std::int64_t i = 0; i < count; ++i) {
    in.read(labels.data(), label_bytes);
    in.read(reinterpret_cast<char*>(records.x.data_ptr<std::uint8_t>()) + i * pixels, pixels);
    if (!in) throw UserError(fmt::format("{}: cannot be read at offset {}", path.string(), i * record));
    const auto label = static_cast<unsigned char>(labels[static_cast<std::size_t>(which)]);
    if (label >= classes)
      throw UserError(fmt::format("{}: label {} at offset {}, where 0 to {} are expected", path.string(), label,
                                  i * record + which, classes - 1));
    records.labels.data_ptr<std::int64_t>()[i] = label;
  }
  return records;
}

Records batch_of_rows(const at::Tensor& data, const at::Tensor& labels, std::int64_t classes, std::int64_t first_label,
                      std::int64_t side, const fs::path& path) {
  const auto fail = [&](const std::string& what) { return UserError(fmt::format("{}: {}", path.string(), what)); };
  if (!data.defined() || data.dim() != 2 || data.scalar_type() != at::kByte)
    throw fail("expected \"data\" as bytes, one row a picture");
  if (data.size(1) != 3 * side * side)
    throw fail(fmt::format("data: expected colour pictures of {}x{} in rows of {} bytes, got rows of {}", side, side,
                           3 * side * side, data.size(1)));
  if (labels.dim() != 1 || labels.size(0) != data.size(0))
    throw fail(fmt::format("{} labels for {} pictures", labels.numel(), data.size(0)));
  return {data.view({-1, 3, side, side}), require_labels(labels, classes, path, first_label) - first_label};
}

Records read_pickled_batch(const fs::path& path, const std::string& labels, std::int64_t classes,
                           std::int64_t first_label, std::int64_t side) {
  const auto batch = read_pickle(path);
  const PickleValue* data = batch->find("data");
  const PickleValue* list = batch->find(labels);
  if (data == nullptr || list == nullptr)
    throw UserError(fmt::format("{}: expected a dict with \"data\" and \"{}\"", path.string(), labels));
  at::Tensor numbers = list->array;
  if (list->kind == PickleValue::Kind::list) {
    std::vector<std::int64_t> values;
    for (const auto& item : list->items) {
      if (item->kind != PickleValue::Kind::integer)
        throw UserError(fmt::format("{}: label {} is no integer", path.string(), values.size()));
      values.push_back(item->integer);
    }
    numbers = at::tensor(values, at::kLong);
  }
  if (!numbers.defined()) throw UserError(fmt::format("{}: \"{}\" is no list of integers", path.string(), labels));
  return batch_of_rows(data->array, numbers, classes, first_label, side, path);
}

Dataset cifar10(const Options& options, bool test) {
  std::vector<std::string> files = {"test_batch"};
  if (!test) files = {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"};
  return read_files(
      options, files, 10, cifar10_names, [](const fs::path& path) { return read_cifar_binary(path, 1, 0, 10); },
      [](const fs::path& path) { return read_pickled_batch(path, "labels", 10); });
}

Dataset cifar100(const Options& options, bool test) {
  const bool coarse = options.variant == "coarse";
  const std::int64_t classes = coarse ? 20 : 100;
  const std::string kind = coarse ? "coarse" : "fine";
  const fs::path folder = options.path;
  std::vector<std::string> names = names_in(folder / (kind + "_label_names.txt"));
  if (names.empty()) names = names_pickled(folder / "meta", kind + "_label_names");
  return read_files(
      options, {test ? "test" : "train"}, classes, names,
      [&](const fs::path& path) { return read_cifar_binary(path, 2, coarse ? 0 : 1, classes); },
      [&](const fs::path& path) { return read_pickled_batch(path, kind + "_labels", classes); });
}

Dataset cifar_records(const Options& options, bool test) {
  const fs::path path = options.path;
  if (!fs::exists(path)) throw UserError(fmt::format("{}: no such file or folder", path.string()));
  const bool one = !fs::is_directory(path);
  if (one && test)
    throw UserError(
        fmt::format("{}: one file has no test split; give a folder with train.bin and test.bin", path.string()));
  const fs::path training = one ? path : path / "train.bin";
  const Records records = read_cifar_binary(test ? path / "test.bin" : training, 1, 0, 256);
  const at::Tensor known =
      test && fs::exists(training) ? read_cifar_binary(training, 1, 0, 256).labels : records.labels;
  const auto classes = known.max().item<std::int64_t>() + 1;
  require_labels(records.labels, classes, path);
  Collector all(0);
  all.add(records.x, records.labels, path);
  return all.finish(classes, {});
}

}  // namespace igebm::data
