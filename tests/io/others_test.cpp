// What other programs and people's habits bring: arrays, names and pictures that are read all the same.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe.h"
#include "igebm/io/utf8.h"
#include "tests/refusals.h"

namespace igebm::io {
namespace {

namespace fs = std::filesystem;

class Others : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / fmt::format("igebm-others-{}", getpid());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }
  /// Python with NumPy and Pillow, in that folder; whether there is one.
  bool python(const std::string& code) const {
    const std::string run = IGEBM_SOURCE_DIR "/.venv/bin/python";
    if (std::system((run + " -c 'import numpy, PIL' 2>/dev/null").c_str()) != 0) return false;
    write_atomically(folder / "code.py", code);
    EXPECT_EQ(std::system(("cd '" + folder.string() + "' && " + run + " code.py").c_str()), 0);
    return true;
  }
  at::Tensor decode(const std::string& name, std::int64_t channels = 3) const {
    return decode_picture(read_file(folder / name), channels, name);
  }

  fs::path folder;
};

TEST_F(Others, ArraysAsNumpyWritesThem) {
  if (!python(
          "import numpy as np, zipfile, io\n"
          "x = np.arange(6, dtype='f4').reshape(2, 3)\n"
          "np.savez('half.npz', x=x.astype('f2'))\n"
          "np.save('one.npy', x)\n"
          "np.savez('object.npz', x=x, args=np.array({'scale': 1.5}, object), text=np.array(['a', 'b']))\n"
          "head = '{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3), }'\n"
          "head += ' ' * (64 - (11 + len(head)) % 64) + '\\n'\n"
          "body = b'\\x93NUMPY\\x01\\x00' + len(head).to_bytes(2, 'little') + head.encode() + x.tobytes()\n"
          "with zipfile.ZipFile('quoted.npz', 'w') as z: z.writestr('x.npy', body)\n"
          "np.savez('comment.npz', x=x)\n"
          "with zipfile.ZipFile('comment.npz', 'a') as z: z.comment = b'see PK\\x05\\x06 in a note ' + b'.' * 99\n"))
    GTEST_SKIP() << "numpy and Pillow are not installed";
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3});
  for (const char* name : {"object.npz", "quoted.npz", "comment.npz"})
    EXPECT_TRUE(at::equal(NpzFile(folder / name).open("x").read(), x)) << name;
  EXPECT_TRUE(at::equal(NpzFile(folder / "half.npz").open("x").read(), x.to(at::kHalf)));
  EXPECT_SAYS(NpzFile(folder / "object.npz").open("args"), "object.npz: args.npy: of type '|O'");
  const NpzFile one(folder / "one.npy");
  EXPECT_EQ(one.names(), std::vector<std::string>{"arr_0"});
  EXPECT_TRUE(at::equal(one.open("arr_0").read(), x));
  EXPECT_SAYS(one.open("x"), "one.npy: one array without a name, so no x");
  const std::string whole = read_file(folder / "one.npy");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_atomically(folder / "cut.npy", whole.substr(0, length));
    EXPECT_SAYS(NpzFile(folder / "cut.npy").open("arr_0"), "cut.npy: ");
  }
}

TEST(Utf8, AnyBytesAndBack) {
  std::string every;
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; b += 5) every += {static_cast<char>(a), static_cast<char>(b), 'x'};
  }
  EXPECT_EQ(bytes_of(utf8_of(every)), every);
  EXPECT_EQ(utf8_of(utf8_of(every)), utf8_of(every));
  EXPECT_EQ(utf8_of("ph\xf6tos"), "ph\xee\xbf\xb6tos");  // U+EFF6
  const std::string good = "plain, \xc3\xb6, \xe2\x82\xac, \xf0\x9f\x90\xb1";
  EXPECT_EQ(utf8_of(good), good);
  EXPECT_EQ(bytes_of(good), good);
  for (const char* bad : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xf5"})
    EXPECT_NE(utf8_of(bad), bad);
}

/// A recipe of one text.
std::string text_of(const std::string& recipe, const std::vector<std::string>& assignments = {}) {
  Recipe r = Recipe::parse(recipe, "r.toml");
  for (const auto& a : assignments) r.set(a);
  std::string path = "default", kind = "a";
  r.apply([&](Fields& f) {
    f.field("path", path, {}, "");
    f.field("kind", kind, {"a", "7"}, "");
  });
  return path + " " + kind;
}

TEST(Texts, MayLookLikeOtherValues) {
  for (const char* name : {"2024", "2024-05-01", "true", "0x10", "1e3", "[a]", "inf", "photos 2024", "2024 # new"})
    EXPECT_EQ(text_of("", {std::string("path=") + name}), std::string(name) + " a") << name;
  EXPECT_EQ(text_of("", {"path=\"2024\""}), "2024 a");
  EXPECT_EQ(text_of("", {"kind=7"}), "default 7");
  EXPECT_EQ(text_of("", {"path=1", "path=b"}), "b a");
  EXPECT_SAYS(text_of("", {"kind=8"}), "--set kind: expected one of \"a\", \"7\", got 8");
  EXPECT_SAYS(text_of("path = 2024\n"), "r.toml:1: path: expected a text, got 2024; write \"2024\"");
}

TEST(Texts, OfAnyBytesAreWrittenAndReadBack) {
  std::string path = "ph\xf6tos/\xff";
  const std::string recipe = write_recipe([&](Fields& f) { f.field("path", path, {}, ""); });
  EXPECT_EQ(text_of(recipe), path + " a");
  EXPECT_EQ(text_of("", {"path=" + path}), path + " a");
  EXPECT_SAYS(text_of("", {"ph\xf6=3"}), "expected a key in UTF-8");
}

TEST_F(Others, PicturesOfEveryKind) {
  if (!python("from PIL import Image\nimport numpy as np\n"
              "y, x = np.mgrid[0:11, 0:7]\n"
              "p = Image.fromarray(np.stack([20 * y, 30 * x, 7 * x * y % 256], 2).astype(np.uint8))\n"
              "p.save('p.png'); p.save('p.bmp'); p.save('p.ppm'); p.convert('L').save('p.pgm'); p.save('p.webp', "
              "lossless=True)\n"
              "p.save('p.tif', compression='tiff_lzw'); p.save('raw.tif')\n"
              "p.save('lossy.webp', quality=95)\n"
              "wide = np.asarray(p).astype(np.uint16)[..., 0] * 257\n"
              "open('wide.pgm', 'wb').write(b'P5 # 16 bits\\n7 11\\n65535\\n' + wide.astype('>u2').tobytes())\n"
              "open('few.pgm', 'wb').write(b'P5\\n2 1\\n3\\n' + bytes([1, 3]))\n"
              "q = p.quantize(16); q.save('palette.bmp')\n"
              "q.convert('RGB').save('palette.png')\n"
              "p.save('moving.webp', save_all=True, append_images=[p.rotate(180)])\n"))
    GTEST_SKIP() << "numpy and Pillow are not installed";
  const at::Tensor want = decode("p.png");
  std::vector<std::string> same = {"p.bmp", "p.ppm"};
  if (IGEBM_HAS_WEBP) same.emplace_back("p.webp");
  if (IGEBM_HAS_TIFF) same.insert(same.end(), {"p.tif", "raw.tif"});
  for (const std::string& name : same) {
    EXPECT_TRUE(at::equal(decode(name), want)) << name;
    EXPECT_TRUE(at::equal(decode(name, 1), decode("p.png", 1))) << name;
    const std::string whole = read_file(folder / name);
    for (std::size_t length = 0; length < whole.size() - 1; length += 3) {  // TIFF's directory may stand at its end
      write_atomically(folder / "cut", whole.substr(0, length));
      EXPECT_SAYS(decode("cut"), "cut: ");
    }
  }
  EXPECT_TRUE(at::equal(decode("palette.bmp"), decode("palette.png")));
  EXPECT_LE((decode("p.pgm", 1).to(at::kInt) - decode("p.png", 1).to(at::kInt)).abs().max().item<int>(), 1);
  EXPECT_TRUE(at::equal(decode("wide.pgm").select(2, 2), want.select(2, 0)));
  EXPECT_TRUE(at::equal(decode("few.pgm", 1).flatten(), at::tensor({85, 255}, at::kByte)));
  if (IGEBM_HAS_WEBP) {
    EXPECT_LT((decode("lossy.webp").to(at::kInt) - want.to(at::kInt)).abs().to(at::kFloat).mean().item<float>(), 12);
    EXPECT_SAYS(decode("moving.webp"), "moving.webp: an animation");
  } else {
    EXPECT_SAYS(decode("p.webp"), "built without libwebp");
  }
  if (!IGEBM_HAS_TIFF) EXPECT_SAYS(decode("p.tif"), "built without libtiff");
  write_atomically(folder / "no.pgm", "P5\n99999999 99999999\n255\n");
  EXPECT_SAYS(decode("no.pgm"), "no.pgm: ");
  EXPECT_SAYS(decode_picture("GIF89a", 3, "x.gif"), "x.gif: not PNG, JPEG, WebP");
}

/// Libraries pass over what stands between JPEG's segments; where they warn of it, it is no damage.
TEST_F(Others, JpegWithStrayBytesBetweenSegments) {
  if (!python("from PIL import Image\nimport numpy as np\n"
              "Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save('p.jpg')\n"))
    GTEST_SKIP() << "numpy and Pillow are not installed";
  const at::Tensor want = decode("p.jpg");
  const std::string whole = read_file(folder / "p.jpg");
  int places = 0;
  for (std::size_t at = 2; whole[at + 1] != '\xda'; ++places) {
    for (const std::string& stray : {std::string(3, '\0'), std::string("\xff\0\x12", 3), std::string("\xff\xd0")}) {
      write_atomically(folder / "stray.jpg", whole.substr(0, at) + stray + whole.substr(at));
      EXPECT_TRUE(at::equal(decode("stray.jpg"), want)) << at;
    }
    at += 2U + (static_cast<unsigned char>(whole[at + 2]) << 8U) + static_cast<unsigned char>(whole[at + 3]);
  }
  EXPECT_GT(places, 4);
}

}  // namespace
}  // namespace igebm::io
