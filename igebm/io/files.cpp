#include "igebm/io/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "igebm/base/error.h"

namespace igebm::io {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const char* what, int error) {
  throw UserError(fmt::format("{}: {}: {}", path.string(), what, std::strerror(error)));
}

}  // namespace

std::string read_file(const fs::path& path) {
  std::error_code none;
  if (fs::is_directory(path, none)) fail(path, "cannot be read", EISDIR);
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(path, "cannot be read", errno);
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

namespace {

/// Where the bytes of `path` belong: behind a link the file that it leads to.
fs::path behind_links(const fs::path& path) {
  std::error_code none;
  if (!fs::is_symlink(path, none)) return path;
  const fs::path target = fs::weakly_canonical(path, none);
  return none ? path : target;
}

/// A device or a pipe, which a rename would take away.
bool is_special(const fs::path& path) {
  std::error_code none;
  const fs::file_status status = fs::status(path, none);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

/// A name beside `path` that no other writer has, and that is short, as a path's own may be the longest there is.
fs::path temporary_beside(const fs::path& path) {
  static std::atomic<int> count{0};
  return folder_of(path) / fmt::format(".igebm-{}-{}.tmp", ::getpid(), count++);
}

int open_to_write(const fs::path& path, int how) { return ::open(path.c_str(), O_WRONLY | O_CLOEXEC | how, 0644); }

/// 0, or what went wrong.
int write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

/// 0, or what keeps a file from being made beside `path`.
int try_file_beside(const fs::path& path) {
  const fs::path temporary = temporary_beside(path);
  const int file = open_to_write(temporary, O_CREAT | O_EXCL);
  if (file < 0) return errno;
  ::close(file);
  ::unlink(temporary.c_str());
  return 0;
}

void write_into(const fs::path& special, std::string_view bytes) {
  const int file = open_to_write(special, 0);
  if (file < 0) fail(special, "cannot be written", errno);
  const int error = write_all(file, bytes);
  ::close(file);
  if (error != 0) fail(special, "cannot be written", error);
}

/// Those of `folder` and its parents that are not there, the outermost last.
std::vector<fs::path> missing_folders(const fs::path& folder) {
  std::vector<fs::path> missing;
  std::error_code none;
  for (fs::path p = fs::absolute(folder, none); !p.empty() && !fs::exists(p, none); p = p.parent_path()) {
    missing.push_back(p);
    if (p == p.parent_path()) break;
  }
  return missing;
}

/// A folder with all above it, for as long as something is tried in it.
class TrialFolder {
 public:
  explicit TrialFolder(const fs::path& folder) : made_(missing_folders(folder)) {
    try {
      make_folder(folder);
    } catch (...) {
      remove();
      throw;
    }
  }
  ~TrialFolder() { remove(); }

 private:
  void remove() {
    std::error_code ignored;
    for (const fs::path& p : made_) fs::remove(p, ignored);
  }
  std::vector<fs::path> made_;
};

}  // namespace

void make_folder(const fs::path& folder) {
  // Another process may take a folder on the way back that it had made to see whether it can (check_writable): between
  // two steps of making ours (no such file), or between "it is there already" and the look at what it is (exists).
  std::error_code error;
  for (int tries = 0; tries < 1000; ++tries) {
    fs::create_directories(folder, error);
    if (!error && fs::is_directory(folder, error)) return;
    if (!error) error = std::make_error_code(std::errc::not_a_directory);
    if (error != std::errc::no_such_file_or_directory && error != std::errc::file_exists) break;
  }
  throw UserError(fmt::format("{}: cannot be made: {}", folder.string(), error.message()));
}

void check_writable(const fs::path& path) {
  const fs::path target = behind_links(path);
  std::error_code none;
  if (fs::is_directory(target, none)) fail(path, "cannot be written", EISDIR);
  if (is_special(target)) {
    if (::access(target.c_str(), W_OK) != 0) fail(path, "cannot be written", errno);
    return;
  }
  const TrialFolder folder(folder_of(target));
  if (target.filename().string().size() > NAME_MAX) fail(path, "cannot be written", ENAMETOOLONG);
  if (const int error = try_file_beside(target); error != 0) fail(path, "cannot be written", error);
}

void check_folder(const fs::path& folder) {
  const TrialFolder trial(folder);
  if (const int error = try_file_beside(folder / "any"); error != 0)
    fail(folder, "nothing can be written there", error);
}

void write_atomically(const fs::path& path, std::string_view bytes) {
  const fs::path target = behind_links(path);
  if (is_special(target)) return write_into(target, bytes);
  const fs::path temporary = temporary_beside(target);
  const int file = open_to_write(temporary, O_CREAT | O_TRUNC);
  if (file < 0) fail(path, "cannot be written", errno);
  const auto give_up = [&](int error) {
    ::unlink(temporary.c_str());
    fail(path, "cannot be written", error);
  };
  int error = write_all(file, bytes);
  if (error == 0 && ::fsync(file) != 0) error = errno;
  if (::close(file) != 0 && error == 0) error = errno;
  if (error != 0) give_up(error);
  if (::rename(temporary.c_str(), target.c_str()) != 0) give_up(errno);
  sync_folder(folder_of(target));
}

void sync_file(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(path, "cannot be read", errno);
  const int error = ::fsync(file) != 0 ? errno : 0;
  ::close(file);
  if (error != 0) fail(path, "cannot be written", error);
}

void sync_folder(const fs::path& folder) {
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return;
  ::fsync(handle);
  ::close(handle);
}

std::string in_shell(const fs::path& path) {
  const std::string text = path.string();
  constexpr const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace igebm::io
