#include "igebm/classification/robustness.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/nn/weights.h"
#include "igebm/scoring/noise_profile.h"
#include "igebm/scoring/ood_sets.h"

namespace igebm::classification {
namespace {

struct Labelled {
  std::string name;
  at::Tensor x, labels;  // double in [0, 1], int64
};

std::int64_t classes_of(const model::Model& model) {
  return std::max(model.condition_spec().classes, model.graph().outputs);
}

Labelled labelled(const model::Model& model, scoring::Own which, std::int64_t count, std::uint64_t seed) {
  const scoring::PictureSet set = scoring::load_own(model, which, count, seed);
  if (!set.labels.defined())
    throw UserError(fmt::format("{}: its records have no classes", model.settings().data.name));
  const std::int64_t classes = classes_of(model);
  if (set.labels.numel() > 0 && set.labels.max().item<std::int64_t>() >= classes)
    throw UserError(fmt::format("{}: more classes than the model's {}", model.settings().data.name, classes));
  return {set.name, set.x.to(at::kDouble) / 255, set.labels};
}

/// Cross entropy of every second picture by what is fitted on the others.
double held_out_loss(const at::Tensor& energies, const at::Tensor& labels) {
  const auto part = [](const at::Tensor& t, std::int64_t first) { return t.slice(0, first, {}, 2); };
  const Calibration fitted = calibrate(part(energies, 0), part(labels, 0));
  return cross_entropies(fitted.logits(part(energies, 1)), part(labels, 1)).mean().item<double>();
}

/// What tells classes, and what was fitted for it.
struct Fitted {
  std::unique_ptr<Logits> logits;
  Calibration calibration;
  std::vector<double> sigmas;  // the levels that are used; empty: the model takes none
  std::int64_t draws = 0;      // of their noise
};

/// What energies are asked at.
struct Asked {
  std::vector<double> sigmas;
  scoring::LevelNoise noise;
};

/// What tells labels of some of the training pictures best: one of the levels, where no sigma is said, and with noise
/// or without, where neither is.
Asked chosen(const model::Model& model, std::vector<double> sigmas, const RobustnessOptions& options,
             const Labelled& training, const Progress& progress) {
  constexpr std::int64_t judged = 300, pair = 2;
  const std::uint64_t seed = options.seed.value_or(0);
  if (!model.condition_spec().noise) return {{1}, {.draws = 0, .seed = seed}};
  const bool choose_level = sigmas.empty();
  if (choose_level) sigmas = scoring::profile_levels(model, options.levels);
  if (options.draws && (!choose_level || sigmas.size() == 1)) return {sigmas, {.draws = *options.draws, .seed = seed}};
  const at::Tensor x = training.x.slice(0, 0, judged), labels = training.labels.slice(0, 0, judged);
  Asked best;
  double least = std::numeric_limits<double>::infinity();
  for (const std::int64_t draws : options.draws ? std::vector{*options.draws} : std::vector<std::int64_t>{0, pair}) {
    const scoring::LevelNoise noise{.draws = draws, .seed = seed};
    const at::Tensor energies = EnergyLogits(model, sigmas, noise).energies(x, progress);
    const auto judge = [&](const at::Tensor& those, const std::vector<double>& at) {
      if (const double loss = held_out_loss(those, labels); loss < least) least = loss, best = {at, noise};
    };
    if (!choose_level) judge(energies, sigmas);
    for (std::size_t l = 0; choose_level && l < sigmas.size(); ++l)
      judge(energies.narrow(1, static_cast<std::int64_t>(l), 1), {sigmas[l]});
  }
  return best;
}

/// sigmas: empty to choose one of the options' `levels`.
Fitted from_energies(const model::Model& model, const std::vector<double>& sigmas, const RobustnessOptions& options,
                     const Labelled& training, Observer& observer) {
  const Progress progress = [&](std::int64_t done, std::int64_t total) {
    observer.progress("training pictures", done, total);
  };
  const Asked asked = chosen(model, sigmas, options, training, progress);
  auto logits = std::make_unique<EnergyLogits>(model, asked.sigmas, asked.noise);
  const Calibration calibration = calibrate(logits->energies(training.x, progress), training.labels);
  logits->use(calibration);
  const bool noise = model.condition_spec().noise.has_value();
  return {std::move(logits), calibration, noise ? asked.sigmas : std::vector<double>{}, asked.noise.draws};
}

Fitted from_classifier(const model::Model& model, const model::NetworkFile& file, const Labelled& training) {
  auto logits =
      std::make_unique<NetworkLogits>(file.graph, nn::effective_weights(file.graph, file.parameters, file.buffers),
                                      model.space().low, model.space().high);
  const Calibration calibration = calibrate(-logits->of(training.x).unsqueeze(1), training.labels, /*offsets=*/false);
  logits->use(calibration);
  return {std::move(logits), calibration, {}};
}

/// Each told by its own classes, at a level of its own, fitted on the same pictures.
std::vector<std::pair<std::string, Fitted>> sources_of(const RobustnessOptions& options, const Labelled& training,
                                                       Observer& observer) {
  std::vector<std::pair<std::string, Fitted>> all;
  for (const Source& s : options.sources)
    all.emplace_back(s.name, s.classifier != nullptr ? from_classifier(*s.model, *s.classifier, training)
                                                     : from_energies(*s.model, {}, options, training, observer));
  return all;
}

/// A level that the energies were not trained at tells nothing.
void check_sigmas(const model::Model& model, const RobustnessOptions& options) {
  if (options.sigmas.empty()) return;
  if (options.classifier != nullptr) throw UserError("sigma: this model is a classifier, which takes no noise levels");
  const auto& noise = model.condition_spec().noise;
  if (!noise) throw UserError("sigma: this model takes no noise levels");
  constexpr double rounding = 1e-6;  // a bound that is passed on as it was printed is within
  for (const double sigma : options.sigmas) {
    if (!(sigma >= noise->sigma_min * (1 - rounding) && sigma <= noise->sigma_max * (1 + rounding)))
      throw UserError(fmt::format("sigma: expected from {:g} to {:g}, the model's noise levels, got {:g}",
                                  noise->sigma_min, noise->sigma_max, sigma));
  }
}

void check_sources(const model::Model& model, const RobustnessOptions& options) {
  for (const Source& s : options.sources) {
    if (s.model->space().kind != model.space().kind || s.model->space().shape != model.space().shape)
      throw UserError(fmt::format("{}: its pictures are of another shape than this model's", s.name));
    if (classes_of(*s.model) != classes_of(model))
      throw UserError(
          fmt::format("{}: it tells {} classes, this model {}", s.name, classes_of(*s.model), classes_of(model)));
  }
}

/// `inner` after steps on the energy of no class in particular, at the level that tells classes.
std::unique_ptr<Logits> refined(const Logits& inner, const model::Model& model, const RobustnessOptions& options,
                                Robustness& told) {
  RefineOptions refine = options.refine;
  refine.seed = told.seed;
  const double sigma = told.sigmas.empty() ? 1 : told.sigmas.front();
  if (refine.step_size == 0) {
    if (told.sigmas.empty()) throw UserError("refine: this model takes no noise levels, so the step size must be said");
    const double in_pixels = sigma / (model.space().high - model.space().low);
    refine.step_size = 0.1 * in_pixels * in_pixels;
  }
  told.refine_step = refine.step_size;
  return std::make_unique<Refined>(inner, of_unit(model, scoring::energy_under(model, {}, sigma)), model.device(),
                                   refine);
}

/// grey: the eps from which any picture can become grey; 0: of another eps than the greatest.
void warn_of_weakness(const EpsResult& at, double grey, Robustness& told) {
  const auto sees_gradients = [](const AttackResult& a) { return a.attack != Attack::square && a.source.empty(); };
  double white = 2;
  for (const AttackResult& a : at.attacks) {
    if (sees_gradients(a)) white = std::min(white, a.accuracy.value);
  }
  for (const AttackResult& a : at.attacks) {
    if (!sees_gradients(a) && white <= 1 && a.accuracy.value < white)
      told.warnings.push_back(
          fmt::format("eps {:.4g}: {} finds more than attacks that see this model's gradients: these may be masked",
                      at.eps, a.source.empty() ? name_of(a.attack) : fmt::format("what fools {}", a.source)));
  }
  if (grey > 0 && at.eps >= grey && at.accuracy.value > 0)
    told.warnings.push_back(
        fmt::format("eps {:.4g}: {:.1f} % are told right, where any picture can become grey: the attacks are too weak",
                    at.eps, 100 * at.accuracy.value));
}

/// A part of the pictures at a time, which changes nothing but how often progress is told.
template <class Part>
void by_parts(std::int64_t count, const std::string& stage, Observer& observer, const Part& part) {
  constexpr std::int64_t size = 128;
  for (std::int64_t begin = 0; begin < count; begin += size) {
    const std::int64_t end = std::min(count, begin + size);
    part(begin, end, [&](std::int64_t done, std::int64_t total) {
      observer.progress(stage, begin * total + done * (end - begin), count * total);
    });
    observer.progress(stage, end, count);
  }
}

EpsResult attacked(double eps, const Logits& logits, const std::vector<std::pair<std::string, Fitted>>& sources,
                   const Labelled& test, const RobustnessOptions& options, std::uint64_t seed, Observer& observer) {
  EpsResult result{.eps = eps};
  const std::int64_t count = test.x.size(0);
  at::Tensor right = at::ones({count}, at::kBool);
  AttackOptions attack_options = options.attack;
  attack_options.eps = eps, attack_options.seed = seed;
  // try_part(begin, end, progress, told) says which of these pictures are told right whatever was tried
  const auto by = [&](AttackResult told, const auto& try_part) {
    const double begun = now();
    std::int64_t count_right = 0;
    const std::string stage = fmt::format("{}{}, eps {:.4g}", name_of(told.attack),
                                          told.source.empty() ? "" : fmt::format(" of {}", told.source), eps);
    by_parts(count, stage, observer, [&](std::int64_t begin, std::int64_t end, const Progress& progress) {
      const at::Tensor still = try_part(begin, end, progress, told);
      right.slice(0, begin, end).logical_and_(still);
      count_right += still.sum().template item<std::int64_t>();
    });
    told.accuracy = fraction_right(count_right, count);
    told.seconds = now() - begun;
    result.attacks.push_back(told);
  };
  for (const Attack one : options.attacks)
    by({.attack = one}, [&](std::int64_t begin, std::int64_t end, const Progress& progress, AttackResult& told) {
      const Attacked found = attack(one, logits, test.x.slice(0, begin, end), test.labels.slice(0, begin, end),
                                    at::arange(begin, end), attack_options, progress);
      told.gradients += found.gradients, told.evaluations += found.evaluations;
      return found.right;
    });
  for (const auto& other : sources)
    by({.attack = Attack::pgd, .source = other.first},
       [&](std::int64_t begin, std::int64_t end, const Progress& progress, AttackResult& told) {
         const at::Tensor x = test.x.slice(0, begin, end), labels = test.labels.slice(0, begin, end);
         const at::Tensor there =
             pgd_end(*other.second.logits, x, labels, at::arange(begin, end), attack_options, progress);
         told.gradients += (end - begin) * (attack_options.steps + 1), told.evaluations += 2 * (end - begin);
         const auto is_right = [&](const at::Tensor& at) { return logits.of(at).argmax(1).eq(labels); };
         return is_right(x).logical_and(is_right(there));
       });
  result.accuracy = fraction_right(right.sum().item<std::int64_t>(), count);
  return result;
}

/// Throws UserError where one is there twice, which would be asked twice.
template <class Values, class Name>
void check_each_once(const char* what, const Values& values, const Name& name) {
  for (auto i = values.begin(); i != values.end(); ++i) {
    if (std::find(values.begin(), i, *i) != i)
      throw UserError(fmt::format("{}: expected each once, got {} twice", what, name(*i)));
  }
}

}  // namespace

void check(const RobustnessOptions& options) {
  check(options.refine);
  if (options.refine.steps > 0 && options.classifier != nullptr)
    throw UserError("refine: this model is a classifier, which has no energy to take steps on");
  if (!(options.attack.step_size >= 0 && std::isfinite(options.attack.step_size)))
    throw UserError(fmt::format("step size: expected a number above 0, got {}", options.attack.step_size));
  check_each_once("eps", options.eps, [](double eps) { return fmt::format("{:.4g}", eps); });
  check_each_once("attack", options.attacks, [](Attack one) { return std::string(name_of(one)); });
  for (const double eps : options.eps) {
    AttackOptions at = options.attack;
    at.eps = eps;
    for (const Attack one : options.attacks) check(one, at);
  }
  if (options.draws && *options.draws < 0)
    throw UserError(fmt::format("draws: expected from 0, got {}", *options.draws));
  if (!options.eps.empty() && options.attacks.empty() && options.sources.empty())
    throw UserError("expected at least one attack");
  for (const double sigma : options.sigmas) {
    if (!(sigma > 0 && std::isfinite(sigma)))
      throw UserError(fmt::format("sigma: expected a noise level above 0, got {}", sigma));
  }
}

Robustness robustness(const model::Model& model, const RobustnessOptions& options, Observer& observer) {
  const at::NoGradGuard no_grad;
  check(options);
  Robustness told{.seed = options.seed.value_or(0)};
  if (model.space().kind != model::SampleSpace::Kind::image) throw UserError("this model's records are no pictures");
  if (options.classifier == nullptr && model.condition_spec().classes < 2)
    throw UserError("this model's energies take no classes (network.labels), so it tells none");
  check_sigmas(model, options);
  check_sources(model, options);
  const Labelled test = labelled(model, scoring::Own::test, options.count, told.seed),
                 training = labelled(model, scoring::Own::held_out, options.fitted, told.seed);
  told.fitted = training.name, told.fitted_count = training.x.size(0), told.count = test.x.size(0);
  const double begun = now();
  const Fitted plain = options.classifier != nullptr
                           ? from_classifier(model, *options.classifier, training)
                           : from_energies(model, options.sigmas, options, training, observer);
  told.calibration = plain.calibration, told.sigmas = plain.sigmas, told.draws = plain.draws;
  const auto sources = sources_of(options, training, observer);
  const auto with_steps = options.refine.steps > 0 ? refined(*plain.logits, model, options, told) : nullptr;
  const Logits& logits = with_steps ? *with_steps : *plain.logits;
  std::vector<at::Tensor> logit_rows;
  by_parts(told.count, "test pictures", observer, [&](std::int64_t begin, std::int64_t end, const Progress&) {
    logit_rows.push_back(logits.of(test.x.slice(0, begin, end)));
  });
  const at::Tensor z = at::cat(logit_rows);
  told.accuracy = fraction_right(z.argmax(1).eq(test.labels).sum().item<std::int64_t>(), told.count);
  told.calibration_error = calibration_error(at::softmax(z, 1), test.labels);
  told.cross_entropy = cross_entropies(z, test.labels).mean().item<double>();
  told.seconds = now() - begun;
  for (const double eps : options.eps)
    told.eps.push_back(attacked(eps, logits, sources, test, options, told.seed, observer));
  const double grey = options.attack.norm == Norm::linf ? 0.5 : 0.5 * std::sqrt(static_cast<double>(test.x[0].numel()));
  const double greatest = options.eps.empty() ? 0 : std::ranges::max(options.eps);
  for (const EpsResult& at : told.eps) warn_of_weakness(at, at.eps == greatest ? grey : 0, told);
  return told;
}

}  // namespace igebm::classification
