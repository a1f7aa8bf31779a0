#include "igebm/data/imagenet.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/data/cifar.h"
#include "igebm/data/collect.h"
#include "igebm/io/npz.h"

namespace igebm::data {

namespace fs = std::filesystem;

Dataset imagenet_batches(const Options& options, bool test) {
  const fs::path folder = options.path;
  const std::int64_t side = options.name == "imagenet-64" ? 64 : 32;
  std::vector<std::string> files;
  if (test) files.emplace_back("val_data");
  for (int i = 1; i <= 10 && !test; ++i) files.push_back(fmt::format("train_data_batch_{}", i));
  Collector all(options.count);
  for (const std::string& file : files) {
    if (all.done()) break;
    const fs::path path = find_file(find_set(options.name), folder, file);
    if (path.empty()) throw UserError(fmt::format("{}: neither {} nor {}.npz is there", folder.string(), file, file));
    Records records;
    if (path.extension() == ".npz") {
      const io::NpzFile arrays(path);
      records = batch_of_rows(arrays.open("data").read(), arrays.open("labels").read(), 1000, 1, side, path);
    } else {
      records = read_pickled_batch(path, "labels", 1000, 1, side);
    }
    all.add(records.x, records.labels, path);
  }
  return all.finish(1000, {});
}

}  // namespace igebm::data
