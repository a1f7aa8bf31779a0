#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "igebm/data/data.h"
#include "tests/refusals.h"

namespace igebm::data {

/// A folder of its own for each test.
class InFolder : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder = std::filesystem::temp_directory_path() /
             ("igebm-" + std::to_string(getpid()) + test->test_suite_name() + test->name());
    std::filesystem::create_directories(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary) << bytes;
    return folder / name;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(folder / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Python with NumPy and Pillow, in that folder; its exit status.
  int python(const std::string& code) const {
    write("code.py", code);
    return std::system(("cd '" + folder.string() + "' && " IGEBM_SOURCE_DIR "/.venv/bin/python code.py").c_str());
  }
  static bool has_python(const std::string& modules = "numpy") {
    return std::system((IGEBM_SOURCE_DIR "/.venv/bin/python -c 'import " + modules + "' 2>/dev/null").c_str()) == 0;
  }

  std::filesystem::path folder;
};

/// A set from here, nothing held out.
inline Options in(const std::filesystem::path& path, const char* name, const char* variant = "") {
  return {.name = name, .path = path, .variant = variant, .validation = 0};
}

}  // namespace igebm::data
