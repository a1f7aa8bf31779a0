#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>

#include "igebm/base/error.h"
#include "igebm/evaluation/judge.h"
#include "igebm/training/trainer.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

struct Arguments {
  std::string recipe, out, resume;
  std::vector<std::string> set;
};

void train(const Arguments& a) {
  if (a.recipe.empty() == a.resume.empty()) throw UserError("train: expected either a RECIPE or --resume RUN");
  if (!a.resume.empty() && !a.out.empty())
    throw UserError("train: --out goes with a RECIPE; --resume goes on in its own folder");
  const auto console = make_console();
  catch_interrupts();
  auto trainer = [&] {
    if (!a.resume.empty()) return training::Trainer::resume(a.resume, a.set, *console, evaluation::judge);
    const auto recipe = training::read_recipe(a.recipe, a.set);
    const std::filesystem::path out =
        a.out.empty() ? "runs" / std::filesystem::path(a.recipe).stem() : std::filesystem::path(a.out);
    return training::Trainer::begin(recipe, out, *console, evaluation::judge);
  }();
  const bool finished = trainer.train(interrupted);
  const std::string run = trainer.run().string();
  if (finished && !std::filesystem::exists(trainer.run() / "samples.png")) {
    console->message(fmt::format(
        "finished at step {}: a classifier\nits features measure samples with: igebm evaluate RUN --features {}",
        trainer.step(), run));
  } else if (finished) {
    console->message(
        fmt::format("finished at step {}: {}/samples.png\nmore samples: igebm sample {} --count 100 --out samples.png",
                    trainer.step(), run, run));
  } else {
    console->message(
        fmt::format("interrupted: saved at step {}; go on with: igebm train --resume {}", trainer.step(), run));
  }
}

}  // namespace

void add_train(CLI::App& app) {
  auto* command = app.add_subcommand("train", "train a recipe, or go on with a run");
  auto a = std::make_shared<Arguments>();
  command->add_option("RECIPE", a->recipe, "a recipe's .toml file");
  command->add_option("--out", a->out, "the run's folder (default: runs/<name of the recipe>)");
  command->add_option("--set", a->set, "section.key=value, instead of the recipe's; may be given often")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--resume", a->resume, "go on with this run, or from this checkpoint of it");
  command->callback([a] { train(*a); });
}

}  // namespace igebm::tools
