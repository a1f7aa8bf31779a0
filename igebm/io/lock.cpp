#include "igebm/io/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "igebm/base/error.h"

namespace igebm::io {
namespace {

namespace fs = std::filesystem;

/// "process 4711 on host", as its owner wrote it.
std::string owner(int file) {
  std::array<char, 256> text{};
  const ssize_t size = ::pread(file, text.data(), text.size(), 0);
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : "another process";
}

std::string on_this_machine(pid_t process) {
  std::array<char, 200> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("process {} on {}", process, host.data());
}

/// Whether the file is still the one of that name: its owner removes it at the end.
bool is_at(int file, const fs::path& path) {
  struct stat opened {
  }, named{};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

}  // namespace

Lock::Lock(const fs::path& folder) : path_(folder / name) {
  while (true) {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0)
      throw UserError(fmt::format("{}: nothing can be written there: {}", folder.string(), std::strerror(errno)));
    if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      const std::string who = owner(file_);
      ::close(std::exchange(file_, -1));
      throw UserError(fmt::format("{}: {} is at work there; wait for it, or stop it first", folder.string(), who));
    }
    if (is_at(file_, path_)) break;
    ::close(file_);
  }
  const std::string me = on_this_machine(::getpid());
  if (::ftruncate(file_, 0) == 0) (void)!::pwrite(file_, me.data(), me.size(), 0);  // for messages alone
}

Lock::Lock(Lock&& other) noexcept : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}

bool Lock::is_held(const std::filesystem::path& folder) {
  const int file = ::open((folder / name).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool held = ::flock(file, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(file);
  return held;
}

bool Lock::ask_to_stop(const std::filesystem::path& folder) {
  const int file = ::open((folder / name).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  bool asked = false;
  if (::flock(file, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    const std::string who = owner(file);
    pid_t process = 0;
    const bool told = std::sscanf(who.c_str(), "process %d on", &process) == 1;
    asked = told && process > 1 && who == on_this_machine(process) && ::kill(process, SIGUSR1) == 0;
  }
  ::close(file);
  return asked;
}

Lock::~Lock() {
  if (file_ < 0) return;
  if (is_at(file_, path_)) ::unlink(path_.c_str());
  ::close(file_);
}

}  // namespace igebm::io
