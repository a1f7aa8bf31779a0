#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe.h"
#include "igebm/io/safetensors.h"
#include "tests/refusals.h"

namespace igebm::io {
namespace {

namespace fs = std::filesystem;
const std::string python = IGEBM_SOURCE_DIR "/.venv/bin/python";

class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() /
             ("igebm-io-" + std::to_string(getpid()) + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  static bool has(const std::string& module) {
    return std::system((python + " -c 'import " + module + "' 2>/dev/null").c_str()) == 0;
  }
  int run_python(const std::string& code) const {
    return std::system(("cd " + folder.string() + " && " + python + " -c '" + code + "'").c_str());
  }

  fs::path folder;
};

std::map<std::string, at::Tensor> tensors() {
  return {{"a.weight", at::arange(6, at::kFloat).reshape({2, 3})},
          {"b", at::arange(3, at::kLong)},
          {"c", at::ones({2, 2}, at::kByte)},
          {"d", at::full({}, 0.5, at::kDouble)},
          {"e", at::zeros({0, 4}, at::kFloat)}};
}

void expect_equal(const std::map<std::string, at::Tensor>& got, const std::map<std::string, at::Tensor>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, t] : want) {
    EXPECT_EQ(got.at(name).scalar_type(), t.scalar_type()) << name;
    EXPECT_TRUE(at::equal(got.at(name), t)) << name;
  }
}

/// Every file cut short is refused; with a byte changed it is refused or read, but never crashes.
template <typename Read>
void expect_robust(const fs::path& path, const Read& read, bool detects_changes) {
  const std::string bytes = read_file(path);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    write_atomically(path, std::string_view(bytes).substr(0, length));
    EXPECT_THROW(read(path), UserError) << "cut to " << length;
  }
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x55);
    write_atomically(path, changed);
    try {
      read(path);
    } catch (const UserError&) {
      continue;
    }
    EXPECT_FALSE(detects_changes) << "changed at " << at;
  }
}

TEST_F(Files, SafetensorsThereAndBack) {
  write_safetensors(folder / "x", tensors(), {{"format", "test"}});
  const auto read = read_safetensors(folder / "x");
  expect_equal(read.tensors, tensors());
  EXPECT_EQ(read.metadata.at("format"), "test");
  expect_robust(
      folder / "x", [](const fs::path& p) { read_safetensors(p); }, false);
  write_safetensors(folder / "y", {{"t", at::arange(6).reshape({2, 3}).t()}});  // what is not contiguous, too
  EXPECT_TRUE(at::equal(read_safetensors(folder / "y").tensors.at("t"), at::arange(6).reshape({2, 3}).t()));
}

TEST_F(Files, SafetensorsWithTheRealPackage) {
  if (!has("safetensors.numpy")) GTEST_SKIP() << "the Python package safetensors is not installed";
  write_safetensors(folder / "ours.safetensors", tensors(), {{"format", "test"}});
  ASSERT_EQ(run_python("import numpy as np; from safetensors.numpy import load_file, save_file\n"
                       "t = load_file(\"ours.safetensors\"); assert t[\"a.weight\"].shape == (2, 3) and "
                       "t[\"a.weight\"][1, 2] == 5 and t[\"d\"] == 0.5\n"
                       "save_file(t, \"theirs.safetensors\", metadata={\"by\": \"them\"})"),
            0);
  const auto theirs = read_safetensors(folder / "theirs.safetensors");
  expect_equal(theirs.tensors, tensors());
  EXPECT_EQ(theirs.metadata.at("by"), "them");
}

TEST_F(Files, NpzThereAndBack) {
  write_npz(folder / "x.npz", tensors());
  expect_equal(read_npz(folder / "x.npz"), tensors());
  EXPECT_THROW(read_npz(folder / "absent.npz"), UserError);
  write_npz(folder / "small.npz", {{"a", at::arange(3, at::kFloat)}});
  expect_robust(
      folder / "small.npz", [](const fs::path& p) { read_npz(p); }, false);
}

TEST_F(Files, NpzTextsStandBesideArrays) {
  const Texts texts = {{"about", "a line"}, {"empty", ""}};
  write_npz(folder / "x.npz", tensors(), texts);
  expect_equal(read_npz(folder / "x.npz"), tensors());
  EXPECT_EQ(npz_texts(folder / "x.npz"), texts);
  write_npz(folder / "small.npz", {}, texts);
  expect_robust(
      folder / "small.npz", [](const fs::path& p) { npz_texts(p); }, false);
  if (!has("numpy")) GTEST_SKIP() << "numpy is not installed";
  EXPECT_EQ(run_python("import numpy as np\nt = np.load(\"x.npz\")\n"
                       "assert str(t[\"about\"]) == \"a line\" and str(t[\"empty\"]) == \"\""),
            0);
}

TEST_F(Files, PngTextsStandBesideThePicture) {
  const at::Tensor picture = at::arange(24, at::kByte).reshape({4, 2, 3});
  const Texts texts = {{"about", "a line"}, {"other", "{\"a\": 1}"}};
  write_png(folder / "x.png", picture, texts);
  EXPECT_EQ(png_texts(folder / "x.png"), texts);
  EXPECT_TRUE(at::equal(decode_picture(read_file(folder / "x.png"), 3, "x"), picture));  // checks every checksum
  write_png(folder / "none.png", picture);
  EXPECT_TRUE(png_texts(folder / "none.png").empty());
  const std::string bytes = read_file(folder / "x.png");
  write_atomically(folder / "cut.png", bytes.substr(0, bytes.size() - 20));
  EXPECT_THROW(png_texts(folder / "cut.png"), UserError);
  write_atomically(folder / "cut.png", bytes.substr(1));
  EXPECT_THROW(png_texts(folder / "cut.png"), UserError);
}

// zip64, as files beyond 4 GiB have it.
TEST_F(Files, NpzBeyondFourGiBIsUnderstood) {
  if (!has("numpy")) GTEST_SKIP() << "numpy is not installed";
  ASSERT_EQ(run_python("import numpy as np, zipfile, io\nzipfile.ZIP64_LIMIT = 10\n"
                       "with zipfile.ZipFile(\"wide.npz\", \"w\", zipfile.ZIP_DEFLATED) as z:\n"
                       "  for name in \"ab\":\n"
                       "    f = io.BytesIO(); np.save(f, np.arange(5.0) + ord(name)); z.writestr(name + \".npy\", "
                       "f.getvalue())\n"),
            0);
  const NpzFile wide(folder / "wide.npz");
  EXPECT_TRUE(at::equal(wide.open("b").read(), at::arange(5, at::kDouble) + 98));
  EXPECT_TRUE(wide.has("a"));
  EXPECT_FALSE(wide.has("c"));
  EXPECT_THROW(wide.open("c"), UserError);
}

TEST_F(Files, NpzRowsOneByOne) {
  write_npz(folder / "x.npz", {{"a", at::arange(12, at::kInt).reshape({4, 3})}});
  auto array = NpzFile(folder / "x.npz").open("a");
  EXPECT_EQ(array.shape(), (std::vector<std::int64_t>{4, 3}));
  array.skip_rows(2);
  at::Tensor row = at::empty({1, 3}, at::kInt);
  array.read_rows(1, row.data_ptr());
  EXPECT_TRUE(at::equal(row[0], at::tensor({6, 7, 8}, at::kInt)));
  EXPECT_THROW(array.read_rows(2, row.data_ptr()), UserError);
}

TEST_F(Files, NpzWithNumpy) {
  if (!has("numpy")) GTEST_SKIP() << "numpy is not installed";
  write_npz(folder / "ours.npz", tensors());
  ASSERT_EQ(
      run_python(
          "import numpy as np\nt = dict(np.load(\"ours.npz\")); assert t[\"a.weight\"][1, 2] == 5 and t[\"e\"].shape "
          "== (0, 4)\n"
          "np.savez_compressed(\"theirs.npz\", **t)\n"
          "np.savez(\"fortran.npz\", a=np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)))"),
      0);
  expect_equal(read_npz(folder / "theirs.npz"), tensors());
  EXPECT_TRUE(at::equal(read_npz(folder / "fortran.npz").at("a"), at::arange(24, at::kDouble).reshape({2, 3, 4})));
}

TEST_F(Files, WritingIsAllOrNothing) {
  write_atomically(folder / "f", "old");
  EXPECT_THROW(write_atomically(folder / "absent" / "f", "new"), UserError);
  write_atomically(folder / "f", "new");
  EXPECT_EQ(read_file(folder / "f"), "new");
  for (const auto& entry : fs::directory_iterator(folder))
    EXPECT_EQ(entry.path().extension(), "") << entry.path();  // nothing is left over
}

TEST_F(Files, PicturesAsPillowSeesThem) {
  at::Tensor images = at::zeros({5, 3, 4, 6});
  images[1].select(0, 0).fill_(1);
  images[4].fill_(0.5);
  const at::Tensor sheet = grid(images, 3, 2);
  EXPECT_EQ(sheet.sizes(), (std::vector<std::int64_t>{2 * 10 + 2, 3 * 14 + 2, 3}));
  EXPECT_EQ(sheet[3][2 + 14 + 1][0].item<int>(), 255);  // the second picture is red
  EXPECT_EQ(sheet[3][2 + 14 + 1][1].item<int>(), 0);
  EXPECT_EQ(sheet[2 + 10 + 1][2 + 14 + 1][2].item<int>(), 128);
  write_png(folder / "sheet.png", sheet);
  std::vector<at::Tensor> frames;
  for (int i = 0; i < 3; ++i) frames.push_back(at::full({8, 9, 1}, 80 * i, at::kByte));
  const Texts texts = {{"about", std::string(700, 'a') + ": b"}, {"other", "{}"}};
  write_gif(folder / "grey.gif", frames, 10, texts);
  EXPECT_EQ(gif_texts(folder / "grey.gif"), texts);
  for (auto& frame : frames) frame = frame.expand({8, 9, 3}).contiguous();
  write_gif(folder / "colour.gif", frames, 10);
  EXPECT_TRUE(gif_texts(folder / "colour.gif").empty());
  const std::string bytes = read_file(folder / "colour.gif");
  write_atomically(folder / "cut.gif", bytes.substr(0, bytes.size() - 1));
  EXPECT_THROW(gif_texts(folder / "cut.gif"), UserError);
  EXPECT_THROW(gif_texts(folder / "sheet.png"), UserError);
  if (!has("PIL, numpy")) GTEST_SKIP() << "pillow is not installed";
  EXPECT_EQ(run_python("from PIL import Image; import numpy as np\n"
                       "p = np.array(Image.open(\"sheet.png\")); assert p.shape == (22, 44, 3) and tuple(p[3, 17]) == "
                       "(255, 0, 0), p.shape\n"
                       "g = Image.open(\"grey.gif\"); assert g.n_frames == 3 and g.info[\"loop\"] == 0 and "
                       "g.info[\"duration\"] == 100\n"
                       "g.seek(2); assert abs(int(np.array(g.convert(\"L\"))[4, 4]) - 160) <= 1\n"
                       "c = Image.open(\"colour.gif\"); c.seek(1); assert abs(int(np.array(c.convert(\"RGB\"))[4, "
                       "4][1]) - 80) < 26"),
            0);
}

TEST(Pictures, DensityIsBrightestWhereTheEnergyIsLowest) {
  at::Tensor energies = at::full({11, 11}, 5.0F);
  energies[2][8] = 0;
  const at::Tensor picture = density(energies, at::tensor({0.0, 0.0}).reshape({1, 2}), 1);
  EXPECT_EQ(picture[2][8][1].item<int>(), 240);
  EXPECT_EQ(picture[5][5][0].item<int>(), 255);  // the point
  EXPECT_LT(picture[9][9][1].item<int>(), 20);
  const at::Tensor lines = density(energies, {}, 1, /*levels=*/true).ne(density(energies, {}, 1)).any(2);
  EXPECT_TRUE(at::equal(lines.nonzero(), at::tensor({1, 8, 2, 7, 2, 8}, at::kLong).view({3, 2})));  // around the least
}

TEST(Pictures, PointsStandWhereTheyAreAndPicturesSideBySide) {
  const at::Tensor picture = scatter(at::tensor({1.0, -1.0, 0.0, 5.0}).view({2, 2}), 1, 9);
  EXPECT_EQ(picture.eq(255).all(2).sum().item<std::int64_t>(), 1);  // the other is beyond the square
  EXPECT_EQ(picture[8][8][0].item<int>(), 255);
  const at::Tensor both = side_by_side({picture, at::zeros_like(picture)});
  EXPECT_EQ(both.sizes(), at::IntArrayRef({9, 22, 3}));
  EXPECT_TRUE(at::equal(both.narrow(1, 0, 9), picture));
  EXPECT_EQ(both.narrow(1, 13, 9).sum().item<std::int64_t>(), 0);
}

struct Options {
  std::int64_t steps = 10;
  double rate = 0.5;
  bool fast = true;
  std::string kind = "a";
  std::vector<std::int64_t> widths = {1, 2};
  std::vector<std::string> names = {"x"};
  bool has_extra = false;
  double extra = 1;
};

void describe(Fields& f, Options& o) {
  f.section("run", [&](Fields& g) {
    g.field("steps", o.steps, Range{1, 1000}, "how many");
    g.field("rate", o.rate, Range{0, std::numeric_limits<double>::infinity(), true, false}, "");
    g.field("fast", o.fast, "");
    if (o.steps == 13) g.problem("steps", "bad luck");
    g.section("inner", [&](Fields& h) {
      h.field("kind", o.kind, {"a", "b\"quoted\""}, "");
      h.field("widths", o.widths, Range{1, 9}, "");
      h.field("names", o.names, "");
    });
    g.optional_section("extra", o.has_extra, [&](Fields& h) { h.field("extra", o.extra, Range{0, 9}, ""); });
  });
}

Options options_of(Recipe recipe, const std::vector<std::string>& assignments) {
  for (const auto& a : assignments) recipe.set(a);
  Options o;
  recipe.apply([&](Fields& f) { describe(f, o); });
  return o;
}

Options read(const std::string& text, const std::vector<std::string>& assignments = {}) {
  return options_of(Recipe::parse(text, "r.toml"), assignments);
}

std::string error(const std::string& text, const std::vector<std::string>& assignments = {}) {
  return error_of([&] { read(text, assignments); });
}

TEST(Recipes, FillOptionsAndKeepDefaults) {
  const Options o = read("[run]\nsteps = 20\nrate = inf\n[run.inner]\nwidths = [3]\nnames = ['p', 'q']\n");
  EXPECT_EQ(o.steps, 20);
  EXPECT_TRUE(std::isinf(o.rate));
  EXPECT_TRUE(o.fast);
  EXPECT_EQ(o.widths, (std::vector<std::int64_t>{3}));
  EXPECT_EQ(o.names, (std::vector<std::string>{"p", "q"}));
  EXPECT_FALSE(o.has_extra);
  EXPECT_TRUE(read("[run.extra]\n").has_extra);
  EXPECT_EQ(read("[run]\nrate = 2\n").rate, 2);  // an integer where a number is expected
}

TEST(Recipes, AssignmentsComeOnTop) {
  const Options o =
      read("[run]\nsteps = 20\n", {"run.steps=30", "run.inner.kind=a", "run.inner.widths=[4, 5]", "run.extra.extra=2"});
  EXPECT_EQ(o.steps, 30);
  EXPECT_EQ(o.widths, (std::vector<std::int64_t>{4, 5}));
  EXPECT_EQ(o.extra, 2);
}

TEST(Recipes, ErrorsSayWhereAndWhatWasExpected) {
  EXPECT_EQ(error("\n[run]\nsteps = \"ten\"\n"), "r.toml:3: run.steps: expected an integer in [1, 1000], got \"ten\"");
  EXPECT_EQ(error("[run]\nsteps = 0\n"), "r.toml:2: run.steps: expected an integer in [1, 1000], got 0");
  EXPECT_EQ(error("[run]\nrate = 0.0\n"), "r.toml:2: run.rate: expected a number, above 0, got 0.0");
  EXPECT_EQ(error("[run]\nrate = nan\n"), "r.toml:2: run.rate: expected a number, above 0, got nan");
  EXPECT_EQ(error("[run]\nfast = 1\n"), "r.toml:2: run.fast: expected true or false, got 1");
  EXPECT_EQ(error("[run]\nstepps = 3\n"), "r.toml:2: run.stepps: unknown key; did you mean \"steps\"?");
  EXPECT_EQ(error("[rum]\n"), "r.toml:1: rum: unknown section; did you mean \"run\"?");
  EXPECT_EQ(error("[run]\nsteps = 13\n"), "r.toml:2: run.steps: bad luck");
  EXPECT_EQ(error("[run.inner]\nkind = \"c\"\n"),
            "r.toml:2: run.inner.kind: expected one of \"a\", \"b\"quoted\"\", got \"c\"");
  EXPECT_EQ(error("[run.inner]\nwidths = [1,\n 2, 99]\n"),
            "r.toml:3: run.inner.widths: expected an integer in [1, 9], got 99");
  EXPECT_EQ(error("run = 3\n"), "r.toml:1: run: expected a section [run], got 3");
  EXPECT_EQ(error("", {"run.steps=many"}), "--set run.steps: expected an integer in [1, 1000], got \"many\"");
  EXPECT_EQ(error("", {"run.stepps=3"}), "--set run.stepps: unknown key; did you mean \"steps\"?");
  EXPECT_EQ(error("", {"run.steps=13"}), "--set run.steps: bad luck");
  EXPECT_EQ(error("", {"steps"}), "--set steps: expected section.key=value");
  EXPECT_EQ(error("[run\n").substr(0, 11), "r.toml:1:5:");
  EXPECT_THROW(Recipe::read("/absent/recipe.toml"), UserError);
}

TEST_F(Files, RecipesExtendOthers) {
  fs::create_directories(folder / "base");
  const auto write = [&](const char* name, const std::string& text) {
    write_atomically(folder / name, text);
    return (folder / name).string();
  };
  const auto error_in = [](const std::string& path) { return error_of([&] { options_of(Recipe::read(path), {}); }); };
  // Paths are taken from the file that says them, values go on top one by one, lists as a whole.
  write("base/first.toml", "[run]\nsteps = 20\nrate = 0.5\n[run.inner]\nwidths = [1, 2]\nnames = ['p']\n");
  write("base/second.toml", "extends = \"first.toml\"\n[run]\nsteps = 30\nfast = false\n");
  const std::string third =
      write("third.toml", "extends = \"base/second.toml\"\n[run.inner]\nwidths = [3]\n[run.extra]\nextra = 2\n");
  const Options o = options_of(Recipe::read(third), {"run.rate=0.25"});
  EXPECT_EQ(o.steps, 30);
  EXPECT_EQ(o.rate, 0.25);
  EXPECT_FALSE(o.fast);
  EXPECT_EQ(o.widths, (std::vector<std::int64_t>{3}));
  EXPECT_EQ(o.names, (std::vector<std::string>{"p"}));
  EXPECT_EQ(o.extra, 2);

  // An error is told where it stands.
  const std::string at = folder.string() + "/";
  write("base/bad.toml", "\n[run]\nsteps = 0\n");
  EXPECT_EQ(error_in(write("on_bad.toml", "extends = \"base/bad.toml\"\n[run]\nrate = 1\n")),
            at + "base/bad.toml:3: run.steps: expected an integer in [1, 1000], got 0");
  EXPECT_EQ(error_in(write("own_bad.toml", "extends = \"base/first.toml\"\n[run]\nrate = 0.0\n")),
            at + "own_bad.toml:3: run.rate: expected a number, above 0, got 0.0");
  EXPECT_EQ(error_in(write("mixed.toml", "extends = \"base/first.toml\"\nrun = 3\n")),
            at + "mixed.toml:2: run: expected a section [run], got 3");
  EXPECT_EQ(error_in(write("lost.toml", "extends = \"absent.toml\"\n")),
            at + "lost.toml:1: extends: " + at + "absent.toml: no such file");
  EXPECT_EQ(error_in(write("number.toml", "extends = 3\n")),
            at + "number.toml:1: extends: expected the path of another recipe, got 3");
  write("round.toml", "extends = \"about.toml\"\n");
  EXPECT_EQ(error_in(write("about.toml", "\nextends = \"round.toml\"\n")),
            at + "round.toml:1: extends: " + at + "about.toml leads back to itself");
}

TEST(Recipes, WrittenOnesReadBackEqual) {
  Options o{.steps = 77,
            .rate = 0.1 + 0.2,
            .fast = false,
            .kind = "b\"quoted\"",
            .widths = {},
            .names = {"a b", "c\\"},
            .has_extra = true,
            .extra = 1e-300};
  const std::string text = write_recipe([&](Fields& f) { describe(f, o); });
  const Options back = read(text);
  EXPECT_EQ(back.steps, o.steps);
  EXPECT_EQ(back.rate, o.rate);
  EXPECT_EQ(back.fast, o.fast);
  EXPECT_EQ(back.kind, o.kind);
  EXPECT_EQ(back.widths, o.widths);
  EXPECT_EQ(back.names, o.names);
  EXPECT_EQ(back.extra, o.extra);
  EXPECT_NE(text.find("steps = 77  # how many"), std::string::npos);
}

/// A section that the user names, with a text of the user's.
struct Named {
  std::string section, text;
  std::int64_t steps = 1;
};

void describe(Fields& f, Named& n) {
  f.section("phase", [&](Fields& g) {
    g.section(n.section.c_str(), [&](Fields& h) {
      h.field("text", n.text, {}, "of the user's");
      h.field("steps", n.steps, Range{1, 9}, "");
    });
  });
}

Named named(const Recipe& recipe, const std::string& section) {
  Named n{section, ""};
  recipe.apply([&](Fields& f) { describe(f, n); });
  return n;
}

TEST(Recipes, WhateverTheUserNamesReadsBackEqual) {
  for (const std::string name :
       {"plain", "first phase", "a.b",   "",          "dash-ed_2",  "\"quoted\"", "it's", "back\\slash", "#no comment",
        "[x]",   "a=b",         "Größe", "tab\there", "two\nlines", "\x01\x7f",   "'''",  "\"\"\"",      "\\\"",
        " ",     "trailing \\", "\r\n",  "日本"}) {
    Named n{name, name, 7};
    const std::string text = write_recipe([&](Fields& f) { describe(f, n); });
    const Named back = named(Recipe::parse(text, "r.toml"), name);
    EXPECT_EQ(back.text, name);
    EXPECT_EQ(back.steps, 7) << text;
  }
}

TEST(Recipes, AssignmentsReachQuotedSectionsAndKeepTextsAsTheyAre) {
  for (const auto& [key, section] : std::map<std::string, std::string>{
           {"phase.first phase", "first phase"}, {"phase.\"a.b\"", "a.b"}, {"phase.'a=b'", "a=b"}}) {
    Recipe recipe = Recipe::parse("", "r.toml");
    recipe.set(key + ".steps=5");
    for (const std::string text :
         {"/some/where", "two words", "c:\\folder", "\"half", "x = \"y\"", "Größe", "a\nb", "1\nb = 2"}) {
      recipe.set(key + ".text=" + text);
      EXPECT_EQ(named(recipe, section).text, text);
      EXPECT_EQ(named(recipe, section).steps, 5);
    }
    recipe.set(key + ".steps=11");
    EXPECT_EQ(error_of([&] { named(recipe, section); }),
              "--set phase." + section + ".steps: expected an integer in [1, 9], got 11");
  }
}

}  // namespace
}  // namespace igebm::io
