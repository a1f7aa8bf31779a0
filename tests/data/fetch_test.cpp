#include "igebm/data/fetch.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <functional>
#include <thread>

#include "tests/data/files.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

const std::string content = [] {
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes += static_cast<char>(i * i % 251);
  return bytes;
}();
constexpr const char* sha256 = "660faa7089afce64fd1e9dd44cdbce136859740a4fe371c564b58687a67f7b8b";
constexpr const char* md5 = "4d09076636335b918e22443f1fd554a9";

class Fetch : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    Observer quiet;
    const Set none{.name = "none", .sources = {{"file:///none", "none", 0, ""}}};
    if (error_of([&] { fetch(none, {.folder = folder / "to"}, quiet); }).find("built without") != std::string::npos)
      GTEST_SKIP() << "built without libcurl, OpenSSL and libarchive";
    write("served/file", content);
    server = fork();
    if (server == 0) {
      execlp("python3", "python3", IGEBM_SOURCE_DIR "/tests/data/server.py", (folder / "served").c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 400 && !fs::exists(folder / "served/port"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ASSERT_TRUE(fs::exists(folder / "served/port")) << "the test's server did not start";
    address = "http://127.0.0.1:" + read("served/port");
  }
  void TearDown() override {
    if (server > 0) {
      kill(server, SIGKILL);
      waitpid(server, nullptr, 0);
    }
    InFolder::TearDown();
  }
  Set set(const char* checksum = sha256, std::int64_t bytes = 5000) const {
    return {.name = "mine", .sources = {{"https://example.invalid/file", "file", bytes, checksum}}};
  }
  void get(const Set& what, const std::string& kind = "whole", std::function<bool()> stop = nullptr) {
    fetch(what, {.folder = folder / "to", .from = address + "/" + kind, .stop = std::move(stop)}, observer);
  }
  std::string requests() const { return read("served/requests.log"); }

  struct Seen : Observer {
    void message(std::string_view text) override { messages += fmt::format("{}\n", text); }
    void progress(std::string_view, std::int64_t done, std::int64_t) override { most = std::max(most, done); }
    std::string messages;
    std::int64_t most = 0;
  } observer;
  std::string address;
  pid_t server = 0;
};

TEST_F(Fetch, WholeOnceWithEitherChecksum) {
  get(set());
  EXPECT_EQ(read("to/file"), content);
  EXPECT_EQ(observer.most, 5000);
  EXPECT_FALSE(fs::exists(folder / "to/file.part"));
  get(set());
  EXPECT_NE(observer.messages.find("there already"), std::string::npos);
  EXPECT_EQ(requests(), "/whole/file None\n");
  fs::remove(folder / "to/file");
  get(set(md5, 0));
  EXPECT_EQ(read("to/file"), content);
}

TEST_F(Fetch, GoesOnWhereItStopped) {
  write("to/file.part", content.substr(0, 1234));
  get(set());
  EXPECT_EQ(read("to/file"), content);
  EXPECT_EQ(requests(), "/whole/file bytes=1234-\n");
}

TEST_F(Fetch, BrokenConnectionsAreTakenUpAgain) {
  get(set(), "broken");
  EXPECT_EQ(read("to/file"), content);
  EXPECT_NE(requests().find("bytes=4000-"), std::string::npos) << requests();
}

TEST_F(Fetch, FromTheStartWhereTheServerKnowsNoRanges) {
  write("to/file.part", content.substr(0, 1234));
  get(set(), "plain");
  EXPECT_EQ(read("to/file"), content);
}

TEST_F(Fetch, MoreThanTheWholeIsBegunAnew) {
  write("to/file.part", content + "and more");
  get(set());
  EXPECT_EQ(read("to/file"), content);
}

TEST_F(Fetch, WrongContentIsRemovedAndSaid) {
  std::string wrong = content;
  wrong[99] ^= 1;
  write("served/file", wrong);
  EXPECT_SAYS(get(set()), fmt::format("expected {}", sha256));
  EXPECT_SAYS(get(set(md5)), fmt::format("expected {}", md5));
  EXPECT_SAYS(get(set(sha256, 5001)), "5000 bytes, expected 5001");
  EXPECT_FALSE(fs::exists(folder / "to/file"));
  EXPECT_FALSE(fs::exists(folder / "to/file.part"));
}

TEST_F(Fetch, WhatStopsItIsSaid) {
  fs::remove(folder / "served/file");
  EXPECT_SAYS(get(set()), "404");
  kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
  server = 0;
  EXPECT_SAYS(get(set()), "is there a network?");
  const std::string mirror = address + "/whole";
  EXPECT_SAYS(fetch(find_set("svhn"), {.folder = folder / "new", .from = mirror, .variant = "xtra"}, observer),
              "expected one of \"standard\", \"extra\" for svhn, got \"xtra\"");
  EXPECT_SAYS(fetch(find_set("mnist"), {.folder = folder / "new", .from = mirror, .variant = "fine"}, observer),
              "mnist has no variants");
  EXPECT_FALSE(fs::exists(folder / "new"));
  EXPECT_SAYS(fetch(find_set("imagenet-32"), {}, observer), "registering at https://image-net.org");
  EXPECT_SAYS(fetch(find_set("two-moons"), {}, observer), "is made, not downloaded");
  EXPECT_SAYS(fetch(find_set("npz"), {}, observer), "of your own");
  EXPECT_SAYS(fetch(set(), {.folder = "/proc/no"}, observer), "cannot be made");
}

TEST_F(Fetch, AnInterruptionKeepsWhatHasCome) {
  EXPECT_SAYS(get(set(), "whole", [] { return true; }), "interrupted");
  get(set());
  EXPECT_EQ(read("to/file"), content);
}

// Names that point elsewhere are put into the folder all the same.
TEST_F(Fetch, ArchivesAreTakenApart) {
  ASSERT_EQ(std::system(("cd '" + folder.string() +
                         "' && mkdir -p in/cifar && echo one > in/cifar/a.bin && echo two > in/b.bin && echo no > "
                         "in/other && tar --transform 's,^in/b,../../b,' -P -czf served/x.tar.gz in && "
                         "python3 -c \"import zipfile; z = zipfile.ZipFile('served/x.zip', 'w'); z.write('in/b.bin'); "
                         "z.write('in/cifar/a.bin')\"")
                            .c_str()),
            0);
  for (const char* name : {"x.tar.gz", "x.zip"}) {
    const Set archive{.name = "mine", .sources = {{"https://example.invalid", name, 0, "", {"a.bin", "b.bin"}}}};
    get(archive);
    EXPECT_EQ(read("to/a.bin"), "one\n");
    EXPECT_EQ(read("to/b.bin"), "two\n");
    EXPECT_FALSE(fs::exists(folder / "to/other"));
    EXPECT_FALSE(fs::exists(folder / "b.bin"));
    fs::remove_all(folder / "to");
    // One that somebody put there is taken, and never removed.
    const std::string archive_bytes = read(std::string("served/") + name);
    write(std::string("to/") + name, archive_bytes);
    fetch(archive, {.folder = folder / "to", .from = "http://127.0.0.1:9"}, observer);
    EXPECT_EQ(read("to/a.bin"), "one\n");
    fs::remove(folder / "to/a.bin");
    Set other = archive;
    other.sources[0].bytes = 7;
    EXPECT_SAYS(get(other),
                fmt::format("{}: {} bytes, expected 7", (folder / "to" / name).string(), archive_bytes.size()));
    EXPECT_EQ(read(std::string("to/") + name), archive_bytes);
    fs::remove_all(folder / "to");
    const Set lacking{.name = "mine", .sources = {{"https://example.invalid", name, 0, "", {"c.bin"}}}};
    EXPECT_SAYS(get(lacking), "lacks c.bin");
    fs::remove_all(folder / "to");
  }
  write("served/x.tar.gz", read("served/x.tar.gz").substr(0, 90));
  EXPECT_SAYS(get({.name = "mine", .sources = {{"https://example.invalid", "x.tar.gz", 0, "", {"a.bin"}}}}),
              "x.tar.gz");
}

// Each source's address, size and checksum have the form that fetch expects.
TEST(Sources, AreWellFormed) {
  for (const Set& set : sets()) {
    for (const Source& source : set.sources) {
      const std::string address = source.address, checksum = source.checksum;
      EXPECT_TRUE(address.starts_with("http")) << set.name;
      EXPECT_TRUE(address.ends_with(source.file)) << set.name;
      EXPECT_TRUE(checksum.size() == 64 || checksum.size() == 32) << set.name;
      EXPECT_EQ(checksum.find_first_not_of("0123456789abcdef"), std::string::npos) << set.name;
    }
    EXPECT_TRUE(set.files.empty() || *set.needs != '\0') << set.name;
  }
}

class Places : public InFolder {};

TEST_F(Places, InTheOrderThatIsDocumented) {
  const auto with = [&](const char* own, const char* xdg, const char* home) {
    const auto put = [](const char* name, const char* value) {
      value == nullptr ? unsetenv(name) : setenv(name, value, 1);
    };
    const std::string before[] = {std::getenv("IGEBM_DATA") ? std::getenv("IGEBM_DATA") : "",
                                  std::getenv("HOME") ? std::getenv("HOME") : "/"};
    put("IGEBM_DATA", own), put("XDG_DATA_HOME", xdg), put("HOME", home);
    std::string all;
    for (const auto& place : places(find_set("mnist"), "")) all += place.string() + " ";
    put("IGEBM_DATA", before[0].empty() ? nullptr : before[0].c_str()), put("XDG_DATA_HOME", nullptr),
        put("HOME", before[1].c_str());
    return all;
  };
  EXPECT_EQ(with("/a", "/x", "/h"), "/a/mnist /x/igebm/mnist /usr/share/datasets/mnist ");
  EXPECT_EQ(with(nullptr, nullptr, "/h"), "/h/.local/share/igebm/mnist /usr/share/datasets/mnist ");
  EXPECT_EQ(places(find_set("mnist"), "/p"), std::vector<fs::path>{"/p"});
}

TEST_F(Places, WhatAFolderLacks) {
  using Names = std::vector<std::string>;
  const auto lacks = [&](const char* set) { return missing_files(find_set(set), folder); };
  write("train-images-idx3-ubyte", ""), write("train-labels-idx1-ubyte.gz", "");
  EXPECT_EQ(lacks("mnist"), (Names{"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}));
  write("t10k-images-idx3-ubyte.gz", ""), write("t10k-labels-idx1-ubyte", "");
  EXPECT_EQ(lacks("mnist"), Names{});
  // Of the two forms the one that is there.
  for (const char* name : {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"})
    write(name, "");
  EXPECT_EQ(find_folder(find_set("cifar10"), folder), folder);
  EXPECT_EQ(lacks("cifar10"), Names{"test_batch"});
  write("test_batch", "");
  EXPECT_EQ(lacks("cifar10"), Names{});
  // One variant of EMNIST is enough.
  for (const char* name : {"images-idx3", "labels-idx1"})
    write(std::string("emnist-letters-train-") + name + "-ubyte", "");
  EXPECT_EQ(lacks("emnist").size(), 2);
  EXPECT_TRUE(lacks("emnist")[0].starts_with("emnist-letters-test")) << lacks("emnist")[0];
  // ImageNet's batches may be mixed.
  write("val_data.npz", "");
  for (int i = 1; i <= 10; ++i) write("train_data_batch_" + std::to_string(i) + (i % 2 == 0 ? ".npz" : ""), "");
  EXPECT_EQ(lacks("imagenet-32"), Names{});
  // As its archives unpack, the two splits lie in folders beside one another, or one of them above.
  fs::create_directories(folder / "Imagenet32_train_npz");
  for (int i = 1; i <= 10; ++i) {
    const std::string name = "train_data_batch_" + std::to_string(i) + (i % 2 == 0 ? ".npz" : "");
    fs::rename(folder / name, folder / "Imagenet32_train_npz" / name);
  }
  EXPECT_EQ(lacks("imagenet-32"), Names{});
  fs::create_directories(folder / "Imagenet32_val_npz");
  fs::rename(folder / "val_data.npz", folder / "Imagenet32_val_npz/val_data.npz");
  const Set& imagenet = find_set("imagenet-32");
  const fs::path found = find_folder(imagenet, folder);
  EXPECT_EQ(found, folder / "Imagenet32_train_npz");
  EXPECT_EQ(missing_files(imagenet, found), Names{});
  EXPECT_EQ(find_file(imagenet, found, "val_data"), folder / "Imagenet32_val_npz/val_data.npz");
  EXPECT_EQ(find_file(imagenet, found, "val_date"), fs::path());
}

}  // namespace
}  // namespace igebm::data
