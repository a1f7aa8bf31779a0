#include "igebm/sampling/settled.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/sampling/registry.h"

namespace igebm::sampling {
namespace {

/// What is known of a chain beside its place.
struct Progress {
  std::int64_t number = 0, evaluations = 0;
  double sigma = 0, step = 0;                   // noise level; the step in log sigma that led there, 0: none
  std::array<double, 2> left = {1e300, 1e300};  // squares of what was to move yet, by the two steps before
  std::vector<double> energies = {};            // of this window and the one before
  double path = 0;                              // sum of squares of this window's steps
  bool judged = false;                          // settled, with a window to go
};

/// A batch whose places are taken by the next chain as one ends.
class Places {
 public:
  explicit Places(const Batch& batch) : batch_(batch) {
    if (batch.count < 1 || batch.slots < 1) throw UserError("sample: expected count and batch of at least 1");
    done_.evaluations = at::zeros({batch.count}, at::kLong), done_.steps = at::zeros({batch.count}, at::kLong);
    done_.sigma = at::zeros({batch.count}, at::kDouble), done_.settled = at::zeros({batch.count}, at::kBool);
    const std::int64_t first = std::min(batch.slots, batch.count);
    for (std::int64_t i = 0; i < first; ++i) progress.push_back(fresh(i));
    chains = begin(first);
    std::vector<std::int64_t> size = chains.x.sizes().vec();
    size[0] = batch.count;
    done_.x = at::empty(size, at::kFloat);
  }

  Chains chains;
  std::vector<Progress> progress;

  bool busy() const { return !progress.empty(); }  ///< false as well where Stop was thrown
  std::int64_t elements() const { return chains.x.numel() / chains.size(); }

  void report(const StepInfo& info, const at::Tensor& sigma) {
    if (!batch_.on_round) return;
    try {
      batch_.on_round({finished_, batch_.count, info, chains, sigma});
    } catch (const Stop&) {
      progress.clear();
    }
  }

  /// The chain in that place has ended, as x (...).
  void finish(std::size_t place, const at::Tensor& x, bool settled) {
    const Progress& p = progress[place];
    done_.x[p.number].copy_(x);
    done_.evaluations[p.number] = p.evaluations;
    done_.steps[p.number] = chains.steps[static_cast<std::int64_t>(place)].item<std::int64_t>();
    done_.sigma[p.number] = p.sigma;
    done_.settled[p.number] = settled;
    over_[static_cast<std::size_t>(p.number)] = true;
    ended_.push_back(place);
    ++finished_;
  }

  bool ended() const { return !ended_.empty(); }

  /// New chains in the places of those that ended; where there are none left the batch shrinks, and so does `beside`,
  /// which has a row for each place.
  void refill(at::Tensor& beside) {
    const auto ended = static_cast<std::int64_t>(ended_.size()), left = std::min(batch_.count - next_, ended);
    if (left > 0) {
      std::vector<std::int64_t> rows;
      for (std::int64_t i = 0; i < left; ++i) {
        const std::size_t place = ended_[static_cast<std::size_t>(i)];
        rows.push_back(static_cast<std::int64_t>(place)), progress[place] = fresh(next_ + i);
      }
      chains.put(on_device(rows), begin(left));
    }
    if (left < ended) {
      std::vector<std::int64_t> rows;
      std::vector<Progress> kept;
      for (std::size_t i = 0; i < progress.size(); ++i) {
        if (std::find(ended_.begin() + left, ended_.end(), i) != ended_.end()) continue;
        rows.push_back(static_cast<std::int64_t>(i)), kept.push_back(std::move(progress[i]));
      }
      chains = chains.select(on_device(rows)), beside = beside.index_select(0, on_device(rows));
      progress = std::move(kept);
    }
    ended_.clear();
    chains.energy.forget();
  }

  at::Tensor on_device(const std::vector<std::int64_t>& rows) const {
    return at::tensor(rows, at::kLong).to(chains.x.device());
  }

  Settled result() {
    const std::int64_t count = std::find(over_.begin(), over_.end(), false) - over_.begin();
    for (at::Tensor* t : {&done_.x, &done_.evaluations, &done_.steps, &done_.sigma, &done_.settled})
      *t = t->slice(0, 0, count);
    return std::move(done_);
  }

 private:
  Progress fresh(std::int64_t number) const { return {.number = number, .evaluations = batch_.begin_cost}; }
  Chains begin(std::int64_t count) {
    next_ += count;
    return batch_.begin(next_ - count, next_);
  }

  const Batch& batch_;
  Settled done_;
  std::vector<std::size_t> ended_;  // places, since the last refill
  std::vector<bool> over_ = std::vector<bool>(static_cast<std::size_t>(batch_.count));
  std::int64_t next_ = 0, finished_ = 0;
};

/// Rows of t (N, ...) on the host.
class Rows {
 public:
  explicit Rows(const at::Tensor& t) : t_(t.cpu().to(at::kFloat).contiguous()), count_(t.numel() / t.size(0)) {}
  const float* operator[](std::size_t row) const {
    return t_.const_data_ptr<float>() + static_cast<std::int64_t>(row) * count_;
  }
  std::int64_t count() const { return count_; }

 private:
  at::Tensor t_;
  std::int64_t count_;
};

/// |a - b|^2, summed in order whatever the batch.
double square_distance(const float* a, const float* b, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i)
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum;
}

/// One number for each row of x, to be multiplied with it.
at::Tensor column(const std::vector<double>& values, const at::Tensor& x) {
  std::vector<std::int64_t> size(static_cast<std::size_t>(x.dim()), 1);
  size[0] = x.size(0);
  return at::tensor(values, at::kFloat).reshape(size).to(x.device());
}

StepInfo info_of(const energy::EnergyAndGradient& result, std::int64_t elements) {
  const Rows energy(result.energy.reshape({-1, 1})), gradient(result.gradient);
  std::vector<ChainInfo> chains(static_cast<std::size_t>(result.energy.size(0)));
  const std::vector<float> zeros(static_cast<std::size_t>(elements), 0);
  for (std::size_t i = 0; i < chains.size(); ++i) {
    ChainInfo& info = chains[i];
    info.gradient_square = square_distance(gradient[i], zeros.data(), elements), info.energy = energy[i][0];
    info.finite = std::isfinite(info.gradient_square) && std::isfinite(info.energy);
    if (!info.finite) info.gradient_square = 0, info.energy = 0;
  }
  return summarise(std::move(chains), elements);
}

/// How chains go from one noise level to the next.
struct Pace {
  const SettledOptions& o;
  double ancestral, sigma_min, most;

  /// The next noise level, with the change of D over the step before, root mean square; 0: the chain has settled.
  double next(Progress& p, double change) const {
    if (p.sigma <= sigma_min) return 0;
    const double way = std::log(p.sigma / sigma_min);
    double h = std::min(way, o.longest);
    if (p.step > 0) {
      const double left = p.sigma * change / std::sqrt(2 * p.step);
      const bool settled = std::max({left, p.left[0], p.left[1]}) < o.rest * o.rest;
      p.left = {p.left[1], left};
      if (settled) return 0;
      const double speed = std::max(change / p.step, 1e-12);
      h = std::min(h, std::sqrt(2 * o.tolerance * std::hypot(p.sigma, o.detail) / speed));
    }
    const double allowed = most - static_cast<double>(p.evaluations);
    if (allowed < 1) return 0;
    h = std::max(h, way / allowed);  // it must come to the end
    return h > way * 0.999 ? sigma_min : p.sigma * std::exp(-h);
  }
};

}  // namespace

Settled settle_through_levels(const SettledOptions& options, double ancestral, const NoiseRange& range,
                              const EnergyAtLevels& energy_at, const Batch& batch) {
  const at::NoGradGuard no_grad;
  const Pace pace{options, ancestral, range.sigma_min, static_cast<double>(options.most)};
  Places places(batch);
  at::Tensor before;  // D at the level before
  while (places.busy()) {
    Chains& chains = places.chains;
    std::vector<double> sigmas;
    for (Progress& p : places.progress) {
      if (p.sigma == 0) p.sigma = range.sigma_max;
      sigmas.push_back(p.sigma);
    }
    const at::Tensor sigma = at::tensor(sigmas, at::kDouble).to(chains.x.device());
    const auto result = energy_at(chains.labels, sigma)->energy_and_gradient(chains.x);
    StepInfo info = info_of(result, places.elements());
    const at::Tensor square = column(sigmas, chains.x).square();
    const at::Tensor denoised = chains.x - square * result.gradient;
    if (!before.defined()) before = denoised.clone();
    const Rows now(denoised), then(before);
    std::vector<double> keep, by, more, noise;  // x <- keep x + by D + more (D - D') + noise n
    for (std::size_t i = 0; i < places.progress.size(); ++i) {
      Progress& p = places.progress[i];
      ++p.evaluations;
      const double change = std::sqrt(square_distance(now[i], then[i], now.count()) / static_cast<double>(now.count()));
      const double next = info.chains[i].finite ? pace.next(p, change) : 0;
      const double up = next == 0 ? 0 : ancestral * next * std::sqrt(1 - next * next / (p.sigma * p.sigma));
      const double down = std::sqrt(next * next - up * up) / p.sigma, h = next == 0 ? 0 : std::log(p.sigma / next);
      keep.push_back(down), by.push_back(1 - down), noise.push_back(up);
      more.push_back(p.step > 0 ? (1 - down) * h / (2 * p.step) : 0);
      if (next == 0) {
        places.finish(i, denoised[static_cast<std::int64_t>(i)],
                      info.chains[i].finite && static_cast<double>(p.evaluations) < pace.most);
      } else {
        p.sigma = next, p.step = h;
      }
    }
    const at::Tensor& x = chains.x;
    chains.x = column(keep, x) * x + column(by, x) * denoised + column(more, x) * (denoised - before);
    add_noise(chains, column(noise, x), batch.seed);
    before = denoised.nan_to_num(0, 0, 0);  // of no account to a new chain
    places.report(info, sigma);
    if (places.busy()) places.refill(before);
  }
  return places.result();
}

namespace {

/// Has the window that ends here settled, beside the one before it?
bool has_settled(const SettledOptions& o, const Progress& p, double square) {
  const auto window = static_cast<std::size_t>(o.window);
  if (p.energies.size() < 2 * window) return false;
  const auto mean = [&](std::size_t from) {
    double sum = 0;
    for (std::size_t i = from; i < from + window; ++i) sum += p.energies[i];
    return sum / static_cast<double>(window);
  };
  const double first = mean(0), second = mean(window);
  double spread = 0;
  for (std::size_t i = 0; i < 2 * window; ++i) {
    const double d = p.energies[i] - (i < window ? first : second);
    spread += d * d;
  }
  spread = std::sqrt(spread / static_cast<double>(2 * window));
  const double least = 1e-6 * std::abs(second);  // of energies in float32
  return std::abs(second - first) <= o.energy * spread + least && square <= o.movement * p.path;
}

}  // namespace

Settled settle(const SettledOptions& options, const SamplerOptions& sampler, const EnergyOf& energy_of,
               const Batch& batch) {
  const at::NoGradGuard no_grad;
  const auto kernel = find_kernel(sampler.kernel).make(held_steps(sampler), batch.seed);
  const KernelEntry& entry = find_kernel(sampler.kernel);
  const std::int64_t cost = entry.gradients != nullptr ? entry.gradients(sampler) : 1;
  Places places(batch);
  at::Tensor start = places.chains.x.clone();  // of each chain's window
  at::Tensor labels;
  energy::EnergyPtr energy;
  while (places.busy()) {
    Chains& chains = places.chains;
    if (!energy) energy = energy_of(chains.labels);
    const at::Tensor before = chains.x.clone();
    const StepInfo info = kernel->transition(*energy, chains, {1, 2});
    const Rows from(before), to(chains.x), since(start);
    const std::size_t size = places.progress.size();
    for (std::size_t i = 0; i < size; ++i) {
      Progress& p = places.progress[i];
      p.evaluations += cost;
      p.energies.push_back(info.chains[i].energy);
      p.path += square_distance(from[i], to[i], to.count());
      const bool over = p.evaluations + cost > options.most;
      const bool whole = static_cast<std::int64_t>(p.energies.size()) % options.window == 0, end = whole && p.judged;
      if (!whole && !over) continue;
      if (over || end) {
        places.finish(i, chains.x[static_cast<std::int64_t>(i)], end);
        continue;
      }
      p.judged = has_settled(options, p, square_distance(since[i], to[i], to.count()));
      if (static_cast<std::int64_t>(p.energies.size()) == 2 * options.window)
        p.energies.erase(p.energies.begin(), p.energies.begin() + options.window);
      p.path = 0;
    }
    places.report(info, {});
    if (!places.busy()) break;
    if (places.ended()) energy = nullptr;
    places.refill(start);
    std::vector<std::int64_t> anew;  // places where a window begins
    for (std::size_t i = 0; i < places.progress.size(); ++i) {
      if (places.progress[i].path == 0) anew.push_back(static_cast<std::int64_t>(i));
    }
    const at::Tensor rows = places.on_device(anew);
    start.index_copy_(0, rows, places.chains.x.index_select(0, rows));
  }
  return places.result();
}

}  // namespace igebm::sampling
