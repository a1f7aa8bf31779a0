#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/energy/analytic.h"
#include "igebm/engine/cpu/peak.h"
#include "igebm/io/files.h"
#include "igebm/io/safetensors.h"
#include "igebm/sampling/langevin.h"
#include "igebm/training/trainer.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct LangevinArguments {
  std::string network = "resnet-32", size, engine = "fast", weights, device = "cpu", precision = "default",
              instructions;
  std::int64_t batch = 64, steps = 20, repeats = 5;
  bool json = false, profile = false;
};

struct Bench {
  const char *name, *what;
  std::vector<std::int64_t> shape;
  nn::Graph (*build)(const std::vector<std::int64_t>&);
};

nn::Graph residual_of(const std::vector<std::int64_t>& shape, std::int64_t stem, const char* blocks) {
  nn::ResidualOptions options;
  options.stem = stem;
  options.blocks = blocks;
  return nn::residual(options, shape);
}

const std::vector<Bench>& benches() {
  static const std::vector<Bench> all = {
      {"small",
       "residual, 32 channels at full size, then 64",
       {1, 28, 28},
       [](const auto& shape) { return residual_of(shape, 32, "32 32d 32 64d 64"); }},
      {"unet", "the demo's scalar U-Net", {1, 28, 28}, [](const auto& shape) { return nn::unet({}, shape); }},
      {"resnet-32",
       "IGEBM's for 32 x 32",
       {3, 32, 32},
       [](const auto& shape) { return residual_of(shape, 128, "128d 128 256d 256 256d 256"); }},
      {"resnet-32-attention",
       "the same with self-attention after its first block",
       {3, 32, 32},
       [](const auto& shape) { return nn::residual({.attention = true}, shape); }},
      {"mlp",
       "128, 128, for points",
       {2},
       [](const auto& shape) {
         return nn::mlp({.widths = {128, 128}}, shape);
       }},
  };
  return all;
}

std::vector<std::int64_t> parse_size(const std::string& text) {
  std::vector<std::int64_t> size;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, 'x');) {
    if (part.empty() || part.size() > 5 || part.find_first_not_of("0123456789") != std::string::npos ||
        std::stoll(part) < 1)
      throw UserError(
          fmt::format("bench: --size {}: expected CxHxW, such as 3x32x32, or a number of dimensions", text));
    size.push_back(std::stoll(part));
  }
  if (size.size() != 1 && size.size() != 3)
    throw UserError(fmt::format("bench: --size {}: expected CxHxW, such as 3x32x32, or a number of dimensions", text));
  return size;
}

std::int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

/// Seconds a Langevin step: the best of the repeats.
double time_steps(const energy::Energy& energy, const std::vector<std::int64_t>& shape, const LangevinArguments& a,
                  sampling::Chains& chains, nlohmann::ordered_json& json) {
  chains = sampling::start_chains({}, shape, a.batch, 0, {}, 0).to(find_device(a.device));
  const sampling::Langevin kernel({.step_size = 0.01, .noise = 0.005, .gradient_clip = 0.03, .low = 0, .high = 1}, 0);
  sampling::run(kernel, energy, chains, 3);
  double best = 1e30;
  const std::int64_t before = page_faults();
  for (std::int64_t r = 0; r < a.repeats; ++r) {
    const double start = now();
    sampling::run(kernel, energy, chains, a.steps);
    best = std::min(best, (now() - start) / static_cast<double>(a.steps));
  }
  json["seconds_per_step"] = best;
  json["page_faults_per_step"] = static_cast<double>(page_faults() - before) / static_cast<double>(a.repeats * a.steps);
  return best;
}

/// Seconds that a batch's energies take, and those with gradients: what scoring a data set is made of. The best of the
/// repeats.
void time_energies(const energy::Energy& energy, const at::Tensor& x, const LangevinArguments& a,
                   nlohmann::ordered_json& json) {
  const at::NoGradGuard no_grad;
  const auto best = [&](const auto& ask) {
    double least = 1e30;
    for (std::int64_t r = 0; r <= a.repeats; ++r) {
      const double start = now();
      for (std::int64_t i = 0; i < a.steps; ++i) ask().cpu();
      if (r > 0) least = std::min(least, (now() - start) / static_cast<double>(a.steps));
    }
    return least;
  };
  json["seconds_energies"] = best([&] { return energy.energy(x); });
  json["seconds_gradients"] = best([&] { return energy.energy_and_gradient(x).gradient; });
}

/// Random weights (those that start at zero would leave parts of the network idle), spectral norm applied.
nn::EffectiveWeights random_weights(nn::Network& network) {
  const at::NoGradGuard no_grad;
  at::manual_seed(0);
  for (auto& [name, p] : network.parameters()) {
    if (p.dim() > 1) p.copy_(at::randn_like(p) / std::sqrt(static_cast<double>(p.numel() / p.size(0))));
  }
  return network.effective_weights();
}

void analytic(const LangevinArguments& a, nlohmann::ordered_json& json) {
  if (find_device(a.device).is_cuda()) throw UserError("bench: the double well is measured on the CPU alone");
  if (!a.instructions.empty()) throw UserError("bench: --instructions is of networks, not of the double well");
  const auto shape = parse_size(a.size.empty() ? "128" : a.size);
  if (shape.size() != 1) throw UserError("bench: --size: the double well takes a number of dimensions");
  sampling::Chains chains;
  time_steps(energy::DoubleWell(shape[0], 2.0), shape, a, chains, json);
  json["size"] = shape;
  json["description"] = "fused over blocks of chains";
}

void network(const LangevinArguments& a, const Bench& bench, nlohmann::ordered_json& json,
             std::vector<engine::StepCost>& costs) {
  const std::vector<std::int64_t> shape = a.size.empty() ? bench.shape : parse_size(a.size);
  nn::Network network(bench.build(shape), 0);
  const nn::EffectiveWeights weights = random_weights(network);
  const c10::Device device = find_device(a.device);
  if (!a.instructions.empty() && (!device.is_cpu() || a.engine != name_of(engine::Kind::fast)))
    throw UserError("bench: --instructions is of a CPU's own engine (--engine fast)");
  const auto prepared = engine::prepare(network.graph(), weights,
                                        {.engine = value_of<engine::Kind>(a.engine).value(),
                                         .instructions = a.instructions,
                                         .device = device,
                                         .precision = value_of<engine::Precision>(a.precision).value()});
  const auto energy = prepared->given({});
  sampling::Chains chains;
  const double best = time_steps(*energy, shape, a, chains, json);
  time_energies(*energy, chains.x, a, json);
  // The fast engine's count serves every engine: the same mathematics.
  const double operations = engine::prepare(network.graph(), weights, {})->operations() * static_cast<double>(a.batch);
  json["size"] = shape;
  json["description"] = prepared->description();
  json["gigaflops"] = operations / best / 1e9;
  if (device.is_cpu())
    json["convolution_peak"] = engine::cpu::convolution_peak(at::get_num_threads(), a.instructions.c_str()) / 1e9;
  if (prepared->description().find("tiles") != std::string::npos)
    json["tile_peak"] = engine::cpu::tile_peak(at::get_num_threads()) / 1e9;
  if (!prepared->choices().empty()) json["choices"] = nlohmann::ordered_json::parse(prepared->choices());
  if (a.profile) costs = prepared->profile(chains.x, {});
  if (!a.weights.empty()) {
    nn::Graph plain = network.graph();  // the weights are normalised already
    for (auto& node : plain.nodes) node.norm = nn::Norm::none;
    nn::Tensors tensors = weights;
    const auto [e, g] = energy->energy_and_gradient(chains.x);
    tensors["check.x"] = chains.x.cpu();
    tensors["check.energy"] = e.cpu();
    tensors["check.gradient"] = g.cpu();
    io::write_safetensors(a.weights, tensors, {{"graph", nn::to_json(plain)}});
  }
}

void langevin(const LangevinArguments& a) {
  const auto& all = benches();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Bench& b) { return a.network == b.name; });
  if (found == all.end() && a.network != "double-well") {
    std::string known = "double-well";
    for (const Bench& b : all) known += fmt::format(", {}", b.name);
    throw UserError(fmt::format("bench: --network {}: expected one of {}", a.network, known));
  }
  if (!a.weights.empty()) io::check_writable(a.weights);
  nlohmann::ordered_json json = {{"network", a.network},
                                 {"batch", a.batch},
                                 {"threads", at::get_num_threads()},
                                 {"engine", a.engine},
                                 {"device", a.device}};
  std::vector<engine::StepCost> costs;
  if (found == all.end()) {
    analytic(a, json);
  } else {
    network(a, *found, json, costs);
  }
  if (a.json) {
    fmt::print("{}\n", json_text(json));
    return;
  }
  fmt::print("{} ({}), {} chains, {} threads\nengine: {}\n", a.network,
             found == all.end() ? "an analytic energy" : found->what, a.batch, at::get_num_threads(),
             json["description"].get<std::string>());
  fmt::print("a step: {:.4g} ms (the best of {} runs of {} steps), {:.2g} page faults\n",
             json["seconds_per_step"].get<double>() * 1e3, a.repeats, a.steps,
             json["page_faults_per_step"].get<double>());
  if (json.contains("seconds_energies"))
    fmt::print("energies alone: {:.4g} ms, with gradients {:.4g} ms\n", json["seconds_energies"].get<double>() * 1e3,
               json["seconds_gradients"].get<double>() * 1e3);
  if (json.contains("gigaflops")) {
    fmt::print("rate: {:.0f} GF/s, counted as direct convolutions", json["gigaflops"].get<double>());
    if (json.contains("convolution_peak"))
      fmt::print("; the direct algorithm's peak here is {:.0f} GF/s", json["convolution_peak"].get<double>());
    if (json.contains("tile_peak")) fmt::print(", that of tiles {:.0f} GF/s", json["tile_peak"].get<double>());
    fmt::print("\n");
  }
  if (!a.profile) return;
  if (costs.empty()) fmt::print("no profile: this engine does not tell\n");
  double total = 0;
  for (const auto& c : costs) total += c.seconds;
  if (!costs.empty()) fmt::print("{:>9} {:>6} {:>6} {:>5} {:>7}\n", "us/input", "share", "GF/s", "unit", "of peak");
  const std::map<std::string, double> peaks = {{"f32", engine::cpu::convolution_peak(1, a.instructions.c_str())},
                                               {"tiles", engine::cpu::tile_peak(1)}};
  for (const auto& c : costs) {
    const auto peak = peaks.find(c.unit);
    fmt::print("{:9.1f} {:5.1f}% {:>6} {:>5} {:>7} {}\n", c.seconds * 1e6, 100 * c.seconds / total,
               c.operations > 0 ? fmt::format("{:.0f}", c.operations / c.seconds / 1e9) : "", c.unit,
               peak == peaks.end() ? "" : fmt::format("{:.0f} %", 100 * c.done / c.seconds / peak->second), c.what);
  }
  if (!costs.empty()) fmt::print("{:9.1f} on one thread\n", total * 1e6);
}

struct StepArguments {
  std::string recipe;
  std::vector<std::string> set;
  std::int64_t steps = 20;
  bool json = false;
};

/// When each step of each phase ended.
class StepTimes : public Observer {
 public:
  void progress(std::string_view what, std::int64_t, std::int64_t) override {
    ends[std::string(what)].push_back(now());
  }
  std::map<std::string, std::vector<double>> ends;
};

void train(const StepArguments& a) {
  auto recipe = training::read_recipe(a.recipe, a.set);
  for (auto& phase : recipe.phases) phase.steps = a.steps;
  recipe.output = {.checkpoint_every = 1'000'000'000, .samples_every = 0};
  const fs::path folder = fs::temp_directory_path() / fmt::format("igebm-bench-{}", getpid());
  StepTimes clock;
  try {
    recipe.sampling.flow.steps = 0;
    recipe.sampling.steps = 1;  // the picture at the end is not what is measured
    training::Trainer::begin(recipe, folder, clock).train({});
  } catch (...) {
    fs::remove_all(folder);
    throw;
  }
  fs::remove_all(folder);
  nlohmann::ordered_json json = {{"recipe", a.recipe}, {"threads", at::get_num_threads()}};
  for (const auto& phase : recipe.phases) {
    std::vector<double> times;
    const auto& ends = clock.ends[phase.name];
    for (std::size_t i = 1; i < ends.size(); ++i) times.push_back(ends[i] - ends[i - 1]);
    std::sort(times.begin(), times.end());
    const double median = times.empty() ? 0 : times[times.size() / 2];
    json["seconds_per_step"][phase.name] = median;
    if (!a.json) fmt::print("{}: {:.1f} ms a step (median of {})\n", phase.name, median * 1e3, times.size());
  }
  if (a.json) fmt::print("{}\n", json_text(json));
}

}  // namespace

void add_bench(CLI::App& app) {
  auto* command = app.add_subcommand("bench", "measure Langevin steps or training steps on this machine");
  command->require_subcommand(1);
  const auto positive = CLI::Range(std::int64_t{1}, std::int64_t{1000000});
  {
    auto* c = command->add_subcommand("langevin", "seconds a Langevin step of a network with random weights");
    auto a = std::make_shared<LangevinArguments>();
    std::string known = "double-well (an analytic energy)";
    for (const Bench& b : benches()) known += fmt::format("; {} ({})", b.name, b.what);
    c->add_option("--network", a->network, known)->capture_default_str();
    c->add_option("--size", a->size, "of an input: CxHxW, or dimensions (default: the network's)");
    c->add_option("--batch", a->batch, "chains")->capture_default_str()->check(positive);
    c->add_option("--steps", a->steps, "in one timed run")->capture_default_str()->check(positive);
    c->add_option("--repeats", a->repeats, "timed runs; the best counts")->capture_default_str()->check(positive);
    add_threads_option(*c);
    c->add_option("--engine", a->engine, "fast or reference")
        ->capture_default_str()
        ->check(CLI::IsMember(all_names<engine::Kind>()));
    c->add_option("--device", a->device, "cpu, cuda or auto")->capture_default_str();
    c->add_option("--precision", a->precision,
                  "of convolutions: default (f32 on a CPU, bf16 on a CUDA device), auto, bf16 or f32")
        ->capture_default_str()
        ->check(CLI::IsMember(all_names<engine::Precision>()));
    c->add_option(
         "--instructions", a->instructions,
         "of networks on a CPU, at most these: v2, v3 (AVX2), v4 (AVX-512), v4-bf16 or amx (default: all there are)")
        ->check(CLI::IsMember({"v2", "v3", "v4", "v4-bf16", "amx"}));
    c->add_option("--weights", a->weights,
                  "also write weights, inputs, energies and gradients to this .safetensors file");
    c->add_flag("--profile", a->profile, "also say where an input's time goes, on one thread");
    c->add_flag("--json", a->json, "print one JSON object");
    c->callback([a] { langevin(*a); });
  }
  auto* c = command->add_subcommand("train", "seconds a training step of each phase of a recipe");
  auto a = std::make_shared<StepArguments>();
  c->add_option("RECIPE", a->recipe, "a recipe's .toml file")->required();
  c->add_option("--steps", a->steps, "of each phase")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{100000}));
  c->add_option("--set", a->set, "section.key=value, instead of the recipe's; may be given often")
      ->take_all()
      ->allow_extra_args(false);
  add_threads_option(*c, &a->set);
  c->add_flag("--json", a->json, "print one JSON object");
  c->callback([a] { train(*a); });
}

}  // namespace igebm::tools
