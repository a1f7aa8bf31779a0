// Readers of published formats, on small files made here as their publishers make them.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/data/cifar.h"
#include "igebm/data/pickle.h"
#include "igebm/data/svhn.h"
#include "igebm/io/npz.h"
#include "tests/data/files.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

/// One CIFAR record: labels, then planes whose pixels tell record, channel and place.
std::string record(const std::string& labels, int number) {
  std::string bytes = labels;
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 1024; ++i) bytes += static_cast<char>(number * 31 + c * 7 + i);
  }
  return bytes;
}

int pixel(int number, int c, int y, int x) { return (number * 31 + c * 7 + 32 * y + x) % 256; }

class Cifar : public InFolder {};

TEST_F(Cifar, BinaryBatchesWithTheirLabels) {
  for (int i = 1; i <= 5; ++i)
    write(fmt::format("cifar-10-batches-bin/data_batch_{}.bin", i),
          record({static_cast<char>(i)}, i) + record({static_cast<char>(9 - i)}, i + 10));
  write("cifar-10-batches-bin/test_batch.bin", record({'\x07'}, 3));
  const Dataset train = load(in(folder, "cifar10"), Split::train, 0);
  EXPECT_EQ(train.shape(), (std::vector<std::int64_t>{3, 32, 32}));
  EXPECT_TRUE(at::equal(train.labels, at::tensor({1, 8, 2, 7, 3, 6, 4, 5, 5, 4}, at::kLong)));
  EXPECT_EQ((train.x[3][2][5][6].item<int>()), pixel(12, 2, 5, 6));
  EXPECT_EQ(train.class_names[8], "ship");
  const Dataset test = load(in(folder, "cifar10"), Split::test, 0);
  EXPECT_TRUE(at::equal(test.labels, at::tensor({7}, at::kLong)));  // not the training split
  Options three = in(folder, "cifar10");
  three.count = 3;
  EXPECT_EQ(load(three, Split::train, 0).size(), 3);
  three.count = 1;  // of what is trained on
  write("test_batch.bin", record({'\x07'}, 1) + record({'\x02'}, 2));
  EXPECT_EQ(load(three, Split::test, 0).size(), 2);
}

TEST_F(Cifar, DamagedBinaryFilesAreRefusedWithTheOffset) {
  const std::string good = record({'\x01'}, 1) + record({'\x02'}, 2);
  write("test_batch.bin", good.substr(0, good.size() - 5));
  EXPECT_SAYS(load(in(folder, "cifar10"), Split::test, 0), "test_batch.bin: truncated");
  EXPECT_SAYS(load(in(folder, "cifar10"), Split::test, 0), "at offset 3073");
  write("test_batch.bin", record({'\x01'}, 1) + record({'\x0a'}, 2));
  EXPECT_SAYS(load(in(folder, "cifar10"), Split::test, 0), "label 10 at offset 3073, where 0 to 9");
  write("test_batch.bin", "");
  EXPECT_SAYS(load(in(folder, "cifar10"), Split::test, 0), "truncated");
  EXPECT_SAYS(load(in(folder, "cifar10"), Split::train, 0), "data_batch_1");
  EXPECT_SAYS(load(in(folder / "absent", "cifar10"), Split::train, 0), "igebm data fetch cifar10");
}

TEST_F(Cifar, HundredClassesFineAndCoarse) {
  write("train.bin", record({'\x03', '\x63'}, 1) + record({'\x13', '\x00'}, 2));
  write("test.bin", record({'\x00', '\x05'}, 3));
  write("coarse_label_names.txt", "a\nb\n");
  EXPECT_TRUE(at::equal(load(in(folder, "cifar100"), Split::train, 0).labels, at::tensor({99, 0}, at::kLong)));
  const Dataset coarse = load(in(folder, "cifar100", "coarse"), Split::train, 0);
  EXPECT_TRUE(at::equal(coarse.labels, at::tensor({3, 19}, at::kLong)));
  EXPECT_EQ(coarse.classes, 20);
  EXPECT_TRUE(at::equal(load(in(folder, "cifar100"), Split::test, 0).labels, at::tensor({5}, at::kLong)));
  EXPECT_SAYS(load(in(folder, "cifar100", "finer"), Split::test, 0), "\"fine\", \"coarse\"");
  EXPECT_SAYS(load(in(folder, "mnist", "fine"), Split::test, 0), "no variants");
}

TEST_F(Cifar, RecordsOfAnyFile) {
  write("mine.bin", record({'\x04'}, 1) + record({'\x02'}, 2));
  const Dataset set = load(in(folder / "mine.bin", "cifar-records"), Split::train, 0);
  EXPECT_EQ(set.classes, 5);
  EXPECT_EQ(set.size(), 2);
  EXPECT_SAYS(load(in(folder / "mine.bin", "cifar-records"), Split::test, 0), "no test split");
  EXPECT_SAYS(load({.name = "cifar-records"}, Split::train, 0), "data.path");
}

// The opcodes that Python 2's cPickle wrote: byte strings as SHORT_BINSTRING and BINSTRING, memo by BINPUT.
std::string python2_batch(const std::string& labels, const std::string& data, int rows,
                          const std::string& labels_key = "labels") {
  const auto text = [](const std::string& s) { return std::string("U") + static_cast<char>(s.size()) + s + "q\x01"; };
  const auto number = [](int n) {
    return std::string{'J', static_cast<char>(n), static_cast<char>(n >> 8), static_cast<char>(n >> 16), '\0'};
  };
  const auto size = static_cast<int>(data.size());
  return std::string("\x80\x02}q\x01(") + text("batch_label") + text("testing batch 1 of 1") + text(labels_key) +
         "]q\x03(" + labels + "e" + text("data") + "cnumpy.core.multiarray\n_reconstruct\nq\x05" +
         "cnumpy\nndarray\nq\x06" + std::string("K\x00\x85", 3) +
         "U\x01"
         "b\x87Rq\x07(" +
         "K\x01" + number(rows) + number(3072) + "\x86" + "cnumpy\ndtype\nq\x08U\x02u1" + std::string("K\x00", 2) +
         "K\x01\x87Rq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + std::string("K\x00tb", 4) + "\x89T" +
         std::string{static_cast<char>(size), static_cast<char>(size >> 8), static_cast<char>(size >> 16), '\0'} +
         data + "tbu.";
}

TEST_F(Cifar, PicklesOfPython2) {
  const std::string data = record("", 1) + record("", 2);
  write("test_batch", python2_batch("K\x06K\x09", data, 2));
  const Dataset set = load(in(folder, "cifar10"), Split::test, 0);
  EXPECT_TRUE(at::equal(set.labels, at::tensor({6, 9}, at::kLong)));
  EXPECT_EQ((set.x[1][2][5][6].item<int>()), pixel(2, 2, 5, 6));
  const std::string good = read("test_batch");
  for (std::size_t length = 0; length < good.size(); length += length < 400 || length + 20 > good.size() ? 1 : 97) {
    write("test_batch", good.substr(0, length));
    EXPECT_SAYS(load(in(folder, "cifar10"), Split::test, 0), "test_batch: at offset ");
  }
  for (std::size_t i = 0; i < 330; ++i) {  // any change is refused or read, never worse
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x15);
    write("test_batch", bad);
    error_of([&] { load(in(folder, "cifar10"), Split::test, 0); });
  }
  write("test_batch", python2_batch("K\x06K\x0a", data, 2));
  EXPECT_SAYS(load(in(folder, "cifar10"), Split::test, 0), "label 10 of record 1");
  write("test_batch", python2_batch("K\x06", data, 2));
  EXPECT_SAYS(load(in(folder, "cifar10"), Split::test, 0), "1 labels for 2 pictures");
}

TEST_F(Cifar, DamagedFilesOfHundredClassesAreRefusedWithTheOffset) {
  const Options fine = in(folder, "cifar100"), coarse = in(folder, "cifar100", "coarse");
  const std::string good = record({'\x03', '\x63'}, 1) + record({'\x14', '\x64'}, 2);
  write("train.bin", good);
  EXPECT_SAYS(load(fine, Split::train, 0), "train.bin: label 100 at offset 3075, where 0 to 99");
  EXPECT_SAYS(load(coarse, Split::train, 0), "train.bin: label 20 at offset 3074, where 0 to 19");
  write("train.bin", good.substr(0, good.size() - 1));
  EXPECT_SAYS(load(fine, Split::train, 0), "train.bin: truncated");
  EXPECT_SAYS(load(fine, Split::train, 0), "3073 more at offset 3074");
  fs::remove(folder / "train.bin");
  const std::string pickled = python2_batch("K\x06K\x64", record("", 1) + record("", 2), 2, "fine_labels");
  write("train", pickled);
  EXPECT_SAYS(load(fine, Split::train, 0), "train: label 100 of record 1, where 0 to 99");
  EXPECT_SAYS(load(coarse, Split::train, 0), "train: expected a dict with \"data\" and \"coarse_labels\"");
  for (const std::size_t length : {std::size_t{0}, std::size_t{50}, pickled.size() / 2, pickled.size() - 1}) {
    write("train", pickled.substr(0, length));
    EXPECT_SAYS(load(fine, Split::train, 0), "/train: at offset ");
  }
  std::string bad = pickled;
  bad[bad.find("_reconstruct")] = 'x';
  write("train", bad);
  EXPECT_SAYS(load(fine, Split::train, 0), "/train: at offset ");
}

TEST_F(Cifar, PicklesOfPython3InEveryProtocol) {
  if (!has_python()) GTEST_SKIP() << "numpy is not installed";
  for (const char* protocol : {"2", "3", "4", "5"}) {
    ASSERT_EQ(python(std::string("import numpy as np, pickle\nprotocol = ") + protocol +
                     "\nx = np.arange(2 * 3072).astype(np.uint8).reshape(2, 3072)\n"
                     "d = {b'data': x if protocol % 2 else np.asfortranarray(x),\n"
                     "     b'fine_labels': [7, 98], b'coarse_labels': [1, 2], b'filenames': [b'a', b'b']}\n"
                     "pickle.dump(d, open('test', 'wb'), protocol)\n"
                     "pickle.dump({'fine_label_names': ['n%d' % i for i in range(100)]}, open('meta', 'wb'), 2)\n"),
              0);
    const Dataset set = load(in(folder, "cifar100"), Split::test, 0);
    EXPECT_TRUE(at::equal(set.labels, at::tensor({7, 98}, at::kLong))) << protocol;
    EXPECT_EQ((set.x[1][0][0][1].item<int>()), 1) << protocol;
    EXPECT_EQ(set.class_names[98], "n98");
  }
}

// A list made of an array's elements has NumPy's numbers in it.
TEST_F(Cifar, PickledLabelsMayBeNumpysNumbers) {
  if (!has_python()) GTEST_SKIP() << "numpy is not installed";
  for (const char* type : {"int64", "int32", "uint8"}) {
    for (const char* protocol : {"2", "4", "5"}) {
      ASSERT_EQ(python(fmt::format("import numpy as np, pickle\nx = np.zeros((3, 3072), np.uint8)\n"
                                   "d = {{b'data': x, b'labels': list(np.array([7, 0, 9], np.{}))}}\n"
                                   "pickle.dump(d, open('test_batch', 'wb'), {})\n",
                                   type, protocol)),
                0);
      EXPECT_TRUE(at::equal(load(in(folder, "cifar10"), Split::test, 0).labels, at::tensor({7, 0, 9}, at::kLong)))
          << type << protocol;
    }
  }
  ASSERT_EQ(python("import numpy as np, pickle\nx = np.zeros((1, 3072), np.uint8)\n"
                   "b = pickle.dumps({b'data': x, b'labels': [np.int64(4)]}, 2)\n"
                   "open('test_batch', 'wb').write(b.replace(b'numpy._core', b'numpy.core'))\n"),
            0);  // as NumPy before 2 names it
  EXPECT_EQ(load(in(folder, "cifar10"), Split::test, 0).labels.item<int>(), 4);
}

TEST_F(Cifar, APickleNeverCallsAnything) {
  write("test_batch",
        "\x80\x02"
        "cos\nsystem\nU\x10touch /tmp/evil1\x85R.");
  EXPECT_SAYS(load(in(folder, "cifar10"), Split::test, 0), "it would call \"os system\"");
}

class ImageNet : public InFolder {};

TEST_F(ImageNet, DownsampledBatchesPickledAndNpz) {
  if (!has_python()) GTEST_SKIP() << "numpy is not installed";
  ASSERT_EQ(
      python("import numpy as np, pickle\n"
             "for i in range(1, 11):\n"
             "  d = {'data': np.full((2, 3 * 32 * 32), i, np.uint8), 'labels': [i, 1000], 'mean': np.zeros(3072)}\n"
             "  if i % 2: pickle.dump(d, open('train_data_batch_%d' % i, 'wb'))\n"
             "  else: np.savez('train_data_batch_%d.npz' % i, **d)\n"
             "np.savez('val_data.npz', data=np.full((3, 3072), 99, np.uint8), labels=np.array([1, 2, 1001]))\n"),
      0);
  const Dataset train = load(in(folder, "imagenet-32"), Split::train, 0);
  EXPECT_EQ(train.size(), 20);
  EXPECT_EQ(train.labels[18].item<int>(), 9);  // the files count from 1
  EXPECT_EQ(train.labels[19].item<int>(), 999);
  EXPECT_EQ((train.x[18][0][0][0].item<int>()), 10);
  EXPECT_SAYS(load(in(folder, "imagenet-32"), Split::test, 0), "val_data.npz: label 1001 of record 2, where 1 to 1000");
}

TEST_F(ImageNet, BatchesOfAnotherSizeAreRefused) {
  if (!has_python()) GTEST_SKIP() << "numpy is not installed";
  ASSERT_EQ(python("import numpy as np, pickle\n"
                   "def batch(side): return {'data': np.zeros((2, 3 * side * side), np.uint8), 'labels': [1, 2]}\n"
                   "pickle.dump(batch(32), open('train_data_batch_1', 'wb'))\n"
                   "np.savez('train_data_batch_2.npz', **batch(64))\n"
                   "pickle.dump(batch(64), open('val_data', 'wb'))\n"),
            0);
  const std::string other = "data: expected colour pictures of 32x32 in rows of 3072 bytes, got rows of 12288";
  EXPECT_SAYS(load(in(folder, "imagenet-32"), Split::train, 0), "train_data_batch_2.npz: " + other);
  EXPECT_SAYS(load(in(folder, "imagenet-32"), Split::test, 0), "val_data: " + other);
  EXPECT_EQ(load(in(folder, "imagenet-64"), Split::test, 0).shape(), (std::vector<std::int64_t>{3, 64, 64}));
  EXPECT_SAYS(load(in(folder, "imagenet-64"), Split::train, 0),
              "train_data_batch_1: data: expected colour pictures of 64");
}

TEST_F(ImageNet, DamagedBatchesAreRefusedWithTheOffset) {
  if (!has_python()) GTEST_SKIP() << "numpy is not installed";
  ASSERT_EQ(python("import numpy as np, pickle\n"
                   "d = {'data': np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8), 'labels': [1, 2]}\n"
                   "pickle.dump(d, open('train_data_batch_1', 'wb'))\n"
                   "np.savez('val_data.npz', **d)\n"),
            0);
  const auto said = [&](const std::string& name, const std::string& bytes) {
    write(name, bytes);
    return error_of([&] { load(in(folder, "imagenet-32"), name == "val_data.npz" ? Split::test : Split::train, 0); });
  };
  const std::string pickled = read("train_data_batch_1"), npz = read("val_data.npz");
  for (const std::size_t length : {std::size_t{0}, std::size_t{40}, pickled.size() / 2, pickled.size() - 1})
    EXPECT_NE(said("train_data_batch_1", pickled.substr(0, length)).find("train_data_batch_1: at offset "),
              std::string::npos);
  std::string bad = pickled;
  bad[bad.find("_reconstruct")] = 'x';
  EXPECT_NE(said("train_data_batch_1", bad).find("train_data_batch_1: at offset "), std::string::npos);
  for (const std::size_t length : {std::size_t{0}, std::size_t{40}, npz.size() / 2, npz.size() - 1})
    EXPECT_NE(said("val_data.npz", npz.substr(0, length)).find("val_data.npz: "), std::string::npos);
  bad = npz;
  bad[1000] ^= 1;  // a pixel
  EXPECT_NE(said("val_data.npz", bad).find("val_data.npz: data.npy: "), std::string::npos);
  EXPECT_NE(said("val_data.npz", bad).find(" at offset "), std::string::npos);
}

class Svhn : public InFolder {
 protected:
  template <typename T>
  static std::string bytes(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
  }
  static std::string element(std::uint32_t type, const std::string& data) {
    return bytes(type) + bytes(static_cast<std::uint32_t>(data.size())) + data +
           std::string((8 - data.size() % 8) % 8, '\0');
  }
  static std::string matrix(const std::string& name, std::uint32_t type, const std::vector<std::int32_t>& shape,
                            const std::string& data) {
    std::string dimensions;
    for (const auto d : shape) dimensions += bytes(d);
    const std::string short_name =
        bytes(static_cast<std::uint32_t>(1U | name.size() << 16U)) + name + std::string(4 - name.size(), '\0');
    return element(14, element(6, bytes(std::uint64_t{9})) + element(5, dimensions) + short_name + element(type, data));
  }
  static std::string compressed(const std::string& element) {
    std::string out(compressBound(element.size()), '\0');
    uLongf size = out.size();
    compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(element.data()),
             element.size());
    out.resize(size);
    return bytes(std::uint32_t{15}) + bytes(static_cast<std::uint32_t>(size)) + out;
  }
  static std::string header() {
    std::string text = "MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Mon Dec  5 21:09:26 2011";
    text.resize(124, ' ');
    text.append("\x00\x01IM", 4);
    return text;
  }
  /// X (2, 2, 3, N) by columns: value 100 record + 10 channel + 2 row + column.
  static std::string pictures(int count) {
    std::string data;
    for (int n = 0; n < count; ++n) {
      for (int c = 0; c < 3; ++c) {
        for (int x = 0; x < 2; ++x) {
          for (int y = 0; y < 2; ++y) data += static_cast<char>(100 * n + 10 * c + 2 * y + x);
        }
      }
    }
    return matrix("X", 2, {2, 2, 3, count}, data);
  }
};

TEST_F(Svhn, EverySplitIsItsOwnAndTenIsZero) {
  write("train_32x32.mat", header() + compressed(pictures(2)) + compressed(matrix("y", 2, {2, 1}, "\x0a\x03")));
  write("test_32x32.mat", header() + compressed(matrix("y", 9, {1, 1}, bytes(4.0))) + compressed(pictures(1)));
  write("extra_32x32.mat", header() + pictures(1) + matrix("y", 2, {1, 1}, "\x09"));  // not compressed
  const Dataset train = load(in(folder, "svhn"), Split::train, 0), test = load(in(folder, "svhn"), Split::test, 0);
  EXPECT_TRUE(at::equal(train.labels, at::tensor({0, 3}, at::kLong)));
  EXPECT_EQ((train.x[1][2][1][0].item<int>()), 122);
  EXPECT_TRUE(at::equal(test.labels, at::tensor({4}, at::kLong)));
  EXPECT_TRUE(at::equal(load(in(folder, "svhn", "extra"), Split::train, 0).labels, at::tensor({0, 3, 9}, at::kLong)));
}

TEST_F(Svhn, DamagedFilesAreRefused) {
  const std::string good = header() + compressed(pictures(2)) + compressed(matrix("y", 2, {2, 1}, "\x0a\x03"));
  const auto said = [&](const std::string& bytes) {
    write("train_32x32.mat", bytes);
    return error_of([&] { load(in(folder, "svhn"), Split::train, 0); });
  };
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_NE(said(good.substr(0, length)).find("train_32x32.mat: "), std::string::npos) << length;
  for (std::size_t i = 128; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x15);
    said(bad);
  }
  EXPECT_NE(said(good.substr(0, good.size() - 1)).find("offset"), std::string::npos);
  EXPECT_NE(
      said(header() + pictures(2) + matrix("y", 2, {2, 1}, "\x0b\x03")).find("label 11 of record 0, where 1 to 10"),
      std::string::npos);
  EXPECT_NE(
      said(header() + pictures(2) + matrix("y", 9, {2, 1}, bytes(3.0) + bytes(4.5))).find("label 4.5 of record 1"),
      std::string::npos);
  EXPECT_NE(said(header() + pictures(2) + matrix("y", 2, {1, 1}, "\x01")).find("1 labels for 2"), std::string::npos);
  EXPECT_NE(said(header() + pictures(2)).find("no array \"y\""), std::string::npos);
}

class Emnist : public InFolder {
 protected:
  static std::string idx(const std::vector<int>& shape, const std::string& data) {
    std::string out{'\0', '\0', '\x08', static_cast<char>(shape.size())};
    for (const int d : shape) out += {'\0', '\0', '\0', static_cast<char>(d)};
    return out + data;
  }
};

TEST_F(Emnist, UprightWithItsOwnClasses) {
  write("gzip/emnist-letters-train-images-idx3-ubyte", idx({1, 2, 2}, "abcd"));
  write("gzip/emnist-letters-train-labels-idx1-ubyte", idx({1}, "\x1a"));
  write("gzip/emnist-balanced-test-images-idx3-ubyte", idx({1, 2, 2}, "abcd"));
  write("gzip/emnist-balanced-test-labels-idx1-ubyte", idx({1}, "\x2e"));
  const Dataset letters = load(in(folder, "emnist", "letters"), Split::train, 0);
  EXPECT_EQ(letters.classes, 26);
  EXPECT_EQ(letters.class_names[static_cast<std::size_t>(letters.labels[0].item<std::int64_t>())], "Z");
  EXPECT_EQ((letters.x[0][0][0][1].item<int>()), 'c');
  const Dataset balanced = load(in(folder, "emnist"), Split::test, 0);
  EXPECT_EQ(balanced.classes, 47);
  EXPECT_EQ(balanced.class_names[46], "t");
  EXPECT_SAYS(load(in(folder, "emnist"), Split::train, 0), "emnist-balanced-train-images-idx3-ubyte");
}

TEST_F(Emnist, DamagedFilesAreRefusedWithTheOffset) {
  const std::string pictures = "emnist-letters-train-images-idx3-ubyte",
                    labels = "emnist-letters-train-labels-idx1-ubyte";
  const auto letters = [&] { load(in(folder, "emnist", "letters"), Split::train, 0); };
  write(pictures, idx({2, 2, 2}, "abcdefgh"));
  write(labels, idx({2}, std::string("\x01\x00", 2)));
  EXPECT_SAYS(letters(), labels + ": label 0 of record 1 at offset 9, where 1 to 26 are expected");
  write(labels, idx({2}, "\x1b\x01"));
  EXPECT_SAYS(letters(), labels + ": label 27 of record 0 at offset 8, where 1 to 26 are expected");
  write(labels, idx({2}, "\x01"));
  EXPECT_SAYS(letters(), labels + ": truncated at offset 9: expected 2 bytes of data, got 1");
  write(pictures, idx({2, 2, 2}, "abcdefg"));
  EXPECT_SAYS(letters(), pictures + ": truncated at offset 23: expected 8 bytes of data, got 7");
  std::string floats = idx({2, 2, 2}, "abcdefgh");
  floats[2] = '\x0d';
  write(pictures, floats);
  EXPECT_SAYS(letters(), pictures + ": not an IDX file");
  write(pictures + ".gz", std::string("\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff\xff", 14));
  EXPECT_SAYS(letters(), pictures + ".gz: damaged gzip data at offset 0: ");
}

class Npz : public InFolder {};

TEST_F(Npz, PicturesPointsLabelsAndConditions) {
  const auto bytes = at::arange(24).to(at::kByte);
  io::write_npz(folder / "a.npz", {{"x_train", bytes.view({2, 2, 2, 3})},
                                   {"y_train", at::tensor({0, 4}, at::kLong)},
                                   {"x_test", bytes.view({2, 2, 2, 3}).slice(0, 1)},
                                   {"y_test", at::tensor({3}, at::kLong)}});
  const Dataset train = load(in(folder / "a.npz", "npz"), Split::train, 0),
                test = load(in(folder / "a.npz", "npz"), Split::test, 0);
  EXPECT_EQ(train.shape(), (std::vector<std::int64_t>{3, 2, 2}));
  EXPECT_EQ((train.x[0][1][0][1].item<int>()), 4);
  EXPECT_EQ(test.size(), 1);
  EXPECT_EQ(test.classes, 5);
  io::write_npz(folder / "b.npz", {{"images", at::tensor({0.0F, 0.5F, 1.0F, 0.25F}).view({1, 1, 2, 2})},
                                   {"conditions", at::ones({1, 2})}});
  const Dataset floats = load(in(folder / "b.npz", "npz"), Split::train, 0);
  EXPECT_EQ((floats.x[0][0][0][1].item<int>()), 128);
  EXPECT_EQ(Batches(floats, {}, 0).at(0, 1).conditions.sizes(), (std::vector<std::int64_t>{1, 2}));
  EXPECT_SAYS(load(in(folder / "b.npz", "npz"), Split::test, 0), "no test split");
  io::write_npz(folder / "c.npz", {{"points", at::zeros({5, 7}, at::kDouble)}, {"labels", at::zeros({4}, at::kLong)}});
  EXPECT_SAYS(load(in(folder / "c.npz", "npz"), Split::train, 0), "labels: shape (4), for 5");
  io::write_npz(folder / "d.npz", {{"images", at::full({1, 1, 2, 2}, 1.5)}});
  EXPECT_SAYS(load(in(folder / "d.npz", "npz"), Split::train, 0), "picture 0 has values outside [0, 1]");
  io::write_npz(folder / "e.npz", {{"other", at::ones({3})}});
  EXPECT_SAYS(load(in(folder / "e.npz", "npz"), Split::train, 0), "it has other");
}

TEST_F(Npz, HalvesAndASingleArray) {
  io::write_npz(folder / "half.npz", {{"x", at::arange(256).div(255).to(at::kHalf).view({1, 1, 16, 16})}});
  EXPECT_TRUE(
      at::equal(load(in(folder / "half.npz", "npz"), Split::train, 0).x.flatten(), at::arange(256).to(at::kByte)));
  if (!has_python()) GTEST_SKIP() << "numpy is not installed";
  ASSERT_EQ(python("import numpy as np; np.save('p.npy', np.arange(10.).reshape(5, 2))"), 0);
  EXPECT_EQ((load(in(folder / "p.npy", "npz"), Split::train, 0).x[4][1].item<float>()), 9);
}

TEST_F(Npz, LabelsAreWholeNumbersInRange) {
  const at::Tensor x = at::zeros({2, 2, 2}, at::kByte);
  const auto says = [&](const at::Tensor& labels) {
    io::write_npz(folder / "a.npz", {{"images", x}, {"labels", labels}});
    return error_of([&] { load(in(folder / "a.npz", "npz"), Split::train, 0); });
  };
  const std::string what = (folder / "a.npz").string() + ": labels: label ";
  EXPECT_EQ(says(at::tensor({1, 65535}, at::kLong)), "no error");
  EXPECT_EQ(says(at::tensor({1.0, 3.0}, at::kDouble)), "no error");
  EXPECT_EQ(says(at::tensor({std::int64_t{1}, std::int64_t{5000000000}})),
            what + "5000000000 of record 1, where 0 to 65535 are expected");
  EXPECT_EQ(says(at::tensor({-1, 1}, at::kInt)), what + "-1 of record 0, where 0 to 65535 are expected");
  for (const double bad : {0.5, -2.0, std::nan(""), 5e9, HUGE_VAL})
    EXPECT_EQ(says(at::tensor({1.0, bad}, at::kDouble)),
              what + fmt::format("{} of record 1, where whole numbers from 0 to 65535 are expected", bad));
  io::write_npz(folder / "b.npz", {{"x_train", x},
                                   {"y_train", at::tensor({1.0, 0.5}, at::kDouble)},
                                   {"x_test", x},
                                   {"y_test", at::tensor({0, 2}, at::kLong)}});
  EXPECT_SAYS(load(in(folder / "b.npz", "npz"), Split::test, 0), "b.npz: y_train: label 0.5 of record 1");
}

// Real files, where a folder of them is named.
TEST(RealData, Cifar10) {
  const char* place = std::getenv("IGEBM_DATA");
  if (place == nullptr || !fs::exists(fs::path(place) / "cifar10/data_batch_5.bin"))
    GTEST_SKIP() << "IGEBM_DATA names no folder with cifar10";
  const Dataset set = load({.name = "cifar10", .validation = 0}, Split::train, 0);
  EXPECT_EQ(set.size(), 50000);
  EXPECT_TRUE(at::equal(at::bincount(set.labels), at::full({10}, 5000, at::kLong)));
  // The known means of the training set.
  const at::Tensor mean = set.x.slice(0, 0, 50000, 5).to(at::kFloat).mean({0, 2, 3}).div(255);
  EXPECT_LT((mean - at::tensor({0.4914F, 0.4822F, 0.4465F})).abs().max().item<double>(), 0.004);
}

}  // namespace
}  // namespace igebm::data
