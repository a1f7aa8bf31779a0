#include "igebm/classification/square_attack.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "igebm/base/random.h"

namespace igebm::classification {
namespace {

/// The share of pixels that a square covers after `done` of all queries: halved at the authors' places, which are of
/// 10,000.
double covered(std::int64_t done, std::int64_t queries) {
  const double along = static_cast<double>(done) / static_cast<double>(queries) * 10000;
  double share = 0.8;
  for (const double place : {10.0, 50.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 6000.0, 8000.0}) {
    if (along > place) share /= 2;
  }
  return share;
}

/// The label's logit less the greatest other: 0 or below is wrong.
at::Tensor margins(const at::Tensor& logits, const at::Tensor& labels) {
  const at::Tensor place = labels.unsqueeze(1);
  return logits.gather(1, place).squeeze(1) - logits.scatter(1, place, -INFINITY).amax(1);
}

struct Proposals {
  const AttackOptions& options;
  at::Tensor which;  // (N) int64

  std::vector<std::uint32_t> words(std::int64_t row, std::int64_t query, std::size_t count) const {
    std::vector<std::uint32_t> found(count);
    // Far from the restarts of the other attacks, whose steps count from 0.
    random_bits({options.seed, Purpose::attack, static_cast<std::uint64_t>(which[row].item<std::int64_t>()),
                 static_cast<std::uint32_t>((1 << 20) + query)},
                found);
    return found;
  }
  double sign(std::uint32_t word) const { return (word >> 31U) != 0 ? options.eps : -options.eps; }

  /// A stripe of one colour in each column.
  at::Tensor stripes(const at::Tensor& x) const {
    at::Tensor shift = at::empty({x.size(0), x.size(1), 1, x.size(3)}, at::kDouble);
    double* to = shift.data_ptr<double>();
    for (std::int64_t i = 0; i < x.size(0); ++i)
      for (const std::uint32_t word : words(i, 0, static_cast<std::size_t>(x.size(1) * x.size(3)))) *to++ = sign(word);
    return (x + shift).clamp(0, 1);
  }

  /// A square of `side` pixels at a place of its own, in row `row`, moved by 2 eps in each channel.
  void put_square(at::Tensor& x, std::int64_t row, std::int64_t side, std::int64_t query) const {
    const auto channels = static_cast<std::size_t>(x.size(1));
    const auto random = words(row, query, channels + 2);
    const auto place = [&](std::uint32_t word, std::int64_t size) {
      return static_cast<std::int64_t>(word % static_cast<std::uint32_t>(size - side + 1));
    };
    at::Tensor square =
        x[row].narrow(1, place(random[0], x.size(2)), side).narrow(2, place(random[1], x.size(3)), side);
    for (std::size_t c = 0; c < channels; ++c) square[static_cast<std::int64_t>(c)].add_(2 * sign(random[c + 2]));
  }
};

}  // namespace

Attacked square(const Logits& logits, const at::Tensor& x, const at::Tensor& labels, const at::Tensor& which,
                const AttackOptions& o, const Progress& progress) {
  const Proposals propose{o, which};
  Attacked found{.x = x.clone(), .right = at::ones({x.size(0)}, at::kBool)};
  at::Tensor best = propose.stripes(x), margin = margins(logits.of(best), labels);
  found.evaluations = x.size(0);
  const double least = static_cast<double>(std::min(x.size(2), x.size(3)));
  for (std::int64_t query = 1; query < o.queries; ++query) {
    const at::Tensor rows = margin.gt(0).nonzero().squeeze(1);
    if (rows.numel() == 0) break;
    const double side = std::sqrt(covered(query, o.queries) * static_cast<double>(x.size(2) * x.size(3)));
    at::Tensor moved = best.clone();
    for (std::int64_t i = 0; i < rows.size(0); ++i)
      propose.put_square(moved, rows[i].item<std::int64_t>(),
                         static_cast<std::int64_t>(std::clamp(std::round(side), 1.0, std::max(1.0, least - 1))), query);
    const at::Tensor tried = project(moved.index_select(0, rows), x.index_select(0, rows), o.norm, o.eps);
    const at::Tensor theirs = margins(logits.of(tried), labels.index_select(0, rows));
    found.evaluations += rows.size(0);
    const at::Tensor better = theirs.lt(margin.index_select(0, rows)), places = rows.index({better});
    best.index_copy_(0, places, tried.index({better}));
    margin.index_copy_(0, places, theirs.index({better}));
    if (progress) progress(query, o.queries);
  }
  const at::Tensor wrong = margin.le(0).nonzero().squeeze(1);
  found.x.index_copy_(0, wrong, best.index_select(0, wrong));
  found.right.index_fill_(0, wrong, false);
  return found;
}

}  // namespace igebm::classification
