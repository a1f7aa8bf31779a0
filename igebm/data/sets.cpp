#include "igebm/data/data.h"
#include "igebm/data/mnist.h"
#include "igebm/data/synthetic.h"

namespace igebm::data {
namespace {

Dataset fashion_mnist(const Options& options, bool test, std::uint64_t /*seed*/) {
  return mnist_files(options, test, "/usr/share/datasets/fashion-mnist",
                     "install Debian's package dataset-fashion-mnist, or give the files' folder as data.path",
                     {"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"});
}

Dataset mnist(const Options& options, bool test, std::uint64_t /*seed*/) {
  return mnist_files(options, test, "/usr/share/datasets/mnist", "give the folder of MNIST's IDX files as data.path",
                     {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
}

Dataset idx(const Options& options, bool test, std::uint64_t /*seed*/) { return idx_files(options, test); }

// Test points are further records of the same stream, far from any that training uses.
Dataset points(const Options& options, bool test, std::uint64_t seed) {
  return synthetic(options.name, options.count > 0 ? options.count : 20000, options.noise, seed,
                   test ? std::int64_t{1} << 40 : 0);
}

}  // namespace

const std::vector<Set>& sets() {
  static const std::vector<Set> all = {
      {"fashion-mnist", "70,000 grey 28x28 pictures of clothing, 10 classes (Debian's package dataset-fashion-mnist)",
       fashion_mnist},
      {"mnist", "70,000 grey 28x28 digits, 10 classes (IDX files in data.path)", mnist},
      {"idx", "pictures of any size in IDX files named like MNIST's, in data.path", idx},
      {"two-moons", "2-D: two half circles", points},
      {"eight-gaussians", "2-D: eight clusters on a circle", points},
      {"rings", "2-D: three circles", points},
      {"checkerboard", "2-D: eight squares with sharp edges", points},
      {"swiss-roll", "2-D: a spiral", points},
      {"pinwheel", "2-D: five curved arms", points},
  };
  return all;
}

}  // namespace igebm::data
