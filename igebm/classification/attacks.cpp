#include "igebm/classification/attacks.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/classification/square_attack.h"

namespace igebm::classification {
namespace {

/// (N) -> (N, 1, 1, 1)
at::Tensor each(const at::Tensor& of_rows) { return of_rows.view({-1, 1, 1, 1}); }

/// L2 norms, (N, 1, 1, 1).
at::Tensor norms(const at::Tensor& x) { return each(x.flatten(1).norm(2, 1)); }

/// Of size 1 by the norm: the direction of steepest ascent.
at::Tensor direction(const at::Tensor& gradient, Norm norm) {
  if (norm == Norm::linf) return gradient.sign();
  // By the greatest element first: squares of what is far below 1 would be 0.
  const at::Tensor scaled = gradient / each(gradient.flatten(1).abs().amax(1)).clamp_min(1e-300);
  return scaled / norms(scaled).clamp_min(1e-12);
}

/// Random points of the ball: each element uniform (linf), or a direction and a radius of uniform density (l2).
at::Tensor random_start(const at::Tensor& x, const at::Tensor& which, std::int64_t restart, const AttackOptions& o) {
  const std::int64_t elements = x[0].numel();
  at::Tensor noise = at::empty({x.size(0), elements + 1}, at::kFloat);
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    const RandomPlace place{o.seed, Purpose::attack, static_cast<std::uint64_t>(which[i].item<std::int64_t>()),
                            static_cast<std::uint32_t>(restart)};
    float* row = noise.data_ptr<float>() + i * (elements + 1);
    const auto size = static_cast<std::size_t>(elements + 1);
    o.norm == Norm::linf ? random_uniform(place, {row, size}) : random_normal(place, {row, size});
  }
  const at::Tensor shift = noise.slice(1, 0, elements).to(at::kDouble).view(x.sizes());
  if (o.norm == Norm::linf) return project(x + o.eps * (2 * shift - 1), x, o.norm, o.eps);
  const at::Tensor uniform = (1 + (noise.select(1, elements).to(at::kDouble) / std::sqrt(2.0)).erf()) / 2;
  const at::Tensor radius = o.eps * uniform.pow(1 / static_cast<double>(elements));
  return project(x + each(radius) * shift / norms(shift), x, o.norm, o.eps);
}

/// Pictures under attack: what is not told wrong yet, and the gradient there.
struct Course {
  const Logits& logits;
  at::Tensor labels;
  const AttackOptions& options;
  bool stop;
  Attacked found;
  at::Tensor loss, gradient;  // at the last that was tried; of pictures that are left alone as they were
  at::Tensor near, known;     // (N, K) when all classes were asked last: which may count until then, bool; logits
  std::int64_t looks = 0;

  Course(const Logits& l, const at::Tensor& x, at::Tensor y, const AttackOptions& o, bool leave)
      : logits(l), labels(std::move(y)), options(o), stop(leave) {
    found = {.x = x.clone(), .right = at::ones({x.size(0)}, at::kBool)};
    loss = at::zeros({x.size(0)}, at::kDouble), gradient = at::zeros_like(x);
  }

  bool over() const { return stop && !found.right.any().item<bool>(); }

  /// The first look and the last, after all steps, ask all classes.
  void look(const at::Tensor& x) {
    const bool all = looks % options.all_classes_every == 0 || looks == options.steps;
    ++looks;
    const at::Tensor rows = stop ? found.right.nonzero().squeeze(1) : at::arange(x.size(0));
    const at::Tensor some = x.index_select(0, rows), their = labels.index_select(0, rows);
    const at::Tensor asked = all ? at::Tensor{} : near.index_select(0, rows);
    const auto pulled = logits.pull(some, their, asked);
    found.gradients += some.size(0);
    if (all) remember(rows, pulled.logits, their);
    gradient.index_copy_(0, rows, pulled.gradient);
    // Those that were not computed as they were: their share of the loss is small, but losses of steps are compared.
    const at::Tensor z =
        all ? pulled.logits : at::where(pulled.logits.eq(-INFINITY), known.index_select(0, rows), pulled.logits);
    loss.index_copy_(0, rows, cross_entropies(z, their));
    const at::Tensor wrong = pulled.logits.argmax(1).ne(their);
    const at::Tensor places = rows.index({wrong});
    found.x.index_copy_(0, places, some.index({wrong}));
    found.right.index_fill_(0, places, false);
  }

  void remember(const at::Tensor& rows, const at::Tensor& z, const at::Tensor& their) {
    const at::Tensor place = their.unsqueeze(1), others = z.scatter(1, place, -INFINITY);
    const at::Tensor within = others.ge(others.amax(1, /*keepdim=*/true) - options.class_margin);
    if (!near.defined())
      near = at::ones({labels.size(0), z.size(1)}, at::kBool), known = at::zeros_like(near, at::kDouble);
    near.index_copy_(0, rows, within.scatter(1, place, true));
    known.index_copy_(0, rows, z);
  }
};

/// Croce & Hein's checkpoints and step sizes, picture by picture.
struct Schedule {
  std::int64_t interval, decrease, least, since = 0;
  std::vector<at::Tensor> losses;  // (N) of each step so far
  at::Tensor step, best_loss;      // step (N, 1, 1, 1); best_loss at the checkpoint before
  at::Tensor reduced;              // bool (N), at the checkpoint before

  Schedule(std::int64_t steps, double first, const at::Tensor& loss)
      : interval(std::max<std::int64_t>(1, static_cast<std::int64_t>(0.22 * static_cast<double>(steps)))),
        decrease(std::max<std::int64_t>(1, static_cast<std::int64_t>(0.03 * static_cast<double>(steps)))),
        least(std::max<std::int64_t>(1, static_cast<std::int64_t>(0.06 * static_cast<double>(steps)))),
        step(each(at::full_like(loss, first))),
        best_loss(loss.clone()),
        reduced(at::ones_like(loss, at::kBool)) {}

  /// Which are to go on from their best with half the step; undefined: no checkpoint.
  at::Tensor halved(const at::Tensor& loss, const at::Tensor& best) {
    losses.push_back(loss.clone());
    if (++since < interval) return {};
    // How many of the last `interval` steps have raised the loss. The first step's counts as a rise, as in the authors'
    // program.
    at::Tensor rises = at::zeros_like(loss);
    const auto last = static_cast<std::int64_t>(losses.size()) - 1;
    for (std::int64_t i = last; i > last - interval; --i)
      rises +=
          (i == 0 ? losses[0].gt(0) : losses[static_cast<std::size_t>(i)].gt(losses[static_cast<std::size_t>(i - 1)]))
              .to(at::kDouble);
    const at::Tensor stuck = reduced.logical_not().logical_and(best_loss.ge(best));
    reduced = rises.le(0.75 * static_cast<double>(interval)).logical_or(stuck);
    best_loss = best.clone();
    step = at::where(each(reduced), step / 2, step);
    interval = std::max(least, interval - decrease), since = 0;
    return reduced;
  }
};

}  // namespace

void check(Attack attack, const AttackOptions& o) {
  if (!(o.eps >= 0 && std::isfinite(o.eps))) throw UserError(fmt::format("eps: expected at least 0, got {}", o.eps));
  if (o.steps < 1) throw UserError(fmt::format("steps: expected at least 1, got {}", o.steps));
  if (o.restarts < 1) throw UserError(fmt::format("restarts: expected at least 1, got {}", o.restarts));
  if (o.all_classes_every < 1)
    throw UserError(fmt::format("all classes every: expected at least 1 step, got {}", o.all_classes_every));
  if (!(o.class_margin >= 0)) throw UserError(fmt::format("class margin: expected at least 0, got {}", o.class_margin));
  if (o.queries < 1) throw UserError(fmt::format("queries: expected at least 1, got {}", o.queries));
  if (attack == Attack::square && o.norm != Norm::linf)
    throw UserError("the attack square is for the norm linf alone; say which others with --attack");
}

at::Tensor project(const at::Tensor& x, const at::Tensor& centre, Norm norm, double eps) {
  const at::Tensor shift = x - centre;
  if (norm == Norm::linf) return (centre + shift.clamp(-eps, eps)).clamp(0, 1);
  const at::Tensor size = norms(shift);
  return (centre + shift * (eps / size.clamp_min(1e-300)).clamp_max(1)).clamp(0, 1);
}

Attacked pgd_from(const at::Tensor& start, const Logits& logits, const at::Tensor& x, const at::Tensor& labels,
                  const AttackOptions& o, bool stop, const OnTry& on_try) {
  const double size = o.step_size > 0 ? o.step_size : 2.5 * o.eps / static_cast<double>(o.steps);
  Course course(logits, x, labels, o, stop);
  at::Tensor at = start;
  course.look(at);
  for (std::int64_t i = 0; i < o.steps && !course.over(); ++i) {
    at = project(at + size * direction(course.gradient, o.norm), x, o.norm, o.eps);
    if (on_try) on_try(i, at);
    course.look(at);
  }
  return std::move(course.found);
}

Attacked apgd_from(const at::Tensor& start, const Logits& logits, const at::Tensor& x, const at::Tensor& labels,
                   const AttackOptions& o, bool stop, const OnTry& on_try) {
  Course course(logits, x, labels, o, stop);
  at::Tensor at = start, before = start;
  course.look(at);
  at::Tensor best = at, best_loss = course.loss.clone(), best_gradient = course.gradient.clone();
  Schedule schedule(o.steps, 2 * o.eps, course.loss);
  for (std::int64_t i = 0; i < o.steps && !course.over(); ++i) {
    const double share = i == 0 ? 1 : 0.75;
    const at::Tensor momentum = at - before;
    before = at;
    const at::Tensor step = project(at + schedule.step * direction(course.gradient, o.norm), x, o.norm, o.eps);
    at = project(at + (step - at) * share + momentum * (1 - share), x, o.norm, o.eps);
    if (on_try) on_try(i, at);
    course.look(at);
    const at::Tensor better = course.loss.gt(best_loss);
    best = at::where(each(better), at, best);
    best_gradient = at::where(each(better), course.gradient, best_gradient);
    best_loss = at::where(better, course.loss, best_loss);
    if (const at::Tensor halved = schedule.halved(course.loss, best_loss); halved.defined()) {
      at = at::where(each(halved), best, at);
      course.gradient = at::where(each(halved), best_gradient, course.gradient);
    }
  }
  return std::move(course.found);
}

at::Tensor pgd_end(const Logits& logits, const at::Tensor& x, const at::Tensor& labels, const at::Tensor& which,
                   const AttackOptions& o, const Progress& progress) {
  const at::NoGradGuard no_grad;
  check(Attack::pgd, o);
  at::Tensor end = random_start(x, which, 0, o);
  pgd_from(end, logits, x, labels, o, /*stop=*/false, [&](std::int64_t step, const at::Tensor& at) {
    end = at;
    if (progress) progress(step + 1, o.steps);
  });
  return end;
}

Attacked attack(Attack attack, const Logits& logits, const at::Tensor& x, const at::Tensor& labels,
                const at::Tensor& which, const AttackOptions& o, const Progress& progress) {
  const at::NoGradGuard no_grad;
  check(attack, o);
  Attacked all{.x = x.clone(), .right = logits.of(x).argmax(1).eq(labels)};
  all.evaluations = x.size(0);
  const std::int64_t runs = attack == Attack::square ? 1 : o.restarts;
  for (std::int64_t restart = 0; restart < runs; ++restart) {
    const at::Tensor rows = all.right.nonzero().squeeze(1);
    if (rows.numel() == 0) break;
    const at::Tensor some = x.index_select(0, rows), their = labels.index_select(0, rows),
                     streams = which.index_select(0, rows);
    const OnTry told = [&](std::int64_t step, const at::Tensor&) {
      if (progress) progress(restart * o.steps + step, runs * o.steps);
    };
    Attacked found;
    switch (attack) {
      case Attack::pgd:
        found = pgd_from(random_start(some, streams, restart, o), logits, some, their, o, true, told);
        break;
      case Attack::apgd:
        found = apgd_from(random_start(some, streams, restart, o), logits, some, their, o, true, told);
        break;
      case Attack::square:
        found = square(logits, some, their, streams, o, progress);
        break;
    }
    all.x.index_copy_(0, rows, found.x);
    all.right.index_copy_(0, rows, found.right);
    all.gradients += found.gradients, all.evaluations += found.evaluations;
  }
  return all;
}

}  // namespace igebm::classification
