#include "igebm/io/files.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "igebm/base/error.h"
#include "igebm/io/lock.h"
#include "tests/refusals.h"

namespace igebm::io {
namespace {

namespace fs = std::filesystem;

class Writing : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("igebm-files-" + std::to_string(getpid()) +
                                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string names() const {
    std::string all;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) all += entry.path().filename().string() + " ";
    return all;
  }

  fs::path folder;
};

TEST_F(Writing, WhetherItCanBeDoneIsKnownBeforeAndLeavesNothing) {
  write_atomically(folder / "file", "old");
  EXPECT_NO_THROW(check_writable(folder / "file"));
  EXPECT_NO_THROW(check_writable(folder / "new"));
  EXPECT_NO_THROW(check_writable(folder / "made" / "when needed" / "new"));
  EXPECT_NO_THROW(check_folder(folder / "made" / "run"));
  EXPECT_NO_THROW(check_folder(folder));
  for (const fs::path& path : {folder, folder / "file" / "x", fs::path("/proc/x"), fs::path("/proc/nope/x"),
                               folder / "made" / std::string(256, 'x')})
    EXPECT_THROW(check_writable(path), UserError) << path;
  for (const fs::path& path : {folder / "file", folder / "file" / "x", fs::path("/proc/nope/x"), fs::path("/proc")})
    EXPECT_THROW(check_folder(path), UserError) << path;
  EXPECT_EQ(names(), "file ");
  EXPECT_EQ(read_file(folder / "file"), "old");
}

// Two trainings that begin at the same moment: one looks whether it can write while the other makes its folder.
TEST_F(Writing, AFolderIsMadeWhileAnotherLooksWhetherItCanBe) {
  std::atomic<bool> over = false;
  std::thread looking([&] {
    while (!over) {
      try {
        check_writable(folder / "runs" / "other" / "new");
      } catch (const UserError&) {  // whose folder went meanwhile
      }
    }
  });
  for (int i = 0; i < 300; ++i) {
    EXPECT_NO_THROW(make_folder(folder / "runs" / "one"));
    std::error_code gone;
    fs::remove(folder / "runs" / "one", gone), fs::remove(folder / "runs", gone);
  }
  over = true;
  looking.join();
}

TEST_F(Writing, TheLongestNameThereIsCanBeWritten) {
  const fs::path path = folder / std::string(255, 'x');
  EXPECT_NO_THROW(check_writable(path));
  write_atomically(path, "text");
  EXPECT_EQ(read_file(path), "text");
}

TEST_F(Writing, GoesThroughLinksAndLeavesDevicesWhatTheyAre) {
  write_atomically(folder / "file", "old");
  fs::create_symlink("file", folder / "link");
  write_atomically(folder / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "file"), "new");
  fs::create_symlink("/dev/null", folder / "nowhere");
  EXPECT_NO_THROW(check_writable(folder / "nowhere"));
  write_atomically(folder / "nowhere", "text");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_TRUE(fs::is_symlink(folder / "nowhere"));
  if (!fs::exists("/dev/full")) return;
  fs::create_symlink("/dev/full", folder / "full");
  EXPECT_THROW(write_atomically(folder / "full", "text"), UserError);
  EXPECT_TRUE(fs::is_symlink(folder / "full"));
}

TEST_F(Writing, PathsAreQuotedForAShellWhereTheyHaveToBe) {
  EXPECT_EQ(in_shell("runs/two-moons_2.0"), "runs/two-moons_2.0");
  for (const char* name : {"my run", "it's", "$HOME", "a;b", "\\", "*", "\"x\"", "Größe", "~"}) {
    write_atomically(folder / name, "text");
    EXPECT_EQ(std::system(("cd " + in_shell(folder) + " && test -f " + in_shell(name)).c_str()), 0) << name;
  }
}

TEST_F(Writing, ALockKeepsOthersOutAndSaysWhoHasIt) {
  std::optional<Lock> first(std::in_place, folder);
  const std::string said = error_of([&] { Lock second(folder); });
  EXPECT_NE(said.find(folder.string() + ": process " + std::to_string(getpid())), std::string::npos) << said;
  std::optional<Lock> moved(std::move(*first));
  first.reset();
  EXPECT_THROW(Lock second(folder), UserError);
  moved.reset();
  EXPECT_EQ(names(), "");
  EXPECT_NO_THROW(Lock second(folder));
  EXPECT_THROW(Lock second(folder / "absent"), UserError);
}

TEST_F(Writing, ALockGoesWithItsProcess) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const Lock lock(folder);
    (void)!write(ready[1], "x", 1);
    while (true) pause();
  }
  char one = 0;
  ASSERT_EQ(read(ready[0], &one, 1), 1);
  EXPECT_NE(error_of([&] { Lock second(folder); }).find("process " + std::to_string(child)), std::string::npos);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(Lock second(folder));
  EXPECT_EQ(names(), "");
}

// An owner takes its file away while others open it: no two may end up with a lock each.
TEST_F(Writing, OnlyOneAtATimeHasALock) {
  int inside = 0;  // a data race, or above 1, where two are in
  int entered = 0;
  const auto work = [&] {
    for (int i = 0; i < 300; ++i) {
      try {
        const Lock lock(folder);
        EXPECT_EQ(++inside, 1);
        std::this_thread::yield();
        --inside;
        ++entered;
      } catch (const UserError&) {
      }
    }
  };
  std::thread a(work), b(work), c(work);
  a.join(), b.join(), c.join();
  EXPECT_GT(entered, 0);
}

}  // namespace
}  // namespace igebm::io
