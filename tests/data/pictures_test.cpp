// Picture files and folders of them, resizing, augmentation.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/data/augment.h"
#include "igebm/data/folder.h"
#include "igebm/data/resize.h"
#include "igebm/io/picture.h"
#include "tests/data/files.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

class Folders : public InFolder {
 protected:
  void picture(const std::string& name, int h, int w, int value, int channels = 3) const {
    write(name, io::encode_png(at::full({h, w, channels}, value, at::kByte)));
  }
  Options options(std::int64_t size) const {
    return {.name = "image-folder", .path = folder, .size = size, .validation = 0};
  }
};

TEST_F(Folders, SplitsAndClassesByName) {
  picture("train/dog/b.png", 6, 8, 10);
  picture("train/cat/more/a.PNG", 9, 6, 20, 1);
  picture("train/cat/z.png", 6, 6, 30);
  write("train/cat/notes.txt", "no picture");
  picture("val/dog/x.png", 6, 6, 40);
  const Dataset train = load(options(6), Split::train, 0);
  EXPECT_EQ(train.class_names, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_TRUE(at::equal(train.labels, at::tensor({0, 0, 1}, at::kLong)));
  EXPECT_TRUE(at::equal(train.x.select(1, 2).select(1, 0).select(1, 0), at::tensor({20, 30, 10}, at::kByte)));
  const Dataset test = load(options(6), Split::test, 0);
  EXPECT_TRUE(at::equal(test.labels, at::tensor({1}, at::kLong)));
  EXPECT_EQ((test.x[0][0][0][0].item<int>()), 40);
  picture("val/horse/x.png", 6, 6, 40);
  EXPECT_SAYS(load(options(6), Split::test, 0), "horse: no such class");
  EXPECT_SAYS(load(options(0), Split::train, 0), "z.png: 6 x 6 pixels, where");
  fs::remove_all(folder / "val");
  picture("val/x.png", 6, 6, 40);
  EXPECT_SAYS(load(options(6), Split::test, 0), (folder / "val").string() + ": pictures lie directly in it");
  write("train/fox/notes.txt", "no picture");
  EXPECT_SAYS(load(options(6), Split::train, 0), (folder / "train/fox").string() + ": expected pictures (PNG, ");
  fs::remove_all(folder / "train/fox");
  Options grey = options(6);
  grey.channels = 1;
  EXPECT_EQ(load(grey, Split::train, 0).shape(), (std::vector<std::int64_t>{1, 6, 6}));
  Options inner = options(6);
  inner.path = folder / "train";
  EXPECT_EQ(load(inner, Split::train, 0).size(), 3);
  EXPECT_SAYS(load(inner, Split::test, 0), "so no test split");
  inner.path = folder / "train/dog";
  EXPECT_EQ(load(inner, Split::train, 0).classes, 0);
  write("nothing/notes.txt", "no picture");
  inner.path = folder / "nothing";
  EXPECT_SAYS(load(inner, Split::train, 0), "no folders of classes and no pictures");
}

// The first 8 would be of one class; 8 of 20 miss one of two classes once in 1,000 choices.
TEST_F(Folders, SomeOfThemAreOfAllClasses) {
  for (int i = 0; i < 20; ++i) picture(fmt::format("{}/{}.png", i < 10 ? "a" : "b", i), 4, 4, i);
  Options some = options(4);
  some.count = 8;
  const Dataset set = load(some, Split::train, 0);
  EXPECT_EQ(set.size(), 8);
  const at::Tensor pixels = set.x.select(1, 0).select(1, 0).select(1, 0).to(at::kLong);
  EXPECT_EQ(std::get<0>(at::_unique(pixels)).size(0), 8);
  EXPECT_TRUE(at::equal(set.labels, pixels.ge(10).to(at::kLong)));
  EXPECT_EQ(set.labels.min().item<int>(), 0);
  EXPECT_EQ(set.labels.max().item<int>(), 1);
  EXPECT_TRUE(at::equal(load(some, Split::train, 7).x, set.x));
  for (int i = 0; i < 20; ++i) picture(fmt::format("split/{}/a/{}.png", i < 10 ? "train" : "test", i), 4, 4, i);
  some.path = folder / "split";
  EXPECT_EQ(load(some, Split::train, 0).size(), 8);
  EXPECT_EQ(load(some, Split::test, 0).size(), 10);
}

TEST_F(Folders, DamagedPicturesAreNamed) {
  picture("a/1.png", 8, 8, 1);
  const std::string good = read("a/1.png");
  for (std::size_t length = 0; length < good.size(); ++length) {
    write("a/1.png", good.substr(0, length));
    EXPECT_SAYS(load(options(8), Split::train, 0), "a/1.png: ");
  }
  for (std::size_t i = 0; i < good.size() - 12; ++i) {  // PNG's checksums show every change
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x40);
    write("a/1.png", bad);
    EXPECT_SAYS(load(options(8), Split::train, 0), "a/1.png: ");
  }
  write("a/1.png", "GIF89a");
  EXPECT_SAYS(load(options(8), Split::train, 0), "a/1.png: not PNG, JPEG, ");
}

TEST_F(Folders, JpegWholeAndTruncated) {
  if (!has_python("PIL, numpy")) GTEST_SKIP() << "Pillow is not installed";
  ASSERT_EQ(python("from PIL import Image\nimport numpy as np, os\nos.makedirs('a')\n"
                   "x = np.zeros((40, 60, 3), np.uint8); x[:, :30] = (200, 40, 90); x[:, 30:] = (20, 160, 240)\n"
                   "Image.fromarray(x).save('a/plain.jpg', quality=95)\n"
                   "Image.fromarray(x).save('a/progressive.JPEG', progressive=True, quality=95)\n"
                   "Image.fromarray(x[:, :, 0]).save('a/grey.jpeg', quality=95)\n"
                   "Image.fromarray(x).convert('CMYK').save('a/print.jpg', quality=95)\n"),
            0);
  const Dataset set = load(options(20), Split::train, 0);
  ASSERT_EQ(set.size(), 4);  // grey, plain, print, progressive
  EXPECT_EQ(set.shape(), (std::vector<std::int64_t>{3, 20, 20}));
  const at::Tensor left = set.x.select(2, 10).select(2, 3).to(at::kFloat),
                   right = set.x.select(2, 10).select(2, 16).to(at::kFloat);
  for (const int i : {1, 2, 3}) {
    EXPECT_LT((left[i] - at::tensor({200.0F, 40.0F, 90.0F})).abs().max().item<float>(), 6) << i;
    EXPECT_LT((right[i] - at::tensor({20.0F, 160.0F, 240.0F})).abs().max().item<float>(), 6) << i;
  }
  Options one = options(20);
  one.channels = 1;
  const at::Tensor grey = load(one, Split::train, 0).x;
  for (const int i : {1, 2, 3}) {  // .299 R + .587 G + .114 B
    EXPECT_NEAR(grey[i][0][10][3].item<int>(), 93.5, 4) << i;
    EXPECT_NEAR(grey[i][0][10][16].item<int>(), 127.3, 4) << i;
  }
  for (const char* name : {"a/plain.jpg", "a/progressive.JPEG"}) {
    const std::string good = read(name);
    for (std::size_t length = 0; length < good.size(); length += 7) {
      write(name, good.substr(0, length));
      EXPECT_SAYS(load(options(20), Split::train, 0), name);
    }
    write(name, good);
  }
}

/// Pixels that a decoder cannot know are not made up: libjpeg-turbo tells, at whichever size it decodes.
TEST_F(Folders, JpegDamagedWithinItsScan) {
  if (!IGEBM_HAS_TURBOJPEG) GTEST_SKIP() << "built without libjpeg-turbo";
  if (!has_python("PIL, numpy")) GTEST_SKIP() << "Pillow is not installed";
  ASSERT_EQ(python("from PIL import Image\nimport numpy as np, os\nos.makedirs('a')\n"
                   "x = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)\n"
                   "Image.fromarray(x).save('a/plain.jpg', quality=95)\n"
                   "Image.fromarray(x).save('a/progressive.jpg', progressive=True, quality=95)\n"),
            0);
  for (const char* name : {"a/plain.jpg", "a/progressive.jpg"}) {
    const std::string good = read(name);
    std::string bad = good;  // nothing but ones in the middle of the scan, with the zeros that JPEG puts after them
    for (std::size_t i = 0; i < 200; ++i) bad[bad.size() / 2 + i] = i % 2 == 0 ? '\xff' : '\0';
    write(name, bad);
    for (const std::int64_t size : {64, 32, 8}) {
      SCOPED_TRACE(size);
      EXPECT_SAYS(load(options(size), Split::train, 0), (folder / name).string() + ": damaged: ");
    }
    write(name, good);
    EXPECT_EQ(load(options(64), Split::train, 0).size(), 2);
  }
}

/// A large JPEG may be decoded at a part of its size: the same pictures, but for the filter and a part of a pixel, as
/// sides are not always a multiple of 8.
TEST_F(Folders, JpegMadeSmall) {
  if (!has_python("PIL, numpy")) GTEST_SKIP() << "Pillow is not installed";
  ASSERT_EQ(python("from PIL import Image\nimport numpy as np, os\nos.makedirs('jpg/a'); os.makedirs('png/a')\n"
                   "y, x = np.mgrid[0:375, 0:500] / 120.\n"
                   "p = np.stack([np.sin(x + y), np.cos(2 * x), np.sin(3 * y) * np.cos(x)], 2) * 100 + 128\n"
                   "Image.fromarray(p.astype(np.uint8)).save('jpg/a/1.jpg', quality=98, subsampling=0)\n"
                   "Image.open('jpg/a/1.jpg').save('png/a/1.png')\n"),
            0);
  for (const std::int64_t size : {16, 46, 47, 93, 94, 128, 187, 188, 375}) {  // on both sides of 1/8, 1/4 and 1/2
    Options small = options(size);
    small.path = (folder / "jpg").string();
    const at::Tensor jpeg = load(small, Split::train, 0).x.to(at::kFloat);
    small.path = (folder / "png").string();
    const at::Tensor png = load(small, Split::train, 0).x.to(at::kFloat);
    EXPECT_EQ(jpeg.size(3), size);
    EXPECT_LT((jpeg - png).abs().mean().item<float>(), 2) << size;
    EXPECT_LT((jpeg - png).abs().max().item<float>(), 12) << size;
  }
}

TEST_F(Folders, PicturesReadAheadAreTheSame) {
  for (int i = 0; i < 23; ++i)
    picture("train/" + std::string(1, static_cast<char>('a' + i % 3)) + "/" + std::to_string(i) + ".png", 8, 8, i);
  Options kept = options(8), later = options(8);
  later.memory = 0;
  const Batches a(load(kept, Split::train, 0), kept, 1), b(load(later, Split::train, 0), later, 1);
  for (std::int64_t step = 0; step < 12; ++step) EXPECT_TRUE(at::equal(a.at(step, 5).x, b.at(step, 5).x)) << step;
  EXPECT_TRUE(at::equal(a.at(3, 5).x, b.at(3, 5).x));
  EXPECT_TRUE(at::equal(a.first(7).x, b.first(7).x));
  // A picture that is damaged later is named by the step that needs it.
  for (int i = 0; i < 23; ++i)
    write("train/" + std::string(1, static_cast<char>('a' + i % 3)) + "/" + std::to_string(i) + ".png", "gone");
  EXPECT_SAYS(for (std::int64_t step = 20; step < 26; ++step) b.at(step, 5), ".png: not PNG");
}

TEST(Resize, BoxFilterKeepsMeansAndTheCentre) {
  const at::Tensor x = at::arange(2 * 3 * 8 * 12).mul(37).remainder(251).to(at::kByte).view({2, 3, 8, 12});
  const at::Tensor half = fit(x, 0, 4);  // each pixel the mean of 2 x 2, of the middle 8 columns
  const at::Tensor want = x.slice(3, 2, 10).to(at::kFloat).view({2, 3, 4, 2, 4, 2}).mean({3, 5});
  EXPECT_LE((half.to(at::kFloat) - want).abs().max().item<float>(), 0.501F);
  const at::Tensor third = fit(x, 0, 3).to(at::kFloat);  // 8 / 3: parts of pixels
  EXPECT_LT((third.mean({2, 3}) - x.slice(3, 2, 10).to(at::kFloat).mean({2, 3})).abs().max().item<float>(), 0.5F);
  EXPECT_TRUE(at::equal(fit(x, 0, 8), x.slice(3, 2, 10)));
  EXPECT_TRUE(at::equal(fit(at::full({1, 1, 5, 5}, 77, at::kByte), 3, 16), at::full({1, 3, 16, 16}, 77, at::kByte)));
  const at::Tensor ramp = at::arange(4).mul(40).to(at::kByte).view({1, 1, 1, 4}).expand({1, 1, 4, 4}).contiguous();
  EXPECT_TRUE(at::equal(fit(ramp, 0, 8)[0][0][3], at::tensor({0, 10, 30, 50, 70, 90, 110, 120}, at::kByte)));
  const at::Tensor red = at::tensor({255, 0, 0}, at::kByte).view({1, 3, 1, 1});
  EXPECT_EQ(fit(red, 1, 0).item<int>(), 76);
}

Dataset one_picture(std::int64_t copies) {
  const at::Tensor x = at::arange(1, 3 * 25 + 1).to(at::kByte).view({1, 3, 5, 5});
  return {x.expand({copies, 3, 5, 5}).contiguous(), {}, 0, {}};
}

TEST(Augmentation, CropShiftsEveryWayEquallyOften) {
  const Options options{.dequantize = false, .crop = 1};
  const at::Tensor x = (Batches(one_picture(1800), options, 4).at(0, 1800).x * 255).round();
  const at::Tensor padded = at::constant_pad_nd(one_picture(1).x.to(at::kFloat), {1, 1, 1, 1});
  double found = 0;
  for (int dy = 0; dy < 3; ++dy) {
    for (int dx = 0; dx < 3; ++dx) {
      const double n = (x == padded.slice(2, dy, dy + 5).slice(3, dx, dx + 5)).flatten(1).all(1).sum().item<double>();
      EXPECT_NEAR(n, 200, 4.5 * std::sqrt(200 * 8.0 / 9)) << dy << dx;
      found += n;
    }
  }
  EXPECT_EQ(found, 1800);
}

TEST(Augmentation, ReflectionBringsNoBlack) {
  const Options options{.dequantize = false, .crop = 3, .crop_padding = Padding::reflect};
  const at::Tensor x = (Batches(one_picture(500), options, 4).at(0, 500).x * 255).round();
  EXPECT_GE(x.min().item<float>(), 1);
  const at::Tensor padded = at::reflection_pad2d(one_picture(1).x.to(at::kFloat), {3, 3, 3, 3});
  at::Tensor known = at::zeros({500}, at::kBool);
  for (int dy = 0; dy < 7; ++dy) {
    for (int dx = 0; dx < 7; ++dx)
      known.logical_or_((x == padded.slice(2, dy, dy + 5).slice(3, dx, dx + 5)).flatten(1).all(1));
  }
  EXPECT_TRUE(known.all().item<bool>());
}

TEST(Augmentation, ColoursChangeWithinTheirBounds) {
  const auto ratio = [](const Options& o) {  // of each picture to the original
    const at::Tensor x = Batches(one_picture(1000), o, 4).at(0, 1000).x * 255;
    return x / one_picture(1).x.to(at::kFloat);
  };
  const at::Tensor bright = ratio({.dequantize = false, .brightness = 0.3});
  EXPECT_LT(std::get<0>(bright.flatten(1).max(1)).sub(std::get<0>(bright.flatten(1).min(1))).max().item<float>(), 1e-3);
  EXPECT_NEAR(bright.mean().item<double>(), 1, 4 * 0.3 / std::sqrt(3000));
  EXPECT_GT(bright.max().item<float>(), 1.28);
  EXPECT_LE(bright.max().item<float>(), 1.301);
  EXPECT_GE(bright.min().item<float>(), 0.699);
  // Contrast keeps the picture's mean grey, saturation each pixel's; values from the middle, so that none is clamped.
  const at::Tensor weights = at::tensor({0.299F, 0.587F, 0.114F}).view({1, 3, 1, 1});
  Dataset middle = one_picture(200);
  middle.x += 90;
  const at::Tensor grey = (middle.x[0].to(at::kFloat) * weights).sum(1);
  const auto greys = [&](const Options& o) { return (Batches(middle, o, 4).at(0, 200).x * 255 * weights).sum(1); };
  const at::Tensor contrast = greys({.dequantize = false, .contrast = 0.5});
  EXPECT_LT((contrast.mean({1, 2}) - grey.mean()).abs().max().item<float>(), 0.01);
  EXPECT_GT((contrast - grey).abs().max().item<float>(), 0.45 * (grey - grey.mean()).abs().max().item<float>());
  EXPECT_LT((greys({.dequantize = false, .saturation = 1}) - grey).abs().max().item<float>(), 0.01);
  const at::Tensor spread = Batches(middle, {.dequantize = false, .saturation = 1}, 4).at(0, 200).x.std(1);
  EXPECT_GT(spread.max().item<float>(), 1.9 * middle.x[0].to(at::kFloat).div(255).std(0).max().item<float>());
}

// A ramp stays a ramp: its slope is the share of the width that was kept, its values those of a place inside.
TEST(Augmentation, ResizedCropsAreRectanglesOfThePicture) {
  constexpr std::int64_t tall = 12, wide = 16;
  const at::Tensor columns = at::arange(wide).to(at::kFloat).view({1, 1, wide}).expand({1, tall, wide}),
                   rows = at::arange(tall).to(at::kFloat).view({1, tall, 1}).expand({1, tall, wide});
  double least = 1, most = 0, wider = 0;
  for (std::uint64_t stream = 0; stream < 400; ++stream) {
    at::Tensor x = at::cat({columns, rows}).contiguous();
    random_resized_crop(x.data_ptr<float>(), {2, tall, wide}, 0.2, {1, Purpose::augment, stream, 0});
    const at::Tensor across = x[0][5], down = x[1].select(1, 7);
    EXPECT_TRUE(at::allclose(x[0], across.expand({tall, wide})) &&
                at::allclose(x[1], down.unsqueeze(1).expand({tall, wide})));
    const double width = (across[10] - across[5]).item<double>() / 5, height = (down[8] - down[4]).item<double>() / 4;
    EXPECT_TRUE(at::allclose(across.slice(0, 2, wide - 1) - across.slice(0, 1, wide - 2), at::full({wide - 3}, width),
                             1e-4, 1e-4));
    const double area = width * height, ratio = height * tall / (width * wide);
    EXPECT_LE(area, 1 + 1e-6);
    EXPECT_GE(area, 0.2 - 1e-4);
    EXPECT_GE(across.min().item<double>(), 0);
    EXPECT_LE(across.max().item<double>(), wide - 1);
    least = std::min(least, area), most = std::max(most, area);
    wider += ratio < static_cast<double>(tall) / wide ? 1 : 0;
  }
  EXPECT_LT(least, 0.25);
  EXPECT_GT(most, 0.9);
  EXPECT_NEAR(wider / 400, 0.5, 0.1);
}

TEST(Augmentation, BlursByAGaussianOfRandomWidth) {
  constexpr std::int64_t side = 21;
  const at::Tensor place = at::arange(side).to(at::kFloat) - 10;
  double blurred = 0, widest = 0, narrowest = 9;
  for (std::uint64_t stream = 0; stream < 400; ++stream) {
    at::Tensor x = at::zeros({2, side, side});
    x[0][10][10] = 1;
    x[1].fill_(0.7);
    random_blur(x.data_ptr<float>(), {2, side, side}, 2, {1, Purpose::augment, stream, 0});
    EXPECT_TRUE(at::allclose(x[1], at::full({side, side}, 0.7F)));
    if (x[0][10][10].item<float>() == 1) continue;
    blurred += 1;
    EXPECT_NEAR(x[0].sum().item<double>(), 1, 1e-5);
    EXPECT_TRUE(at::allclose(x[0], x[0].t()) && at::allclose(x[0], x[0].flip({0})));
    const double sigma = std::sqrt((x[0].sum(0) * place.square()).sum().item<double>());
    const double expected = std::exp(-0.5 / (sigma * sigma));  // of neighbours, for a Gaussian well above a pixel
    if (sigma > 0.7) {
      EXPECT_NEAR((x[0][10][11] / x[0][10][10]).item<double>(), expected, 0.03);
    }
    widest = std::max(widest, sigma), narrowest = std::min(narrowest, sigma);
  }
  EXPECT_GT(blurred, 100);  // a standard deviation narrow enough to leave the pixel alone counts as none
  EXPECT_LT(blurred, 250);
  EXPECT_GT(widest, 1.9);
  EXPECT_LT(widest, 2.001);
  EXPECT_LT(narrowest, 0.5);
}

TEST(Augmentation, IsAFunctionOfSeedEpochAndRecord) {
  const Options options{.flip = true, .crop = 2, .brightness = 0.2, .contrast = 0.2, .saturation = 0.2};
  const Batches a(one_picture(8), options, 1), b(one_picture(8), options, 1), other(one_picture(8), options, 2);
  EXPECT_TRUE(at::equal(a.at(5, 4).x, b.at(5, 4).x));
  EXPECT_FALSE(at::equal(a.at(5, 4).x, other.at(5, 4).x));
  EXPECT_LE(a.at(0, 8).x.max().item<float>(), 1);
  Options off = options;
  off.flip = false, off.crop = 0, off.brightness = off.contrast = off.saturation = 0;
  EXPECT_TRUE(at::equal(a.first(8).x, Batches(one_picture(8), off, 1).first(8).x));
}

TEST(Augmentation, OptionsOutOfRangeAreNamed) {
  EXPECT_SAYS(check({.crop = -1}), "data.crop");
  EXPECT_SAYS(check({.crop_padding = static_cast<Padding>(7)}), "data.crop_padding");
  EXPECT_SAYS(check({.brightness = 1.5}), "data.brightness");
  EXPECT_SAYS(check({.saturation = -0.5}), "data.saturation");
  EXPECT_SAYS(check({.channels = 2}), "data.channels");
  EXPECT_SAYS(check({.size = -3}), "data.size");
  EXPECT_SAYS(check({.memory = -1}), "data.memory");
}

}  // namespace
}  // namespace igebm::data
