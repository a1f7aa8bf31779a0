#include "igebm/model/settings.h"

#include <fmt/format.h>

#include <system_error>

#include "igebm/base/device.h"
#include "igebm/io/files.h"
#include "igebm/io/ranges.h"
#include "igebm/sampling/describe.h"
#include "igebm/sampling/registry.h"

namespace igebm::model {

namespace fs = std::filesystem;
using io::Fields;
using io::Range;

void describe_run(Fields& g, Settings& r) {
  g.field("seed", r.seed, io::ranges::count_from_zero, "of all random numbers");
  g.field("threads", r.threads, Range{0, 1024}, "0: one per core");
  g.field("engine", r.engine, "what computes energy gradients while sampling");
  g.field("device", r.device, {}, "cpu, cuda, cuda:1, or auto: a CUDA device where there is one");
  g.field("choices", r.choices, {},
          "another run's engine.json: its algorithms instead of measured ones, for equal bits");
  g.field("precision", r.precision,
          "of convolutions while sampling, and on a CUDA device in matching; default: f32 on a CPU, bf16 there; auto: "
          "the faster");
}

std::string absolute_path(const std::string& path) {
  std::error_code unknown;  // where the program runs: the path stays as it is
  const auto absolute = path.empty() ? std::filesystem::path() : std::filesystem::absolute(path, unknown);
  return unknown ? path : absolute.string();
}

Settings read_settings(const fs::path& recipe) {
  Settings s;
  std::int64_t noise_features = 0;
  io::Recipe::read(recipe.string()).apply_part([&](Fields& f) {
    f.section("run", [&](Fields& g) { describe_run(g, s); });
    f.section("data", [&](Fields& g) { data::describe(g, s.data); });
    f.section("network",
              [&](Fields& g) { g.field("noise_features", noise_features, io::ranges::count_from_zero, ""); });
    f.section("sampling", [&](Fields& g) { describe(g, s.sampling, noise_features > 0); });
  });
  s.data.path = absolute_path(s.data.path);
  s.choices = absolute_path(s.choices);
  return s;
}

std::string kernel_problem(const Settings& s, const sampling::SamplerOptions& sampler) {
  if (!sampling::compares_energies(sampler.kernel) || s.engine == engine::Kind::reference) return {};
  const bool on_device = s.device.starts_with("cuda") || (s.device == "auto" && cuda_devices() > 0);
  if (s.precision == engine::Precision::f32 || (s.precision == engine::Precision::usual && !on_device)) return {};
  return fmt::format(
      "\"{}\" compares energies, which bfloat16 is too coarse for: expected run.precision = \"f32\" or run.engine = "
      "\"reference\" beside it, got precision \"{}\" on {}",
      sampler.kernel, name_of(s.precision), s.device);
}

engine::Options engine_options(const Settings& settings, const fs::path& run) {
  fs::path kept = run / "engine.json";
  if (run.empty() || !fs::exists(kept)) kept = settings.choices;
  return {.engine = settings.engine,
          .choices = kept.empty() ? "" : io::read_file(kept),
          .device = find_device(settings.device),
          .precision = settings.precision};
}

}  // namespace igebm::model
