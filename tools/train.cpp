#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/estimate.h"
#include "igebm/training/recipe_keys.h"
#include "igebm/training/trainer.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

struct TrainArguments {
  std::string recipe, out, resume;
  std::vector<std::string> set;
  bool dry_run = false, json = false, keys = false;
};

nlohmann::ordered_json to_json(const training::Repeated& r) {
  return {{"count", r.count}, {"seconds_each", r.seconds}, {"timed_in_whole", r.in_whole}, {"seconds", r.total()}};
}

void print_json(const std::string& recipe, const training::Estimate& e) {
  nlohmann::ordered_json json = {
      {"recipe", recipe},
      {"network", {{"kind", e.network}, {"parameters", e.parameters}, {"input", e.input_shape}}},
      {"device", e.device},
      {"threads", e.threads},
      {"engine", e.engine},
      {"data", {{"records", e.records}}},
      {"memory_bytes",
       {{"peak", e.peak_bytes},
        {"program", e.program_bytes},
        {"data", e.data_bytes},
        {"parameters", e.parameter_bytes},
        {"replay_buffer", e.buffer_bytes},
        {"device", e.device_bytes}}}};
  for (const auto& phase : e.phases) {
    nlohmann::ordered_json one = {{"name", phase.name},
                                  {"steps", phase.steps.count},
                                  {"seconds_per_step", phase.steps.seconds},
                                  {"timed_in_whole", phase.steps.in_whole},
                                  {"timed_steps", phase.timed},
                                  {"seconds", phase.steps.total()}};
    if (!phase.steps.in_whole) one["seconds_per_langevin_step"] = phase.langevin_seconds;
    json["phases"].push_back(one);
  }
  json["start_seconds"] = e.start_seconds;
  json["pictures"] = to_json(e.pictures);
  json["last_picture"] = to_json(e.last_picture);
  json["evaluations"] = to_json(e.evaluations);
  json["accuracies"] = to_json(e.accuracies);
  json["checkpoints"] = to_json(e.checkpoints);
  json["checkpoints"]["bytes_each"] = e.checkpoint_bytes;
  json["disk_bytes"] = e.disk_bytes;
  json["seconds"] = e.seconds();
  fmt::print("{}\n", json_text(json, 2));
}

std::string size(std::int64_t bytes) {
  const auto b = static_cast<double>(bytes);
  return b < 1e6   ? fmt::format("{:.0f} kB", b * 1e-3)
         : b < 1e9 ? fmt::format("{:.1f} MB", b * 1e-6)
                   : fmt::format("{:.2f} GB", b * 1e-9);
}

std::string each(double seconds) {
  return seconds < 1 ? fmt::format("{:.3g} ms", seconds * 1e3) : fmt::format("{:.3g} s", seconds);
}

void print_text(const training::Estimate& e) {
  fmt::print("network: {}, {} parameters, input ({}), on {} with {} threads\nengine: {}\n", e.network, e.parameters,
             fmt::join(e.input_shape, ", "), e.device, e.threads, e.engine);
  fmt::print("data: {} records, {}\n", e.records,
             e.data_bytes > 0 ? size(e.data_bytes) : "read as batches ask for them");
  const std::int64_t known =
      e.program_bytes + e.data_bytes + e.buffer_bytes + (e.device_bytes > 0 ? 0 : e.parameter_bytes);
  fmt::print(
      "memory: {} at most, as measured here\n"
      "  program {}, data {}, replay buffer {}, parameters with gradient, optimiser and average {}, engine and rest "
      "{}\n",
      size(e.peak_bytes), size(e.program_bytes), size(e.data_bytes), size(e.buffer_bytes), size(e.parameter_bytes),
      size(std::max<std::int64_t>(0, e.peak_bytes - known)));
  if (e.device_bytes > 0) fmt::print("memory of the device: {} at most, measured here\n", size(e.device_bytes));
  fmt::print("before the first step: {}\n", duration(e.start_seconds));
  for (const auto& p : e.phases) {
    fmt::print("phase {}: {} steps of {}, {} ({})\n", p.name, p.steps.count, each(p.steps.seconds),
               duration(p.steps.total()),
               p.steps.in_whole ? fmt::format("median of {}", p.timed)
                                : fmt::format("reckoned from {} steps with fewer Langevin steps, {} each", p.timed,
                                              each(p.langevin_seconds)));
  }
  const auto line = [](const char* what, const training::Repeated& r, const std::string& how) {
    if (r.count > 0) fmt::print("{}: {} of {}, {}{}\n", what, r.count, each(r.seconds), duration(r.total()), how);
  };
  const auto reckoned = [](const training::Repeated& r) {
    return r.in_whole ? "" : " (reckoned from fewer Langevin steps)";
  };
  line("pictures", e.pictures, reckoned(e.pictures));
  line("samples at the end", e.last_picture, reckoned(e.last_picture));
  line("evaluations", e.evaluations, reckoned(e.evaluations));
  line("shares of right answers", e.accuracies, "");
  line("checkpoints", e.checkpoints,
       fmt::format(" (at {} a second, assumed)", size(static_cast<std::int64_t>(training::checkpoint_rate))));
  fmt::print("total: {}\ndisk: {} of checkpoints, {} more while one is written\n", duration(e.seconds()),
             size(e.disk_bytes), size(e.checkpoint_bytes));
}

void dry_run(const TrainArguments& a) {
  if (!a.resume.empty()) throw UserError("train: --dry-run goes with a RECIPE, not with --resume");
  const auto recipe = training::read_recipe(a.recipe, a.set);
  Observer silent;
  const auto console = make_console();
  const auto estimate = training::estimate(recipe, {}, a.json ? silent : *console);
  if (a.json) return print_json(a.recipe, estimate);
  print_text(estimate);
}

void print_keys(const TrainArguments& a) {
  if (!a.recipe.empty() || !a.resume.empty() || !a.out.empty() || !a.set.empty() || a.dry_run || a.json)
    throw UserError("train: --keys goes alone; it prints the keys that any recipe may have");
  fmt::print("{}", training::recipe_keys());
}

void train(const TrainArguments& a) {
  if (a.keys) return print_keys(a);
  if (a.recipe.empty() == a.resume.empty()) throw UserError("train: expected either a RECIPE or --resume RUN");
  if (!a.resume.empty() && !a.out.empty())
    throw UserError("train: --out goes with a RECIPE; --resume goes on in its own folder");
  if (a.json && !a.dry_run) throw UserError("train: --json goes with --dry-run");
  if (a.dry_run) return dry_run(a);
  const auto console = make_console();
  catch_interrupts();
  std::optional<training::Trainer> trainer = [&] {
    if (!a.resume.empty()) return training::Trainer::resume(a.resume, a.set, *console);
    const auto recipe = training::read_recipe(a.recipe, a.set);
    const std::filesystem::path out =
        a.out.empty() ? "runs" / std::filesystem::path(a.recipe).stem() : std::filesystem::path(a.out);
    return training::Trainer::begin(recipe, out, *console);
  }();
  // Not by which commands: a run that is resumed leaves the same pictures as one that is not.
  trainer->sign_pictures([seed = trainer->seed()](std::int64_t at) {
    return provenance({.model = "", .step = std::to_string(at), .seed = seed, .command = false});
  });
  const bool finished = trainer->train(interrupted, interrupted);
  const std::filesystem::path folder = trainer->run();
  const std::int64_t step = trainer->step();
  trainer.reset();  // the folder is free
  const std::string run = io::in_shell(folder);
  try {
    write_report({folder}, folder / "report.html");
  } catch (const UserError& e) {
    console->message(fmt::format("no report: {}", e.what()));
  }
  if (finished && !std::filesystem::exists(folder / "samples.png")) {
    const bool classifies = model::load_network(folder).graph.outputs > 0;
    console->message(fmt::format(
        "finished at step {}: {} {}", step,
        classifies ? "a classifier\nits features measure samples with: igebm evaluate RUN --features"
                   : "of such data there are no pictures\nsamples: igebm sample --count 100 --out samples.npz",
        run));
  } else if (finished) {
    console->message(fmt::format("finished at step {}: {}\nmore samples: igebm sample {} --count 100 --out samples.png",
                                 step, (folder / "samples.png").string(), run));
  } else {
    console->message(fmt::format("interrupted: saved at step {}; go on with: igebm train --resume {}", step, run));
  }
}

}  // namespace

void add_train(CLI::App& app) {
  auto* command = app.add_subcommand("train", "train a recipe, or go on with a run");
  auto a = std::make_shared<TrainArguments>();
  command->add_option("RECIPE", a->recipe, "a recipe's .toml file");
  command->add_option("--out", a->out, "the run's folder (default: runs/<name of the recipe>)");
  add_recipe_options(*command, a->set);
  add_threads_option(*command, &a->set);
  command->add_option_function<std::string>(
      "--from",
      [a](const std::string& from) { a->set.push_back(fmt::format("train.from={}", nlohmann::json(from).dump())); },
      "begin with the weights of this run, checkpoint or model by name: short for --set train.from=…");
  command->add_option("--resume", a->resume, "go on with this run, or from this checkpoint of it");
  command->add_flag(
      "--dry-run", a->dry_run,
      "write nothing; say how long it would take, and how much memory and disk, from a few steps of each phase");
  command->add_flag("--json", a->json, "with --dry-run: print one JSON object");
  command->add_flag("--keys", a->keys, "print every key of a recipe with its default, range and meaning, as Markdown");
  command->callback([a] { train(*a); });
}

}  // namespace igebm::tools
