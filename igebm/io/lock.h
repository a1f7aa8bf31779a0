#pragma once

#include <filesystem>

namespace igebm::io {

/// Keeps a folder for one writer: others that want it while this one lives, in this process or another, are refused.
/// It goes with its process, however that ends. Readers need none.
class Lock {
 public:
  /// Throws UserError that says who has the folder, or that nothing can be written there. On a file system without
  /// locks it keeps nobody out.
  explicit Lock(const std::filesystem::path& folder);
  Lock(Lock&& other) noexcept;
  Lock& operator=(Lock&&) = delete;
  ~Lock();

  /// Whether somebody has the folder now; false, too, where that cannot be told.
  static bool is_held(const std::filesystem::path& folder);

  /// Asks who has the folder to end, by SIGUSR1, as schedulers do. False where nobody has it, or on another machine.
  static bool ask_to_stop(const std::filesystem::path& folder);

  /// Of the file in the folder that is locked, which is gone when nobody has the folder.
  static constexpr const char* name = ".lock";

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace igebm::io
