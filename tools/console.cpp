#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/io/picture.h"
#include "igebm/sampling/sampler.h"
#include "igebm/scoring/separation.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<bool> stop_asked{false};
std::atomic<std::int64_t> first_end{0};  // when SIGINT or SIGTERM came first, in ms; 0: never

std::int64_t milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

void on_signal(int signal) {
  stop_asked = true;
  // Others may come in any number and order: a terminal's end sends two, a scheduler SIGUSR1 and later SIGTERM.
  if (signal != SIGINT && signal != SIGTERM) return;
  // A second one ends the program at once, but not the echo of the first: timeout signals the child and its group.
  constexpr std::int64_t echo = 500;
  const std::int64_t now = milliseconds();
  std::int64_t before = 0;
  if (first_end.compare_exchange_strong(before, now) || now - before < echo) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class Console : public Observer {
 public:
  ~Console() override { clear(); }

  void message(std::string_view text) override {
    clear();
    print_on(fmt::format("{}\n", text));
  }

  void progress(std::string_view stage, std::int64_t done, std::int64_t total) override {
    const auto now = Clock::now();
    if (stage != stage_ || done < last_done_) stage_ = stage, first_done_ = done, start_ = now;
    last_done_ = done;
    const double since = seconds(now, shown_);
    if (done < total && since < (terminal_ ? 0.2 : 10)) return;
    shown_ = now;
    std::string line = fmt::format("{}: step {} of {}", stage, done, total);
    if (done > first_done_) {  // how long the first one took is not known
      const double rate = static_cast<double>(done - first_done_) / std::max(seconds(now, start_), 1e-9);
      line += fmt::format(", {:.3g} steps/s, {} left", rate, duration(static_cast<double>(total - done) / rate));
    }
    line += figures_;
    print_on(terminal_ ? "\r\x1b[2K" + line : line + "\n");
    shown_line_ = terminal_;
  }

  void metrics(std::int64_t, std::string_view phase, const Metrics& metrics) override {
    if (phase.empty()) return;
    figures_.clear();
    for (const auto& [name, value] : metrics) {
      if (name == "loss" || name.starts_with("energy/")) figures_ += fmt::format(", {} {:.4g}", name, value);
    }
  }

  void picture(std::int64_t, const std::string& path) override { message("samples: " + path); }

 private:
  static double seconds(Clock::time_point to, Clock::time_point from) {
    return std::chrono::duration<double>(to - from).count();
  }
  void clear() {
    if (shown_line_) print_on("\r\x1b[2K");
    shown_line_ = false;
  }

  const bool terminal_ = isatty(STDOUT_FILENO) != 0;
  bool shown_line_ = false;
  Clock::time_point start_ = Clock::now(), shown_ = start_;
  std::int64_t first_done_ = 0, last_done_ = 0;
  std::string stage_, figures_;
};

class Progress : public Observer {
 public:
  Progress(std::function<void()> on_interrupt, bool quiet)
      : on_interrupt_(std::move(on_interrupt)), console_(quiet ? std::make_unique<Observer>() : make_console()) {}
  void message(std::string_view text) override { console_->message(text); }
  void progress(std::string_view stage, std::int64_t done, std::int64_t total) override {
    if (interrupted()) on_interrupt_();
    console_->progress(stage, done, total);
  }

 private:
  std::function<void()> on_interrupt_;
  std::unique_ptr<Observer> console_;
};

}  // namespace

std::string duration(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  if (s < 48 * 3600) return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
  return fmt::format("{} d {} h", s / 86400, s / 3600 % 24);
}

std::string json_text(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

nlohmann::ordered_json interval_json(const scoring::Interval& interval) {
  return {{"value", interval.value}, {"interval", {interval.low, interval.high}}};
}

void print_on(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::unique_ptr<Observer> make_console() { return std::make_unique<Console>(); }

std::unique_ptr<Observer> make_progress(std::string on_interrupt, bool quiet) {
  return std::make_unique<Progress>([what = std::move(on_interrupt)] { throw UserError(what); }, quiet);
}

std::unique_ptr<Observer> make_stopping_progress(bool quiet) {
  return std::make_unique<Progress>([] { throw sampling::Stop(); }, quiet);
}

std::string told_of_part(std::int64_t finished, std::int64_t total, std::string_view what) {
  return fmt::format("interrupted: the first {} of {} {}, which are finished, are written", finished, total, what);
}

void catch_interrupts() {
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) std::signal(signal, on_signal);
  if (std::signal(SIGHUP, on_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return stop_asked; }

void guard_standard_streams() {
  for (int stream = 0; stream <= 2; ++stream) {
    if (fcntl(stream, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free number is this one. Standard output cannot be written, so that what is lost is told.
    (void)!open("/dev/null", stream == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
}

void flush_output() {
  const bool lost = std::ferror(stdout) != 0;
  errno = 0;
  if (std::fflush(stdout) == 0 && !lost) return;
  std::clearerr(stdout);
  throw UserError(fmt::format("standard output: cannot be written{}{}; what was to be printed is lost",
                              errno != 0 ? ": " : "", errno != 0 ? std::strerror(errno) : ""));
}

void as_command(const char* name, const std::function<void()>& work) {
  try {
    work();
  } catch (const UserError& e) {
    const std::string what = e.what(), begin = fmt::format("{}: ", name);
    throw UserError(what.starts_with(begin) ? what : begin + what);
  }
}

void check_out(const std::string& out) {
  const std::filesystem::path ending = std::filesystem::path(out).extension();
  if (ending != ".png" && ending != ".npz")
    throw UserError(fmt::format("--out {}: expected a name that ends in .png or .npz", out));
}

void check_out(const std::string& out, const std::vector<std::int64_t>& shape) {
  if (!io::has_picture(shape) && std::filesystem::path(out).extension() != ".npz")
    throw UserError(fmt::format("--out {}: these samples have no picture; use FILE.npz", out));
}

}  // namespace igebm::tools
