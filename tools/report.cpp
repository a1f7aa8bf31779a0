#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/model/shipped.h"
#include "igebm/report/evaluations.h"
#include "igebm/report/page.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct ReportArguments {
  std::vector<std::string> runs;
  std::string out;
  bool follow = false, json = false;
};

}  // namespace

bool write_report(const std::vector<fs::path>& folders, const fs::path& out, std::int64_t reload_seconds) {
  std::vector<report::RunFacts> runs;
  bool in_training = false;
  std::string repeat = "igebm report";
  for (const fs::path& folder : folders) {
    runs.push_back(report::read_run(folder));
    in_training = in_training || runs.back().in_training;
    repeat += " " + io::in_shell(folder);
  }
  repeat += " --out " + io::in_shell(out);
  report::PageOptions options{.made_by = {{"made by", "igebm " IGEBM_VERSION},
                                          {"on", machine()},
                                          {"at", report::minute_of(std::time(nullptr))}},
                              .repeat = repeat,
                              .reload_seconds = in_training ? reload_seconds : 0};
  io::write_atomically(out, report::page(runs, options));
  return in_training;
}

namespace {

void report(const ReportArguments& a) {
  std::vector<fs::path> folders;
  for (const std::string& run : a.runs) folders.push_back(model::find_model(run));
  const fs::path out = !a.out.empty()        ? fs::path(a.out)
                       : folders.size() == 1 ? fs::path(folders[0].filename().string() + ".html")
                                             : fs::path("report.html");
  if (out.extension() != ".html")
    throw UserError(fmt::format("report: --out {}: expected a name that ends in .html", a.out));
  io::check_writable(out);
  constexpr int interval = 5;  // seconds
  const auto console = a.json ? std::make_unique<Observer>() : make_console();
  if (a.follow) catch_interrupts();
  while (write_report(folders, out, a.follow ? interval : 0) && a.follow && !interrupted()) {
    console->message(
        fmt::format("{}: made again every {} s until training ends; Ctrl-C stops that", out.string(), interval));
    for (int tenth = 0; tenth < 10 * interval && !interrupted(); ++tenth)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  if (a.json) {
    fmt::print("{}\n", json_text({{"report", out.string()}, {"bytes", fs::file_size(out)}}));
    return;
  }
  console->message(fmt::format("{}: {} kB, opens in a browser", out.string(), (fs::file_size(out) + 999) / 1000));
}

}  // namespace

void add_report(CLI::App& app) {
  auto* command = app.add_subcommand("report", "one page, for a browser, of what runs did: curves, samples, recipe");
  auto a = std::make_shared<ReportArguments>();
  command->add_option("RUN", a->runs, "runs' folders, or models' names; several are compared")->required();
  command->add_option("--out", a->out, "FILE.html (default: the run's name, or report.html of several)");
  command->add_flag("--follow", a->follow, "make it again every few seconds until training ends");
  command->add_flag("--json", a->json, "print one JSON object");
  command->footer("Example:\n  igebm report runs/fashion-mnist runs/fashion-mnist-2 --out both.html");
  command->callback([a] { as_command("report", [&] { report(*a); }); });
}

}  // namespace igebm::tools
