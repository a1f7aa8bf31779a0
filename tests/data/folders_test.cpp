// Folders of pictures as people have them: what is read, and what is left out and said to be.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "igebm/data/folder.h"
#include "igebm/data/picture_files.h"
#include "igebm/io/picture.h"
#include "tests/data/files.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

class PictureFolders : public InFolder {
 protected:
  void picture(const std::string& name, int value = 9) const {
    write(name, io::encode_png(at::full({4, 4, 3}, value, at::kByte)));
  }
  void pictures(const std::vector<std::string>& names) const {
    for (const auto& name : names) picture(name);
  }
  PictureFiles find(const std::string& name = "", bool test = false) const {
    return find_pictures(folder / name, test);
  }
  /// Classes, and files as seen from the folder.
  std::string found(const std::string& name = "", bool test = false) const {
    const PictureFiles all = find(name, test);
    std::vector<std::string> files;
    for (const auto& file : all.files) files.push_back(file.lexically_relative(folder).string());
    return fmt::format("{}: {}", fmt::join(all.class_names, " "), fmt::join(files, " "));
  }
  std::string notes(const std::string& name = "", bool test = false) const {
    return fmt::format("{}", fmt::join(find(name, test).notes, "\n"));
  }
  void expect_note(const std::string& text, const std::string& name = "") const {
    EXPECT_NE(notes(name).find(text), std::string::npos) << text << " in: " << notes(name);
  }
};

TEST_F(PictureFolders, SplitsInCapitalsAndByOtherNames) {
  for (const auto& [train, test] : std::vector<std::pair<std::string, std::string>>{
           {"Train", "Test"}, {"TRAINING", "Valid"}, {"train", "VAL"}, {"training", "testing"}}) {
    const std::string at = train + test + "/";
    pictures({at + train + "/cat/1.png", at + train + "/dog/1.png", at + test + "/cat/2.png"});
    EXPECT_EQ(found(at), fmt::format("cat dog: {0}{1}/cat/1.png {0}{1}/dog/1.png", at, train));
    EXPECT_EQ(found(at, true), fmt::format("cat dog: {}{}/cat/2.png", at, test));
    EXPECT_EQ(notes(at), "");
  }
  pictures({"both/train/a/1.png", "both/test/a/1.png", "both/val/a/1.png", "both/Train/a/2.png"});
  EXPECT_EQ(found("both"), "a: both/train/a/1.png");
  expect_note("left out: the folders Train, val; the splits are train and test", "both");
  // ImageNet's test pictures have no classes.
  pictures({"imagenet/train/a/1.png", "imagenet/val/a/2.png", "imagenet/test/3.png"});
  EXPECT_EQ(found("imagenet", true), "a: imagenet/val/a/2.png");
}

TEST_F(PictureFolders, AClassMayHaveTheNameOfASplit) {
  pictures({"plain/bus/1.png", "plain/train/1.png", "plain/test/1.png"});
  EXPECT_EQ(found("plain"), "bus test train: plain/bus/1.png plain/test/1.png plain/train/1.png");
  EXPECT_SAYS(find("plain", true), "so no test split");
  pictures({"vehicles/bus/1.png", "vehicles/truck/1.png", "vehicles/train/diesel/1.png"});
  EXPECT_EQ(found("vehicles"), "diesel: vehicles/train/diesel/1.png");
  expect_note("left out: the folders bus, truck; the splits are train", "vehicles");
}

TEST_F(PictureFolders, WithoutClasses) {
  pictures({"flat/2.png", "flat/1.png", "split/train/1.png", "split/test/2.png"});
  write("flat/list.txt", "1.png");
  EXPECT_EQ(found("flat"), ": flat/1.png flat/2.png");
  expect_note("flat: left out: 1 .txt (not PNG, ", "flat");
  EXPECT_EQ(found("split", true), ": split/test/2.png");
  const Dataset set = load({.name = "image-folder", .path = folder / "flat", .validation = 0}, Split::train, 0);
  EXPECT_EQ(set.size(), 2);
  EXPECT_EQ(set.classes, 0);
  EXPECT_FALSE(set.labels.defined());
  EXPECT_FALSE(Batches(set, {}, 0).at(0, 2).labels.defined());
  picture("split/test/a/1.png");
  EXPECT_SAYS(find("split", true), "test: folders of classes, where the pictures of");
}

TEST_F(PictureFolders, WhatIsLeftOutIsCounted) {
  pictures({"a/1.png", "a/sub/2.png", "a/._1.png", "a/.thumbs/1.png", "a/@eaDir/1.png", "stray.png", ".cache/1.png",
            "lost+found/1.png"});
  for (const char* name : {"a/1.GIF", "a/2.gif", "a/Thumbs.db", "a/.DS_Store", "a/README"}) write(name, "no picture");
  fs::create_symlink("nowhere", folder / "a/gone.png");
  EXPECT_EQ(found(), "a: a/1.png a/sub/2.png");
  for (const char* said : {"2 .gif (not PNG", "1 .db (not PNG", "1 files without an ending (", "1 pictures (hidden)",
                           "2 folders (hidden, or the system's own)", "1 links (no file, and no folder)",
                           "1 pictures (beside the folders of classes, in none of them)"})
    expect_note(said);
  EXPECT_EQ(notes().find("DS_Store"), std::string::npos);
}

TEST_F(PictureFolders, LinkedFoldersAreReadAndNeverWithoutEnd) {
  pictures({"a/1.png", "b/2.png", "other/3.png"});
  fs::create_directories(folder / "elsewhere/deep");
  picture("elsewhere/deep/4.png");
  fs::rename(folder / "other", folder / "elsewhere/other");
  fs::rename(folder / "elsewhere", folder.string() + "-elsewhere");
  const fs::path elsewhere = folder.string() + "-elsewhere";
  fs::create_directory_symlink(elsewhere, folder / "a/more");
  fs::create_directory_symlink(folder / "a", folder / "a/self");
  fs::create_directory_symlink(folder, elsewhere / "deep/back");
  fs::create_directory_symlink(elsewhere / "other", folder / "c");  // a class
  EXPECT_EQ(found(), "a b c: a/1.png a/more/deep/4.png a/more/other/3.png b/2.png c/3.png");
  expect_note("2 links (to a folder that they are in)");
  fs::remove_all(elsewhere);
}

TEST_F(PictureFolders, ThatCannotBeReadAreNamed) {
  pictures({"a/1.png", "a/shut/2.png"});
  fs::permissions(folder / "a/shut", fs::perms::none);
  if (::access((folder / "a/shut").c_str(), R_OK) == 0) GTEST_SKIP() << "root may read everything";
  EXPECT_SAYS(find(), (folder / "a/shut").string() + ": cannot be read: ");
  fs::permissions(folder / "a/shut", fs::perms::owner_all);
}

// Records of kinds that stand beside one another, in the order of their names.
TEST_F(PictureFolders, OfSeveralKinds) {
  picture("a/1.png", 10);
  write("a/2.bmp", std::string("BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x04\0\0\0\x01\0\0\0\x01\0\x18\0", 30) +
                       std::string(24, '\0') + std::string(12, '\x14'));
  write("a/3.PPM", "P6\n4 1\n255\n" + std::string(12, '\x1e'));
  picture("a/4.jfif", 40);  // the content tells the kind
  const Dataset set = load({.name = "image-folder", .path = folder, .size = 1, .validation = 0}, Split::train, 0);
  EXPECT_TRUE(at::equal(set.x.select(1, 0).flatten(), at::tensor({10, 20, 30, 40}, at::kByte)));
}

}  // namespace
}  // namespace igebm::data
