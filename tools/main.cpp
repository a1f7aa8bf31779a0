#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <set>

#include "igebm/base/error.h"
#include "igebm/io/recipe.h"
#include "tools/commands.h"

namespace {

/// Messages of libraries may run over many lines; the first says what happened.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

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
  CLI::App app(
      "igebm trains, samples and examines energy-based models (Du & Mordatch 2019).\n"
      "Begin with: igebm train recipes/two-moons.toml, then igebm sample runs/two-moons --out points.npz");
  app.name("igebm");
  app.set_version_flag("--version", "igebm " IGEBM_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  igebm::tools::add_train(app);
  igebm::tools::add_sample(app);
  igebm::tools::add_info(app);
  igebm::tools::add_evaluate(app);
  igebm::tools::add_bench(app);
  igebm::tools::add_data(app);
  std::set<std::string> known;
  for (const auto* command : app.get_subcommands({})) known.insert(command->get_name());
  try {
    if (argc > 1 && argv[1][0] != '-' && known.count(argv[1]) == 0) {
      const std::string near = igebm::io::nearest(argv[1], {known.begin(), known.end()});
      throw igebm::UserError(fmt::format("\"{}\" is no subcommand{} (see igebm --help)", argv[1],
                                         near.empty() ? "" : "; did you mean " + near + "?"));
    }
    app.parse(argc, argv);
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
    fmt::print(stderr, "igebm: internal error: {}\n", first_line(e.what()));
    return 1;
  }
}
