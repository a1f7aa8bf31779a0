#include <fmt/format.h>

#include <utility>

#include "igebm/base/error.h"
#include "igebm/data/cifar.h"
#include "igebm/data/data.h"
#include "igebm/data/dsprites.h"
#include "igebm/data/folder.h"
#include "igebm/data/imagenet.h"
#include "igebm/data/mnist.h"
#include "igebm/data/npz_set.h"
#include "igebm/data/svhn.h"
#include "igebm/data/synthetic.h"

namespace igebm::data {
namespace {

using Seed = std::uint64_t;

const std::vector<std::string> mnist_names = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                              "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
const char* mnist_needs = "{train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz";

Dataset fashion_mnist(const Options& options, bool test, Seed) {
  return mnist_files(options, test,
                     {"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"});
}

Dataset mnist(const Options& options, bool test, Seed) {
  return mnist_files(options, test, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
}

// Test points are further records of the same stream, far from any that training uses.
Dataset points(const Options& options, bool test, Seed seed) {
  return synthetic(options.name, options.count > 0 ? options.count : usual_count, options.noise, seed,
                   test ? std::int64_t{1} << 40 : 0);
}

/// Loaders that need no random numbers.
template <Dataset (*loader)(const Options&, bool)>
Dataset plain(const Options& options, bool test, Seed) {
  return loader(options, test);
}

const std::vector<std::string> emnist_variants = {"balanced", "byclass", "bymerge", "digits", "letters", "mnist"};

/// The files of each variant.
std::vector<std::vector<std::string>> emnist_files() {
  std::vector<std::vector<std::string>> files;
  for (const auto& kind : emnist_variants) {
    auto& variant = files.emplace_back();
    for (const char* part : {"train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1"})
      variant.push_back(fmt::format("emnist-{}-{}-ubyte", kind, part));
  }
  return files;
}

std::vector<std::string> emnist_members() {
  std::vector<std::string> members;
  for (const auto& variant : emnist_files()) {
    for (const auto& file : variant) members.push_back(file + ".gz");
  }
  return members;
}

/// {prefix}1 to {prefix}count and `last`, each with `ending`.
std::vector<std::string> numbered_files(const char* prefix, int count, const char* last, const char* ending) {
  std::vector<std::string> files;
  for (int i = 1; i <= count; ++i) files.push_back(fmt::format("{}{}{}", prefix, i, ending));
  files.push_back(fmt::format("{}{}", last, ending));
  return files;
}

// Sizes and SHA-256 as TensorFlow Datasets records them; dSprites' MD5 as several users of it do.
const std::vector<Source> mnist_sources = {
    {"https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz", "train-images-idx3-ubyte.gz", 9912422,
     "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
    {"https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz", "train-labels-idx1-ubyte.gz", 28881,
     "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
    {"https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz", 1648877,
     "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
    {"https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz", 4542,
     "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"}};
const std::vector<Source> fashion_sources = {
    {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
     "train-images-idx3-ubyte.gz", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"},
    {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
     "train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"},
    {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",
     "t10k-images-idx3-ubyte.gz", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"},
    {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",
     "t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"}};
const std::vector<Source> emnist_sources = {
    {"https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip", "gzip.zip", 561753746,
     "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e", emnist_members()}};
const std::vector<Source> cifar10_sources = {{"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                                              "cifar-10-binary.tar.gz",
                                              170052171,
                                              "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                                              {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                               "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"}}};
const std::vector<Source> cifar100_sources = {
    {"https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
     "cifar-100-binary.tar.gz",
     168513733,
     "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
     {"train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"}}};
const std::vector<Source> svhn_sources = {
    {"http://ufldl.stanford.edu/housenumbers/train_32x32.mat", "train_32x32.mat", 182040794,
     "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"},
    {"http://ufldl.stanford.edu/housenumbers/test_32x32.mat", "test_32x32.mat", 64275384,
     "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"},
    {"http://ufldl.stanford.edu/housenumbers/extra_32x32.mat",
     "extra_32x32.mat",
     1329278602,
     "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
     {},
     "extra"}};
const std::vector<Source> dsprites_sources = {
    {"https://github.com/google-deepmind/dsprites-dataset/raw/master/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
     "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", 0, "7da33b31b13a06f4b04a70402ce90c2e"}};

std::deque<Set>& table() {
  static std::deque<Set> all = {
      {.name = "fashion-mnist",
       .about = "70,000 grey 28x28 pictures of clothing, 10 classes",
       .read = fashion_mnist,
       .licence = "MIT",
       .files = {mnist_names},
       .subfolders = {"FashionMNIST/raw"},
       .needs = mnist_needs,
       .hint = "install Debian's package dataset-fashion-mnist, run igebm data fetch fashion-mnist",
       .usual = "/usr/share/datasets/fashion-mnist",
       .sources = fashion_sources,
       .page = "https://github.com/zalandoresearch/fashion-mnist"},
      {.name = "mnist",
       .about = "70,000 grey 28x28 digits, 10 classes",
       .read = mnist,
       .licence = "CC BY-SA 3.0",
       .files = {mnist_names},
       .subfolders = {"MNIST/raw"},
       .needs = mnist_needs,
       .hint = "run igebm data fetch mnist",
       .usual = "/usr/share/datasets/mnist",
       .sources = mnist_sources,
       .page = "http://yann.lecun.com/exdb/mnist"},
      {.name = "emnist",
       .about = "grey 28x28 digits and letters in six sets, the largest of 814,255",
       .read = plain<emnist>,
       .licence = "none stated; of NIST's Special Database 19",
       .files = emnist_files(),
       .subfolders = {"gzip", "EMNIST/raw"},
       .needs = "emnist-VARIANT-{train,test}-{images-idx3,labels-idx1}-ubyte, plain or .gz",
       .hint = "run igebm data fetch emnist",
       .variants = emnist_variants,
       .sources = emnist_sources,
       .page = "https://www.nist.gov/itl/products-and-services/emnist-dataset"},
      {.name = "cifar10",
       .about = "60,000 colour 32x32 pictures, 10 classes",
       .read = plain<cifar10>,
       .licence = "none stated; cite Krizhevsky 2009",
       .files = {numbered_files("data_batch_", 5, "test_batch", ".bin"),
                 numbered_files("data_batch_", 5, "test_batch", "")},
       .subfolders = {"cifar-10-batches-bin", "cifar-10-batches-py"},
       .needs = "data_batch_1..5.bin and test_batch.bin, or the Python version's data_batch_1..5 and test_batch",
       .hint = "run igebm data fetch cifar10",
       .sources = cifar10_sources,
       .page = "https://www.cs.toronto.edu/~kriz/cifar.html"},
      {.name = "cifar100",
       .about = "60,000 colour 32x32 pictures, 100 classes (coarse: 20)",
       .read = plain<cifar100>,
       .licence = "none stated; cite Krizhevsky 2009",
       .files = {{"train.bin", "test.bin"}, {"train", "test"}},
       .subfolders = {"cifar-100-binary", "cifar-100-python"},
       .needs = "train.bin and test.bin, or the Python version's train and test",
       .hint = "run igebm data fetch cifar100",
       .variants = {"fine", "coarse"},
       .sources = cifar100_sources,
       .page = "https://www.cs.toronto.edu/~kriz/cifar.html"},
      {.name = "svhn",
       .about = "99,289 colour 32x32 house numbers, 10 classes (extra: 531,131 more)",
       .read = plain<svhn>,
       .licence = "non-commercial use",
       .files = {{"train_32x32.mat", "test_32x32.mat"}},
       .needs = "train_32x32.mat and test_32x32.mat; for the variant extra also extra_32x32.mat",
       .hint = "run igebm data fetch svhn",
       .variants = {"standard", "extra"},
       .sources = svhn_sources,
       .page = "http://ufldl.stanford.edu/housenumbers"},
      {.name = "imagenet-32",
       .about = "1,331,167 colour 32x32 pictures, 1,000 classes",
       .read = plain<imagenet_batches>,
       .licence = "non-commercial research, after registration",
       .files = {numbered_files("train_data_batch_", 10, "val_data", "")},
       .endings = {"", ".npz"},
       .subfolders = {"Imagenet32_train_npz", "Imagenet32_val_npz", "Imagenet32_train", "Imagenet32_val"},
       .needs = "train_data_batch_1..10 and val_data, pickled or .npz",
       .hint = "see igebm data fetch imagenet-32",
       .page = "https://image-net.org/download-images"},
      {.name = "imagenet-64",
       .about = "the same at 64x64",
       .read = plain<imagenet_batches>,
       .licence = "non-commercial research, after registration",
       .files = {numbered_files("train_data_batch_", 10, "val_data", "")},
       .endings = {"", ".npz"},
       .subfolders = {"Imagenet64_train_part1_npz", "Imagenet64_train_part2_npz", "Imagenet64_val_npz",
                      "Imagenet64_train_part1", "Imagenet64_train_part2", "Imagenet64_val"},
       .needs = "train_data_batch_1..10 and val_data, pickled or .npz",
       .hint = "see igebm data fetch imagenet-64",
       .page = "https://image-net.org/download-images"},
      {.name = "imagenet",
       .about = "1,331,167 colour pictures, 1,000 classes; set data.size, such as 128",
       .read = plain<image_folder>,
       .licence = "non-commercial research, after registration",
       .files = {{"train", "val"}},
       .needs = "train/WNID/*.JPEG and val/WNID/*.JPEG",
       .hint = "see igebm data fetch imagenet",
       .page = "https://image-net.org/download-images"},
      {.name = "dsprites",
       .about = "737,280 white shapes 64x64, black ground, with their factors",
       .read = dsprites,
       .licence = "Apache-2.0",
       .files = {{"dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"}},
       .needs = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
       .hint = "run igebm data fetch dsprites, or use dsprites-drawn, which needs no file",
       .sources = dsprites_sources,
       .page = "https://github.com/google-deepmind/dsprites-dataset"},
      {.name = "dsprites-drawn",
       .about = "the same factors in shapes drawn by igebm; needs no file",
       .read = dsprites_drawn,
       .licence = "MIT, as igebm"},
      {.name = "image-folder",
       .about = "folders of pictures, with classes or without; set data.size",
       .read = plain<image_folder>,
       .needs = "a folder with train/CLASS/*.png and test/CLASS/*.png (or val), with CLASS/*.png, or with *.png",
       .given = true},
      {.name = "npz",
       .about = "pictures or points in a NumPy file",
       .read = plain<npz_arrays>,
       .needs = "an .npz file with x_train, y_train, x_test, y_test, or images and labels; or a .npy",
       .given = true},
      {.name = "cifar-records",
       .about = "colour 32x32 pictures in CIFAR-10's binary format",
       .read = plain<cifar_records>,
       .needs = "a file of records, or a folder with train.bin and test.bin",
       .given = true},
      {.name = "idx",
       .about = "pictures of any size in IDX files",
       .read = plain<idx_files>,
       .needs = "a folder of IDX files named like MNIST's",
       .given = true},
      {.name = "two-moons", .about = "2-D: two half circles", .read = points},
      {.name = "eight-gaussians", .about = "2-D: eight clusters on a circle", .read = points},
      {.name = "rings", .about = "2-D: three circles", .read = points},
      {.name = "checkerboard", .about = "2-D: eight squares with sharp edges", .read = points},
      {.name = "swiss-roll", .about = "2-D: a spiral", .read = points},
      {.name = "pinwheel", .about = "2-D: five curved arms", .read = points},
  };
  return all;
}

}  // namespace

const std::deque<Set>& sets() { return table(); }

void register_set(Set set) {
  for (const Set& known : table()) {
    if (std::string(known.name) == set.name)
      throw UserError(fmt::format("a data set \"{}\" is known already", set.name));
  }
  table().push_back(std::move(set));
}

}  // namespace igebm::data
