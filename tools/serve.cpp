#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <random>

#include "igebm/base/error.h"
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

void serve_viewer(ServeArguments a) {
  catch_interrupts();
  if (!serve::is_loopback(a.options.host)) a.options.token = new_token();
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
  command->add_option("RUN", a->runs, "runs' folders to offer beside the models that come with igebm");
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
