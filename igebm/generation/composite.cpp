#include "igebm/generation/composite.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/base/error.h"
#include "igebm/generation/node.h"
#include "igebm/generation/normaliser.h"
#include "igebm/generation/particles.h"
#include "igebm/sampling/pilot.h"
#include "igebm/sampling/registry.h"
#include "igebm/sampling/schedule.h"

namespace igebm::generation {
namespace {

constexpr std::int64_t normaliser_levels = 48;
constexpr std::int64_t normaliser_moves = 40;
constexpr std::int64_t normaliser_points = 4000, normaliser_pictures = 200;
constexpr std::int64_t pilot_chains = 100;
std::int64_t whole_groups(std::int64_t chains) {
  return (chains + Composite::population - 1) / Composite::population * Composite::population;
}
constexpr std::int64_t normaliser_streams = std::int64_t{1} << 43;  // far from those of samples

}  // namespace

Composite::Composite(const Expression& expression, Vocabulary& vocabulary, const CompositeOptions& options)
    : tree_(build_tree(expression, vocabulary, options)) {}

bool Composite::needs_normalisers() const {
  bool found = false;
  each_unknown(*tree_.root, [&](const Node&, std::size_t) { found = true; });
  return found;
}

std::vector<Composite::LogZ> Composite::normalise(std::uint64_t seed, Observer& observer) {
  std::vector<LogZ> all;
  each_unknown(*tree_.root, [&](Node& node, std::size_t i) {
    const Node& part = *node.parts[i];
    const bool points = tree_.space.kind == model::SampleSpace::Kind::points;
    const std::int64_t count = points ? normaliser_points : normaliser_pictures;
    if (part.term()) {
      model::SampleRequest request{
          .count = count, .condition = part.condition, .seed = seed, .first_stream = normaliser_streams};
      request.energies = false;
      request.sampler = part.model->settings().sampling;
      request.sampler->annealing.guidance = 1, request.sampler->ensemble = 1;
      request.sampler->langevin.temperature_end = 1;
      const std::int64_t total =
          sampling::step_count(*request.sampler, true) * ((count + request.batch - 1) / request.batch);
      std::int64_t done = 0;
      request.on_step = [&](sampling::Position, const sampling::StepInfo&, const sampling::Chains&) {
        observer.progress("normaliser of " + part.text, ++done, total);
      };
      const model::Samples samples = part.model->sample(request);
      const auto& noise = *part.model->condition_spec().noise;
      const auto energy = [&](double sigma) { return part.model->energy(part.condition, sigma); };
      node.normalisers[i] = normaliser_of_samples(energy, {noise.sigma_min, noise.sigma_max},
                                                  samples.x.to(part.model->device()), normaliser_levels, seed);
    } else {
      sampling::NoiseRange own = *tree_.range;
      own.weight = part.least;
      node.normalisers[i] = normaliser_of_chains(
          [&](double sigma) { return part.at(sigma); }, own, tree_.space.shape, count, normaliser_levels,
          normaliser_moves, seed,
          [&](std::int64_t done, std::int64_t total) { observer.progress("normaliser", done, total); });
    }
    const Normaliser& found = *node.normalisers[i];
    all.push_back({part.term() ? part.text : fmt::format("what begins in column {}", part.column), found.log_z.back(),
                   found.deviation});
    observer.message(fmt::format("log Z of {}: {:.2f} ± {:.2f} at the least noise", all.back().part, all.back().value,
                                 found.deviation));
  });
  return all;
}

energy::EnergyPtr Composite::energy(double sigma) const {
  if (needs_normalisers()) throw UserError("\"or\" needs energies that compare: normalise first");
  return tree_.root->at(sigma);
}

void Composite::require_particles() const {
  const auto refuse = [](const std::string& why) { throw UserError("particles: " + why); };
  if (!tree_.range) refuse("these energies take no noise levels");
  if (tree_.root->term() || tree_.root->disjunction) refuse("expected an \"and\"");
  for (const auto& part : tree_.root->parts) {
    if (part->greatest == 0) refuse("a constraint is no density; expected densities alone");
  }
  if (std::fabs(tree_.root->least - 1) > 1e-6 || std::fabs(tree_.root->greatest - 1) > 1e-6)
    refuse("expected weights that add up to 1, as with --given");
}

bool Composite::is_population(const sampling::SamplerOptions& sampler, std::int64_t particles) const {
  return particles == 1 && tree_.range && tree_.space.kind == model::SampleSpace::Kind::points &&
         c10::multiply_integers(tree_.space.shape) <= most_dimensions && sampler.steps > 0 &&
         sampler.langevin.temperature_end > 0 && sampling::find_kernel(sampler.kernel).compares;
}

std::int64_t Composite::batch_of(const model::SampleRequest& request, const sampling::SamplerOptions& sampler,
                                 std::int64_t particles) const {
  const std::int64_t batch = std::max<std::int64_t>(1, request.batch / particles);
  return is_population(sampler, particles) ? whole_groups(batch) : batch;
}

sampling::SamplerOptions Composite::moved_by(sampling::SamplerOptions sampler, std::int64_t particles) const {
  if (is_population(sampler, particles)) sampler.annealing.predictor = false;  // weights carry it from level to level
  return sampler;
}

std::int64_t Composite::gradient_count(const sampling::SamplerOptions& sampler, std::int64_t particles) const {
  const std::int64_t moves = sampling::gradient_count(moved_by(sampler, particles), range().has_value());
  if (!is_population(sampler, particles)) return moves;
  if (!tree_.root->positive()) return moves;
  return moves + (sampler.annealing.levels - 1) * (1 + c10::multiply_integers(tree_.space.shape));
}

model::Samples Composite::sample(const model::SampleRequest& request, std::int64_t particles) const {
  const at::NoGradGuard no_grad;
  if (particles > 1) require_particles();
  if (request.count < 1 || request.batch < 1) throw UserError("sample: expected count and batch of at least 1");
  sampling::SamplerOptions sampler = moved_by(request.sampler.value_or(tree_.sampler), particles);
  if (const std::string problem = model::kernel_problem(tree_.settings, sampler); !problem.empty())
    throw UserError("sampling.kernel: " + problem);
  const bool uneven = tree_.root->least < tree_.root->greatest;
  if (uneven) sampler.annealing.moments = false, sampler.annealing.ancestral = 0;  // which are of one W
  const std::uint64_t seed = request.seed.value_or(tree_.seed);
  const auto energies_at = [&](double sigma) { return std::vector{energy(sigma)}; };
  if (tree_.range) {
    sampler.annealing.step_shares = sampling::learn_step_shares(sampler, *tree_.range, energies_at, tree_.space.shape,
                                                                pilot_chains, tree_.device, seed);
  }
  const bool weighed = is_population(sampler, particles);
  std::vector<at::Tensor> parts, energies;
  const std::int64_t batch = batch_of(request, sampler, particles);
  for (std::int64_t begin = 0; begin < request.count; begin += batch) {
    const std::int64_t count = std::min(request.count - begin, batch),
                       moved = weighed ? whole_groups(count) : count * particles;
    auto chains = sampling::start_chains(tree_.range ? sampling::StartOptions{sampling::Start::normal} : sampler.start,
                                         tree_.space.shape, moved, request.first_stream + begin * particles, {}, seed)
                      .to(tree_.device);
    Particles group(particles, seed);
    Population whole(population, seed, tree_.root->positive() ? Population::Way::predictor : Population::Way::shrinking,
                     sampler.langevin.temperature_end);
    sampling::LevelHooks hooks;
    if (uneven) hooks.descent = [&](double sigma) { return std::vector{tree_.root->descent(sigma)}; };
    if (weighed) {
      hooks.before = [&](const sampling::NoiseLevel& level, sampling::Chains& now) {
        whole.at_level(level.sigma, tree_.root->greatest, level.next == 0, energy(level.sigma), now);
      };
    }
    if (particles > 1) {
      hooks.before = [&](const sampling::NoiseLevel& level, sampling::Chains& now) {
        std::vector<energy::EnergyPtr> of_parts;
        for (const auto& part : tree_.root->parts) of_parts.push_back(part->at(level.sigma));
        group.at_level(level.sigma, of_parts, tree_.root->weights, now);
      };
    }
    sampling::OnStep on_step = request.on_step;
    if (on_step && weighed && moved > count) {  // what is over is nobody's
      on_step = [&](sampling::Position p, const sampling::StepInfo& info, const sampling::Chains& now) {
        request.on_step(p, info, now.slice(0, count));
      };
    }
    try {
      if (tree_.range) {
        sampling::sample_from_noise(sampler, *tree_.range, tree_.range->sigma_max / std::sqrt(tree_.root->least),
                                    energies_at, chains, seed, on_step, hooks);
      } else {
        sampling::sample(sampler, *energy(0), chains, seed, request.on_step);
      }
    } catch (const sampling::Stop&) {
      break;
    }
    if (particles > 1) chains = chains.select(group.chosen(chains).to(tree_.device));
    if (moved > count && weighed) chains = chains.slice(0, count);
    if (tree_.space.kind == model::SampleSpace::Kind::image) chains.x.clamp_(tree_.space.low, tree_.space.high);
    if (request.energies) energies.push_back(energy(tree_.range ? tree_.range->sigma_min : 0)->energy(chains.x).cpu());
    parts.push_back(chains.x.cpu());
  }
  model::Samples samples;
  std::vector<std::int64_t> none = tree_.space.shape;
  none.insert(none.begin(), 0);
  samples.x = parts.empty() ? at::empty(none) : at::cat(parts);
  if (request.energies) samples.energies = energies.empty() ? at::empty({0}) : at::cat(energies);
  return samples;
}

}  // namespace igebm::generation
