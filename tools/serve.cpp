#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/lock.h"
#include "igebm/serve/server.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

struct ServeArguments {
  std::vector<std::string> runs;
  serve::ServerOptions options;
};

/// 128 random bits.
std::string new_token() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

/// Where none is named: the runs in runs/ that have an energy, but for those that cannot be read.
std::vector<std::string> usual_runs() {
  std::vector<std::string> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("runs", none)) {
    if (model::list_checkpoints(entry.path()).empty()) continue;
    try {
      if (model::load_network(entry.path()).graph.outputs == 0) found.push_back(entry.path());
    } catch (const UserError&) {
      continue;
    }
  }
  std::ranges::sort(found);
  return found;
}

/// In a process and session of its own, so that it outlives the viewer. What it prints goes to resume.log.
void resume(const std::filesystem::path& run) {
  const std::string log = run / "resume.log", path = run;
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::array<const char*, 5> words = {"igebm", "train", "--resume", path.c_str(), nullptr};
  pid_t process = 0;
  const int failed =
      posix_spawn(&process, "/proc/self/exe", &files, &attributes, const_cast<char* const*>(words.data()), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) throw UserError(fmt::format("igebm train: {}", std::strerror(failed)));
  int status = 0;
  while (!io::Lock::is_held(run)) {
    if (waitpid(process, &status, WNOHANG) == process) {
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;  // there was nothing left to train
      const std::string said = io::read_file(log);
      const auto last = said.find_last_of('\n', said.size() - 2);
      throw UserError(said.empty() ? "igebm train ended at once"
                                   : said.substr(last == std::string::npos ? 0 : last + 1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  std::thread([process] { waitpid(process, nullptr, 0); }).detach();
}

void serve_viewer(ServeArguments a) {
  catch_interrupts();
  if (!serve::is_loopback(a.options.host)) a.options.token = new_token();
  a.options.resume = resume;
  if (a.runs.empty()) a.runs = usual_runs();
  serve::Server server(serve::offers(a.runs), a.options);
  const std::string host = a.options.host == "0.0.0.0" || a.options.host == "::" ? "THIS-MACHINE" : a.options.host;
  print_on(fmt::format("http://{}:{}/{}\nCtrl-C ends it\n",
                       host.find(':') == std::string::npos ? host : "[" + host + "]", server.port(),
                       a.options.token.empty() ? "" : "?token=" + a.options.token));
  server.run(interrupted);
}

}  // namespace

void add_serve(CLI::App& app) {
  auto* command = app.add_subcommand("serve", "a page in the browser: choose a model, see its samples form");
  auto a = std::make_shared<ServeArguments>();
  command->add_option("RUN", a->runs,
                      "runs' folders to offer beside the models that come with igebm (default: those in runs/)");
  command->add_option("--port", a->options.port, "0: any that is free")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{65535}));
  command
      ->add_option("--host", a->options.host,
                   "the address to listen at; but for this machine's own, the page needs a token, which is printed")
      ->capture_default_str();
  add_threads_option(*command);
  command->footer("Example:\n  igebm serve runs/fashion-mnist");
  command->callback([a] { as_command("serve", [&] { serve_viewer(*a); }); });
}

}  // namespace igebm::tools
