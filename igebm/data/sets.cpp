#include <ATen/ATen.h>
#include <fmt/format.h>

#include <limits>
#include <numeric>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/data.h"
#include "igebm/data/idx.h"
#include "igebm/data/synthetic.h"

namespace igebm::data {
namespace {

/// MNIST and what shares its four files (LeCun et al.; Fashion-MNIST: Xiao et al. 2017).
Dataset mnist_like(const Options& options, const char* usual, const char* hint, std::vector<std::string> names,
                   bool test) {
  const std::filesystem::path folder = options.path.empty() ? usual : options.path;
  const std::string part = test ? "t10k" : "train";
  const auto images_path = find_idx(folder, part + "-images-idx3-ubyte", hint),
             labels_path = find_idx(folder, part + "-labels-idx1-ubyte", hint);
  const at::Tensor images = read_idx(images_path), labels = read_idx(labels_path);
  if (images.dim() != 3)
    throw UserError(
        fmt::format("{}: expected images (3 dimensions), got {} dimensions", images_path.string(), images.dim()));
  if (labels.dim() != 1 || labels.size(0) != images.size(0)) {
    throw UserError(fmt::format("{}: expected {} labels, one for each image of {}", labels_path.string(),
                                images.size(0), images_path.string()));
  }
  const auto classes = static_cast<std::int64_t>(names.size());
  if (labels.max().item<std::int64_t>() >= classes) {
    throw UserError(fmt::format("{}: label {} where 0 to {} are expected", labels_path.string(),
                                labels.max().item<std::int64_t>(), classes - 1));
  }
  return {images.unsqueeze(1), labels.to(at::kLong), classes, std::move(names)};
}

Dataset points(const Options& options, bool test, std::uint64_t seed) {
  return synthetic(options.name, options.count > 0 ? options.count : 20000, options.noise, test ? ~seed : seed);
}

}  // namespace

const std::vector<Set>& sets() {
  static const std::vector<Set> all = {
      {"fashion-mnist",
       "70,000 grey 28x28 pictures of clothing, 10 classes (Debian package dataset-fashion-mnist, or IDX files in "
       "data.path)",
       [](const Options& o, bool test, std::uint64_t) {
         return mnist_like(
             o, "/usr/share/datasets/fashion-mnist",
             "install Debian's package dataset-fashion-mnist, or give data.path",
             {"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"}, test);
       }},
      {"mnist", "70,000 grey 28x28 digits, 10 classes (IDX files in data.path)",
       [](const Options& o, bool test, std::uint64_t) {
         return mnist_like(o, "/usr/share/datasets/mnist", "give the folder of MNIST's IDX files as data.path",
                           {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, test);
       }},
      {"two-moons", "2-D: two half circles", points},
      {"eight-gaussians", "2-D: eight clusters on a circle", points},
      {"rings", "2-D: three circles", points},
      {"checkerboard", "2-D: eight squares with sharp edges", points},
      {"swiss-roll", "2-D: a spiral", points},
      {"pinwheel", "2-D: five curved arms", points},
  };
  return all;
}

void describe(io::Fields& f, Options& o) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<std::string> names;
  for (const Set& set : sets()) names.emplace_back(set.name);
  f.field("name", o.name, names, "");
  f.field("path", o.path, {}, "its folder; empty: where it is usually installed");
  f.field("low", o.low, io::Range{-infinity, infinity, true, true}, "what black becomes");
  f.field("high", o.high, io::Range{-infinity, infinity, true, true}, "what white becomes");
  f.field("dequantize", o.dequantize, "(pixel + uniform noise) / 256");
  f.field("flip", o.flip, "mirror each picture with probability 1/2");
  f.field("validation", o.validation, io::Range{0, 1, false, true}, "share of the training records held out");
  f.field("count", o.count, io::Range{0, 1e12}, "of records; 0: all (2-D sets: 20000)");
  f.field("noise", o.noise, io::Range{0, infinity, false, true}, "of 2-D sets");
  if (o.low >= o.high) f.problem("low", "low must be below high");
}

Dataset load(const Options& options, Split split, std::uint64_t seed) {
  const Set* found = nullptr;
  std::vector<std::string> names;
  for (const Set& set : sets()) {
    names.emplace_back(set.name);
    if (options.name == set.name) found = &set;
  }
  if (found == nullptr) {
    const std::string near = io::nearest(options.name, names);
    throw UserError(fmt::format("data.name: unknown data set \"{}\"{}", options.name,
                                near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
  }
  Dataset all = found->read(options, split == Split::test, seed);
  const std::int64_t total = all.x.size(0), used = options.count > 0 ? std::min(options.count, total) : total;
  // Held out: a random choice of the records, the same for every run with this seed.
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < used; ++i) {
    const bool held_out = random_uniform({seed, Purpose::data_order, static_cast<std::uint64_t>(i),
                                          ~std::uint32_t{0}}) < options.validation;
    if (split == Split::test || held_out == (split == Split::validation)) chosen.push_back(i);
  }
  const at::Tensor rows = at::tensor(chosen, at::kLong);
  all.x = all.x.index_select(0, rows);
  if (all.labels.defined()) all.labels = all.labels.index_select(0, rows);
  return all;
}

}  // namespace igebm::data
