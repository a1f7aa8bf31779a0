#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <set>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/io/recipe.h"
#include "tools/commands.h"

namespace {

/// Messages of libraries may run over many lines; the first says what happened.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// What LibTorch's allocator says where memory is short; empty for its other errors.
std::string memory_asked_for(const std::string& what) {
  if (what.find("can't allocate memory") == std::string::npos) return {};
  const auto at = what.find("you tried to allocate ");
  const double bytes = at == std::string::npos ? 0 : std::atof(what.c_str() + at + 22);
  return fmt::format("not enough memory{}",
                     bytes > 0 ? fmt::format(": {:.3g} GB more were asked for at once", bytes * 1e-9) : "");
}

/// In words, what the user or the machine's owner can mend of the errors that libraries throw; empty for others.
std::string mendable(const std::exception& e) {
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&e))
    return fmt::format("{}: {}", file->path1().string(), file->code().message());
  if (dynamic_cast<const std::bad_alloc*>(&e) != nullptr || dynamic_cast<const std::length_error*>(&e) != nullptr)
    return "not enough memory: something in the recipe or the options is too large for this machine";
  if (const auto* system = dynamic_cast<const std::system_error*>(&e))
    return fmt::format("the system refuses: {}", system->code().message());
  if (dynamic_cast<const c10::OutOfMemoryError*>(&e) != nullptr) return first_line(e.what());
  return memory_asked_for(e.what());
}

/// "evaluate RUN …", as it was called when samples were all that was evaluated, is "evaluate samples RUN …".
std::vector<char*> in_full(const CLI::App& app, int argc, char** argv) {
  static char samples[] = "samples";
  std::vector<char*> all(argv, argv + argc);
  if (argc < 3 || std::string(argv[1]) != "evaluate") return all;
  const std::string next = argv[2];
  bool known = next == "-h" || next == "--help";
  for (const auto* command : app.get_subcommand("evaluate")->get_subcommands({})) known |= command->get_name() == next;
  if (!known) all.insert(all.begin() + 2, samples);
  return all;
}

/// An empty text is a variable that was not set, not a wish for the default.
void check_empty(const std::vector<char*>& arguments) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string text = arguments[i], before = arguments[i - 1];
    const bool option = text.starts_with("--") && text.find('=') + 1 == text.size();
    if (!text.empty() && !option) continue;
    throw igebm::UserError(
        fmt::format("{}expected a value, got an empty text", option ? text.substr(0, text.size() - 1) + ": "
                                                             : before.starts_with('-') ? before + ": "
                                                                                       : ""));
  }
}

/// What --help and --version ask for.
int print_help(const CLI::App& app, const CLI::ParseError& e) {
  app.exit(e);
  std::cout.flush();
  if (std::cout) return 0;
  fmt::print(stderr, "igebm: standard output: cannot be written\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  igebm::tools::guard_standard_streams();
  igebm::tools::remember_command(argc, argv);
  CLI::App app(
      "igebm trains, samples and examines energy-based models (Du & Mordatch 2019).\n"
      "Begin with: igebm train recipes/two-moons.toml, then igebm sample runs/two-moons --out points.npz");
  app.name("igebm");
  app.set_version_flag("--version", "igebm " IGEBM_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  igebm::tools::add_train(app);
  igebm::tools::add_sample(app);
  igebm::tools::add_compose(app);
  igebm::tools::add_inpaint(app);
  igebm::tools::add_denoise(app);
  igebm::tools::add_restore(app);
  igebm::tools::add_score(app);
  igebm::tools::add_morph(app);
  igebm::tools::add_info(app);
  igebm::tools::add_report(app);
  igebm::tools::add_serve(app);
  igebm::tools::add_evaluate(app);
  igebm::tools::add_curve(app);
  igebm::tools::add_neighbours(app);
  igebm::tools::add_bench(app);
  igebm::tools::add_data(app);
  igebm::tools::add_models(app);
  igebm::tools::add_export(app);
  std::set<std::string> known;
  for (const auto* command : app.get_subcommands({})) known.insert(command->get_name());
  try {
    if (argc > 1 && argv[1][0] != '-' && known.count(argv[1]) == 0) {
      throw igebm::UserError(fmt::format("\"{}\" is no subcommand{} (see igebm --help)", argv[1],
                                         igebm::io::did_you_mean(argv[1], {known.begin(), known.end()})));
    }
    std::vector<char*> arguments = in_full(app, argc, argv);
    check_empty(arguments);
    app.parse(static_cast<int>(arguments.size()), arguments.data());
    igebm::tools::flush_output();
    return 0;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return print_help(app, e);
    fmt::print(stderr, "igebm: {} (see igebm --help)\n", first_line(e.what()));
    return 2;
  } catch (const igebm::UserError& e) {
    fmt::print(stderr, "igebm: {}\n", first_line(e.what()));
    return 2;
  } catch (const std::exception& e) {
    if (std::ferror(stdout) != 0) {  // printing gave up
      fmt::print(stderr, "igebm: standard output: cannot be written: {}\n", first_line(e.what()));
      return 2;
    }
    if (const std::string what = mendable(e); !what.empty()) {
      fmt::print(stderr, "igebm: {}\n", what);
      return 2;
    }
    fmt::print(stderr, "igebm: internal error: {}\n", first_line(e.what()));
    return 1;
  }
}
