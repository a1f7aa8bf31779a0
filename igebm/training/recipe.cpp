#include "igebm/training/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/ranges.h"
#include "igebm/sampling/describe.h"

namespace igebm::training {
namespace {

using io::Fields;
using io::Range;

using namespace io::ranges;  // NOLINT(google-build-using-namespace)
const Range limit{0, infinity, true, true};
const Range dropout_rate{0, 1, false, true};

void describe(Fields& f, OptimizerOptions& o) {
  io::choice(f, "kind", o.kind, optimizer_kinds(), "muon: of weights that are matrices, Adam of the rest");
  f.field("learning_rate", o.learning_rate, positive, "of Adam; Muon's goes by it");
  f.field("beta1", o.beta1, Range{0, 1, false, true}, "decay of Adam's first moment");
  f.field("beta2", o.beta2, Range{0, 1, false, true}, "decay of Adam's second moment");
  f.field("epsilon", o.epsilon, positive, "added to the root of the second moment");
  f.field("momentum", o.momentum, Range{0, 1, false, true}, "of Muon");
  f.field("factor", o.factor, positive, "of Muon's steps, whose elements are about 0.2 factor learning_rate");
  f.field("clip", o.clip, {"none", "norm", "second-moment"},
          "of the parameters' gradient; second-moment: of what Adam moves");
  f.field("clip_norm", o.clip_norm, positive, "for clip = \"norm\"");
  f.field("warmup", o.warmup, count_from_zero, "steps of linear warm-up");
  f.field("schedule", o.schedule, {"constant", "cosine"}, "of the learning rate over the phase");
  f.field("final_share", o.final_share, share, "of the learning rate that cosine ends at");
}

void describe(Fields& f, EnergyMatchingOptions& o) {
  f.field("weight", o.weight, positive, "of this term in the loss");
  f.field("time_end", o.time_end, Range{0, 1, true}, "of the way from noise (0) to data (1) that it looks at");
  f.field("equilibrium", o.equilibrium, share,
          "from this time on the slope falls to 0 at the data, which so become minima; 1: never");
  f.field("transport", o.transport, "pair noise and data by minibatch optimal transport");
}

void describe(Fields& f, DenoisingScoreMatchingOptions& o) {
  f.field("weight", o.weight, positive, "of this term in the loss");
  io::choice(f, "form", o.noise.form, model::energy_forms(),
             "of E(x, sigma); preconditioned: a Gaussian's energy and what the data's differs from it by");
  f.field("sigma_min", o.noise.sigma_min, positive, "least noise level, a standard deviation");
  f.field("sigma_max", o.noise.sigma_max, positive, "greatest, about the greatest distance between data");
  io::choice(f, "law", o.law, noise_laws(), "of the noise levels drawn between them");
  f.field("levels", o.levels, count_from_zero, "of law = \"log-uniform\": one of so many, geometric; 0: any between");
  f.field("log_mean", o.log_mean, any_float, "of law = \"log-normal\": the mean of ln sigma");
  f.field("log_deviation", o.log_deviation, positive, "of law = \"log-normal\": the standard deviation of ln sigma");
  f.field("uniform_share", o.uniform_share, share, "of law = \"log-normal\": of records that are log-uniform instead");
  f.field("sigma_data", o.noise.sigma_data, not_negative,
          "root mean square of the data's elements, about; 0: measured, or 0.5 with form = \"noise\"");
  if (o.noise.sigma_min >= o.noise.sigma_max) f.problem("sigma_min", "sigma_min must be below sigma_max");
  f.field("time_score", o.time_score, not_negative,
          "of form = \"preconditioned\": weight of dual score matching's term, which makes energies compare; 0: none");
  if (o.time_score > 0 && o.noise.form != model::EnergyForm::preconditioned)
    f.problem("time_score", "only with form = \"preconditioned\"");
  if (o.levels == 1) f.problem("levels", "expected 0, or at least 2");
  if (o.levels > 0 && o.law != NoiseLaw::log_uniform) f.problem("levels", "only with law = \"log-uniform\"");
}

void describe(Fields& f, ReplayAugmentation& o) {
  f.field("share", o.share, share, "of the pictures taken from the buffer that are changed before they go on");
  f.field("flip", o.flip, "mirrored with probability 1/2");
  f.field("area", o.area, Range{0, 1, true}, "least share of the area that a crop keeps, enlarged; 1: no crop");
  f.field("brightness", o.brightness, share, "pictures times a factor from [1 - b, 1 + b]");
  f.field("contrast", o.contrast, share, "the same of distances to the picture's mean grey");
  f.field("saturation", o.saturation, share, "the same of distances to each pixel's grey");
  f.field("blur", o.blur, Range{0, 100}, "greatest standard deviation, pixels, of half the pictures; 0: none");
  if (o.blur > 0 && o.blur < 0.1) f.problem("blur", "expected 0 or at least 0.1");
}

void describe(Fields& f, ContrastiveDivergenceOptions& o) {
  f.field("weight", o.weight, positive, "of this term in the loss");
  f.field("form", o.form, {"linear", "logsumexp", "softplus"}, "of the contrast between data and samples");
  f.field("energy_l2", o.energy_l2, not_negative, "coefficient of E(x+)^2 + E(x-)^2");
  f.field("kl", o.end.kl, not_negative, "weight of the energy at the chains' ends, through their last step; 0: none");
  f.field("entropy", o.end.entropy, not_negative, "weight of log the distance from there to earlier samples; 0: none");
  f.field("entropy_pool", o.end.pool, count_from_one, "earlier samples, from the buffer, that the nearest is among");
  f.field("steps", o.steps, count_from_one, "Langevin steps a training step");
  f.field("buffer", o.replay.size, count_from_one, "chains in the replay buffer");
  f.field("restart_share", o.replay.restart_share, share, "of chains that start anew");
  f.field("data_share", o.replay.data_share, share, "of chains that start from data");
  f.field("compact", o.replay.compact, "keep the buffer as 8-bit numbers over [low, high]");
  describe(f, o.start);
  describe(f, o.flow);
  describe(f, o.langevin);
  f.section("augment", [&](Fields& g) {
    describe(g, o.replay.augment);
    if (o.replay.augment.share > 0 && !(std::isfinite(o.langevin.low) && std::isfinite(o.langevin.high)))
      g.problem("share", "contrastive_divergence's low and high, black and white to it, must be given");
  });
  if (o.replay.restart_share + o.replay.data_share > 1)
    f.problem("restart_share", "restart_share and data_share together exceed 1");
  if (o.langevin.low >= o.langevin.high) f.problem("low", "low must be below high");
  if (o.replay.compact && !(std::isfinite(o.langevin.low) && std::isfinite(o.langevin.high)))
    f.problem("compact", "low and high, which 8-bit numbers are to span, must be given");
}

void describe(Fields& f, ClassificationOptions& o) {
  f.field("label_smoothing", o.label_smoothing, Range{0, 1, false, true}, "of the targets, towards all classes alike");
}

constexpr std::array objective_names = {"energy_matching", "contrastive_divergence", "denoising_score_matching",
                                        "classification"};

void describe(Fields& f, PhaseOptions& o) {
  f.field("steps", o.steps, count_from_one, "training steps");
  f.field("batch", o.batch, count_from_one, "data a step; contrastive divergence takes as many chains");
  f.field("average", o.average, Range{0, 1, false, true},
          "decay of the average of weights that samples are drawn with; 0: none");
  f.field("from_average", o.from_average, "start from the average of the phase before");
  f.section("optimizer", [&](Fields& g) { describe(g, o.optimizer); });
  f.optional_section("energy_matching", o.has_energy_matching, [&](Fields& g) { describe(g, o.energy_matching); });
  f.optional_section("contrastive_divergence", o.has_contrastive_divergence,
                     [&](Fields& g) { describe(g, o.contrastive_divergence); });
  f.optional_section("denoising_score_matching", o.has_denoising_score_matching,
                     [&](Fields& g) { describe(g, o.denoising_score_matching); });
  f.optional_section("classification", o.has_classification, [&](Fields& g) { describe(g, o.classification); });
  if (!o.has_energy_matching && !o.has_contrastive_divergence && !o.has_denoising_score_matching &&
      !o.has_classification) {
    f.problem(
        "steps",
        "a phase needs a section energy_matching or contrastive_divergence, or both; a network's of noise levels: "
        "denoising_score_matching; a classifier's: classification");
  }
  if (o.has_contrastive_divergence && o.batch > o.contrastive_divergence.replay.size) {
    f.problem("batch", "more chains a batch than the buffer holds");
  }
}

void describe(Fields& f, NetworkOptions& o) {
  f.field("kind", o.kind, {"residual", "strided", "unet", "mlp", "classifier"},
          "the architecture, which has keys of its own");
  f.field("labels", o.labels, "condition on the data's labels");
  f.field("conditions", o.conditions, "condition on these of the data's numbers; igebm data show tells their names");
  f.field("noise_features", o.noise_features, Range{0, 1e4},
          "above 0: condition on a noise level, by so many features (an even number) of its logarithm");
  if (o.labels && !o.conditions.empty()) f.problem("conditions", "not together with labels = true");
  if (o.noise_features % 2 != 0) f.problem("noise_features", "expected an even number");
  if (o.kind == "residual") {
    f.field("stem", o.residual.stem, count_from_one, "channels of the first convolution");
    f.field("stem_kernel", o.residual.stem_kernel, Range{3, 4}, "3, or 4 with stride 2");
    f.field("blocks", o.residual.blocks, {}, "widths of the residual blocks; d: halve the picture");
    f.field("activation", o.residual.activation, {"leaky_relu", "silu"}, "between layers");
    f.field("spectral_norm", o.residual.spectral_norm, "on every layer but the last");
    f.field("attention", o.residual.attention, "self-attention after the first stage");
    f.field("dropout", o.residual.dropout, dropout_rate, "rate in each block, while training");
  } else if (o.kind == "strided") {
    f.field("stem", o.strided.stem, count_from_one, "channels of the first convolution");
    f.field("channels", o.strided.channels, count_from_one, "of the strided convolutions; each halves the picture");
    f.field("dense", o.strided.dense, count_from_one, "features of the linear layer before the last");
    f.field("activation", o.strided.activation, {"leaky_relu", "silu"}, "between layers");
    f.field("spectral_norm", o.strided.spectral_norm, "on every layer but the last");
    f.field("label_planes", o.strided.label_planes,
            "labels or conditions as planes beside the picture; false: as a bias into each strided convolution");
  } else if (o.kind == "unet") {
    f.field("channels", o.unet.channels, count_from_one, "of each level; each has half the size of the one before");
    f.field("blocks", o.unet.blocks, count_from_one, "residual blocks of each level, on each side of the deeper ones");
    f.field("patch", o.unet.patch, Range{1, 64},
            "pixels a side that make one place of the first level; 1: none are joined");
    f.field("groups", o.unet.groups, count_from_zero, "of group norm; 0: none");
    f.field("attention", o.unet.attention, "self-attention at the deepest level");
    f.field("dropout", o.unet.dropout, dropout_rate, "rate in each block, while training");
    if (o.unet.channels.size() != o.unet.blocks.size())
      f.problem("blocks", "expected as many numbers as channels has, one for each level");
  } else if (o.kind == "classifier") {
    f.field("channels", o.classifier.channels, count_from_one, "of the convolutions, each of which halves the picture");
    f.field("features", o.classifier.features, count_from_one, "that distances between pictures are measured in");
    if (o.labels) f.problem("labels", "a classifier tells the labels; it is not conditional on them");
    if (!o.conditions.empty()) f.problem("conditions", "a classifier is not conditional");
    if (o.noise_features > 0) f.problem("noise_features", "a classifier is not conditional");
  } else {
    f.field("widths", o.mlp.widths, count_from_one, "of the hidden layers");
  }
}

}  // namespace

void describe(Fields& f, Recipe& r) {
  f.section("run", [&](Fields& g) { model::describe_run(g, r); });
  f.section("data", [&](Fields& g) { data::describe(g, r.data); });
  f.section("network", [&](Fields& g) { describe(g, r.network); });
  f.section("train", [&](Fields& g) {
    g.field("phases", r.phase_order, "names of sections [phase.NAME], in the order in which they run");
    if (r.phase_order.empty()) g.problem("phases", "expected at least one name");
    g.field("checkpoint_every", r.output.checkpoint_every, count_from_one, "training steps between checkpoints");
    g.field("keep", r.output.keep, count_from_zero, "checkpoints kept; 0: all");
    g.field("metrics_every", r.output.metrics_every, count_from_one, "training steps between lines of metrics.jsonl");
    g.field("samples_every", r.output.samples_every, count_from_zero, "steps between pictures of samples; 0: none");
    g.field("samples", r.output.samples, count_from_one, "samples in such a picture");
  });
  std::vector<PhaseOptions> given = r.phases;
  r.phases.clear();
  f.section("phase", [&](Fields& g) {
    const std::vector<std::string> there = g.sections();
    const auto meant = [](const std::string& name, const std::vector<std::string>& of) {
      const std::string near = io::nearest(name, of);
      return near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near);
    };
    const auto describe_phase = [&](PhaseOptions& phase, const std::string& name) {
      phase.name = name;
      g.section(name.c_str(), [&](Fields& h) {
        const bool listed = std::find(r.phase_order.begin(), r.phase_order.end(), name) != r.phase_order.end();
        const std::vector<std::string> inside = h.sections();
        const bool trains = std::ranges::any_of(objective_names, [&](const char* objective) {
          return std::find(inside.begin(), inside.end(), objective) != inside.end();
        });
        if (!listed && !trains)  // a slip
          g.problem(name.c_str(), "train.phases does not name it" + meant(name, r.phase_order));
        describe(h, phase);
        const bool usual = phase.has_energy_matching || phase.has_contrastive_divergence;
        if (phase.has_classification != (r.network.kind == "classifier") ||
            (phase.has_classification && (usual || phase.has_denoising_score_matching))) {
          h.problem("classification", "network.kind = \"classifier\" and this section go together, and with no other");
        }
        if (phase.has_denoising_score_matching != (r.network.noise_features > 0) ||
            (phase.has_denoising_score_matching && usual)) {
          h.problem("denoising_score_matching",
                    "network.noise_features above 0 and this section go together, and with no other");
        }
      });
    };
    for (std::size_t i = 0; i < r.phase_order.size(); ++i) {
      const std::string& name = r.phase_order[i];
      if (std::find(there.begin(), there.end(), name) == there.end()) {
        g.problem(name.c_str(), "train.phases names it, but there is no such section" + meant(name, there));
      }
      r.phases.push_back(i < given.size() ? given[i] : PhaseOptions{});
      describe_phase(r.phases.back(), name);
    }
    // Sections that are not in the order are checked, too, but not run.
    for (const std::string& name : there) {
      if (std::find(r.phase_order.begin(), r.phase_order.end(), name) != r.phase_order.end()) continue;
      PhaseOptions left_out;
      describe_phase(left_out, name);
    }
  });
  f.section("sampling", [&](Fields& g) {
    describe(g, r.sampling, r.network.noise_features > 0);
    if (r.output.keep > 0 && r.sampling.ensemble > r.output.keep)
      g.problem("ensemble", fmt::format("expected at most train.keep = {}, the checkpoints that are kept, got {}",
                                        r.output.keep, r.sampling.ensemble));
  });
  f.section("evaluate", [&](Fields& g) {
    g.field("every", r.evaluate.every, count_from_zero, "training steps between figures of quality; 0: none");
    g.field("metric", r.evaluate.metric, {"frechet", "kid", "inception"}, "by which checkpoints/best is kept");
    g.field("features", r.evaluate.features, {}, "a file or run, as for igebm evaluate; empty: the usual ones");
    g.field("count", r.evaluate.count, Range{2, 1e9}, "samples drawn for a figure");
    if (r.evaluate.every > 0 && r.network.kind == "classifier")
      g.problem("every", "a classifier draws no samples to evaluate");
  });
  f.section("watchdog", [&](Fields& g) {
    g.field("energy_limit", r.watchdog.energy_limit, limit, "of the mean |E| of data or samples");
    g.field("loss_limit", r.watchdog.loss_limit, limit,
            "of a loss of matching or of a classifier, in times that of a network that knows nothing");
    g.field("rollbacks", r.watchdog.rollbacks, count_from_zero, "to the last good checkpoint, before training stops");
    g.field("learning_rate_factor", r.watchdog.learning_rate_factor, Range{0, 1, true}, "at each rollback");
  });
}

std::int64_t Recipe::total_steps() const {
  std::int64_t total = 0;
  for (const auto& phase : phases) total += phase.steps;
  return total;
}

Recipe read_recipe(const std::string& path, const std::vector<std::string>& assignments) {
  io::Recipe file = io::Recipe::read(path);
  for (const auto& assignment : assignments) file.set(assignment);
  Recipe recipe;
  file.apply([&](Fields& f) { describe(f, recipe); });
  for (std::string* each : {&recipe.data.path, &recipe.choices, &recipe.evaluate.features})
    *each = model::absolute_path(*each);
  return recipe;
}

Objectives make_objectives(const PhaseOptions& p, const nn::Graph& graph) {
  Objectives all;
  if (p.has_energy_matching) all.emplace_back("energy_matching", std::make_unique<EnergyMatching>(p.energy_matching));
  if (p.has_contrastive_divergence) {
    all.emplace_back("contrastive_divergence",
                     std::make_unique<ContrastiveDivergence>(p.contrastive_divergence, graph));
  }
  if (p.has_denoising_score_matching) {
    all.emplace_back("denoising_score_matching",
                     std::make_unique<DenoisingScoreMatching>(p.denoising_score_matching, graph));
  }
  if (p.has_classification) all.emplace_back("classification", std::make_unique<Classification>(p.classification));
  return all;
}

nn::Graph build_graph(const NetworkOptions& o, const std::vector<std::int64_t>& input_shape, std::int64_t classes,
                      std::int64_t conditions) {
  if (o.labels && classes == 0) throw UserError("network.labels: the data have no labels");
  if (!o.conditions.empty() && conditions == 0) throw UserError("network.conditions: the data have no conditions");
  const nn::Conditioning on{
      .classes = o.labels ? classes : 0, .conditions = conditions, .noise_features = o.noise_features};
  if (o.kind == "strided") return nn::strided(o.strided, input_shape, on);
  if (o.kind == "unet") return nn::unet(o.unet, input_shape, on);
  if (o.kind == "classifier") return nn::classifier(o.classifier, input_shape, classes);
  if (o.kind == "mlp") return nn::mlp(o.mlp, input_shape, on);
  return nn::residual(o.residual, input_shape, on);
}

}  // namespace igebm::training
