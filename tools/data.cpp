#include "igebm/data/data.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/data/fetch.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

void list(bool json) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const data::Set& set : data::sets()) {
    const fs::path found = data::find_folder(set, "");
    const auto missing = found.empty() ? std::vector<std::string>() : data::missing_files(set, found);
    std::vector<std::string> looked;
    for (const auto& place : data::places(set, "")) looked.push_back(place.string());
    if (json) {
      all.push_back({{"name", set.name},
                     {"about", set.about},
                     {"needs", set.needs},
                     {"variants", set.variants},
                     {"places", looked},
                     {"found", found.string()},
                     {"missing", missing},
                     {"fetch", !set.sources.empty()},
                     {"licence", set.licence},
                     {"page", set.page}});
      continue;
    }
    fmt::print("{}: {}\n", set.name, set.about);
    if (!set.variants.empty()) fmt::print("  variants: {}\n", fmt::join(set.variants, ", "));
    if (*set.needs != '\0') fmt::print("  needs: {}\n", set.needs);
    if (set.given) fmt::print("  place: given as data.path\n");
    if (!found.empty() && missing.empty()) fmt::print("  found: {}\n", found.string());
    if (!missing.empty())
      fmt::print("  found in part: {}, which lacks {}; {}\n", found.string(), fmt::join(missing, ", "), set.hint);
    if (found.empty() && !looked.empty()) fmt::print("  not found in {}; {}\n", fmt::join(looked, ", "), set.hint);
    if (*set.licence != '\0') fmt::print("  licence: {}\n", set.licence);
    if (*set.page != '\0') fmt::print("  from: {}\n", set.page);
  }
  if (json) fmt::print("{}\n", json_text(all, 2));
}

/// Downloads count in bytes: one line rewritten on a terminal, else a line now and then.
class DownloadConsole : public Observer {
 public:
  void message(std::string_view text) override { print_on(fmt::format("{}{}\n", terminal_ ? "\r\x1b[2K" : "", text)); }
  void progress(std::string_view stage, std::int64_t done, std::int64_t total) override {
    const auto now = std::chrono::steady_clock::now();
    if (done == 0 || now - shown_ < std::chrono::milliseconds(terminal_ ? 200 : 10000)) return;
    shown_ = now;
    const auto megabytes = [](std::int64_t bytes) { return static_cast<double>(bytes) * 1e-6; };
    print_on(fmt::format("{}{}: {:.1f} MB{}{}", terminal_ ? "\r\x1b[2K" : "", stage, megabytes(done),
                         total > 0 ? fmt::format(" of {:.1f} MB", megabytes(total)) : "", terminal_ ? "" : "\n"));
  }

 private:
  const bool terminal_ = isatty(STDOUT_FILENO) != 0;
  std::chrono::steady_clock::time_point shown_;
};

struct FetchArguments {
  std::string name, to, from, variant;
};

void fetch(const FetchArguments& a) {
  const data::Set& set = data::find_set(a.name);
  catch_interrupts();
  DownloadConsole console;
  data::fetch(set, {.folder = a.to, .from = a.from, .variant = a.variant, .stop = interrupted}, console);
}

struct ShowArguments {
  std::string name, out, split = "train";
  std::int64_t count = 64, seed = 0;
  bool check = false;
  std::vector<std::string> set;
};

/// Reads every picture that is decoded only when it is asked for, and names those that cannot be read.
void check_pictures(const data::Dataset& set, Observer& observer) {
  if (!set.pictures) return;  // read already
  std::int64_t bytes = 1, bad = 0;
  for (const auto d : set.shape()) bytes *= d;
  std::mutex one;
  constexpr std::int64_t part = 1000;
  for (std::int64_t begin = 0; begin < set.size(); begin += part) {
    const std::int64_t end = std::min(begin + part, set.size());
    at::parallel_for(begin, end, 1, [&](std::int64_t from, std::int64_t to) {
      std::vector<std::uint8_t> pixels(static_cast<std::size_t>(bytes));
      for (std::int64_t i = from; i < to; ++i) {
        try {
          set.pictures->read(i, pixels.data());
        } catch (const UserError& e) {
          const std::scoped_lock lock(one);
          observer.message(e.what());
          ++bad;
        }
      }
    });
    if (interrupted()) throw UserError(fmt::format("data show: interrupted; {} of {} read", end, set.size()));
    observer.progress("reading", end, set.size());
  }
  if (bad > 0) throw UserError(fmt::format("data show: {} of {} pictures cannot be read", bad, set.size()));
}

/// Points as a picture of how many fall where.
at::Tensor picture_of_points(const at::Tensor& x, double extent) {
  const double bound = std::max(1.0, extent * 1.05);
  const std::int64_t side = 200;
  const at::Tensor cell =
      x.add(bound).div(2 * bound).mul(static_cast<double>(side)).floor().clamp(0, side - 1).to(at::kLong);
  const at::Tensor index = (side - 1 - cell.select(1, 1)) * side + cell.select(1, 0);
  const at::Tensor counts = at::bincount(index, {}, side * side).view({side, side}).to(at::kFloat);
  return io::density(-counts.add(0.02).log(), {}, bound);
}

void show(const ShowArguments& a) {
  if (!a.out.empty() && fs::path(a.out).extension() != ".png")
    throw UserError(fmt::format("data show: --out {}: expected a name that ends in .png", a.out));
  if (!a.out.empty()) io::check_writable(a.out);
  data::find_set(a.name);
  data::Options options;
  io::Recipe recipe = io::Recipe::parse("", "data show");
  for (const auto& assignment : a.set) recipe.set(assignment);
  recipe.set(fmt::format("data.name=\"{}\"", a.name));
  recipe.apply([&](io::Fields& f) { f.section("data", [&](io::Fields& g) { data::describe(g, options); }); });
  const data::Split split = value_of<data::Split>(a.split).value();
  const auto seed = static_cast<std::uint64_t>(a.seed);
  if (a.check) {
    options.memory = 0;
    options.validation = 0;
    catch_interrupts();
  }
  const data::Dataset set = data::load(options, split, seed);
  if (a.check) check_pictures(set, *make_console());
  fmt::print("{}: {} records of ({}), {} split{}\n", a.name, set.size(), fmt::join(set.shape(), ", "), a.split,
             a.check        ? ", all of them can be read"
             : set.pictures ? ", read as batches ask for them"
                            : "");
  for (const std::string& note : set.notes) fmt::print("{}\n", note);
  if (set.labels.defined()) {
    const at::Tensor counts = at::bincount(set.labels, {}, set.classes);
    fmt::print("classes: {}\n", set.classes);
    for (std::int64_t k = 0; k < std::min<std::int64_t>(set.classes, 20); ++k) {
      const auto i = static_cast<std::size_t>(k);
      const bool named = i < set.class_names.size() && set.class_names[i] != std::to_string(k);
      fmt::print("  {}{}: {}\n", k, named ? " " + set.class_names[i] : "", counts[k].item<std::int64_t>());
    }
    if (set.classes > 20)
      fmt::print("  ... {} to {} a class\n", counts.min().item<std::int64_t>(), counts.max().item<std::int64_t>());
  }
  if (set.conditions.defined()) fmt::print("conditions: {}\n", fmt::join(set.condition_names, ", "));
  if (a.out.empty()) return;
  if (!io::has_picture(set.shape()))
    throw UserError(fmt::format("data show: --out: records of ({}) have no picture", fmt::join(set.shape(), ", ")));
  if (set.size() == 0) throw UserError(fmt::format("data show: no records in the {} split", a.split));
  const data::Batches batches(set, options, seed);
  at::Tensor picture;
  if (set.shape().size() == 3) {
    const auto batch = batches.at(0, std::min(a.count, batches.size()));
    const std::int64_t scale = set.shape()[2] <= 32 ? 3 : set.shape()[2] <= 64 ? 2 : 1;
    picture = io::grid(batch.x.sub(options.low).div(options.high - options.low), 0, scale);
  } else {
    picture = picture_of_points(set.x, batches.extent());
  }
  if (fs::path(a.out).has_parent_path()) io::make_folder(fs::path(a.out).parent_path());
  io::write_png(a.out, picture, provenance({"", "", seed}));
  fmt::print("picture: {}\n", a.out);
}

}  // namespace

void add_data(CLI::App& app) {
  auto* command = app.add_subcommand("data", "list, download and look at data sets");
  command->require_subcommand(1);

  auto* list_command =
      command->add_subcommand("list", "all sets: what each needs, where it is looked for, its licence");
  auto json = std::make_shared<bool>(false);
  list_command->add_flag("--json", *json, "for programs");
  list_command->callback([json] { list(*json); });

  auto* fetch_command = command->add_subcommand("fetch", "download a set from its publisher; goes on where it stopped");
  auto f = std::make_shared<FetchArguments>();
  fetch_command->add_option("NAME", f->name, "see igebm data list")->required();
  fetch_command->add_option("--to", f->to, "folder (default: the first place where the set is looked for)");
  fetch_command->add_option("--from", f->from, "address of a mirror that has the publisher's file names");
  fetch_command->add_option("--variant", f->variant, "also what only this variant needs, such as extra for svhn");
  fetch_command->callback([f] { fetch(*f); });

  auto* show_command = command->add_subcommand("show", "say what a set holds and draw some of it");
  auto s = std::make_shared<ShowArguments>();
  show_command->add_option("NAME", s->name, "see igebm data list")->required();
  show_command->add_option("--out", s->out, "FILE.png: random records, augmented as in training");
  show_command->add_option("--split", s->split, "train, validation or test")
      ->capture_default_str()
      ->check(CLI::IsMember(all_names<data::Split>()));
  show_command->add_option("--count", s->count, "pictures drawn")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000}));
  show_command->add_flag(
      "--check", s->check,
      "read every record, those held out for validation too, and name the files that cannot be read");
  add_seed_option(*show_command, s->seed, "0");
  show_command->add_option("--set", s->set, "data.key=value, as in a recipe; may be given often")
      ->take_all()
      ->allow_extra_args(false);
  add_threads_option(*show_command);
  show_command->callback([s] { show(*s); });
}

}  // namespace igebm::tools
