#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>

#include "igebm/base/observer.h"
#include "igebm/io/files.h"

namespace igebm::training {

/// Tests that train in a folder of their own.
class RunTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder = std::filesystem::temp_directory_path() /
             ("igebm-" + std::string(test->test_suite_name()) + std::to_string(getpid()) + test->name());
    std::filesystem::remove_all(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  /// Everything that a run leaves, by name; but TensorBoard's events, which hold the time of day.
  static std::map<std::string, std::string> contents(const std::filesystem::path& run) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run)) {
      if (entry.is_regular_file() && entry.path().parent_path().filename() != "tensorboard")
        files[std::filesystem::relative(entry.path(), run)] = io::read_file(entry.path());
    }
    return files;
  }
  static auto stop_after(std::int64_t steps) {
    return [steps]() mutable { return steps-- <= 0; };
  }

  std::filesystem::path folder;
  Observer silent;
};

}  // namespace igebm::training
