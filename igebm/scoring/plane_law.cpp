#include "igebm/scoring/plane_law.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::scoring {
namespace {

constexpr std::int64_t cells_a_side = 1000;  // of the grid
constexpr std::int64_t proposals = 4096;     // at a time
constexpr double spare = 0.1;                // nats that the density may exceed its greatest value on the grid by

}  // namespace

PlaneLaw::PlaneLaw(const energy::Energy& energy, double bound, c10::Device device)
    : energy_(energy), bound_(bound), device_(device) {
  const double cell = 2 * bound / cells_a_side;
  const at::Tensor axis = (at::arange(cells_a_side, at::kFloat) + 0.5) * cell - bound;
  const at::Tensor log_p =
      log_density(at::stack({axis.repeat({cells_a_side}), axis.repeat_interleave(cells_a_side)}, 1));
  log_z_ = at::logsumexp(log_p, 0).item<double>() + 2 * std::log(cell);
  greatest_ = log_p.max().item<double>() + spare;
}

at::Tensor PlaneLaw::log_density(const at::Tensor& points) const {
  constexpr std::int64_t batch = 4096;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> found;
  for (const at::Tensor& part : points.split(batch))
    found.push_back(-energy_.energy(part.contiguous().to(device_)).to(at::kDouble).cpu());
  return at::cat(found);
}

at::Tensor PlaneLaw::sample(std::int64_t count, std::uint64_t seed) const {
  std::vector<at::Tensor> kept;
  std::int64_t found = 0;
  for (std::uint64_t i = 0; found < count; ++i) {
    if (i * proposals > 10000 * static_cast<std::uint64_t>(found + 10))
      throw UserError("samples by rejection: fewer than one point in 10,000 is kept");
    at::Tensor u = at::empty({proposals, 3}, at::kFloat);
    random_uniform({seed, Purpose::exact_sample, i, 0}, {u.data_ptr<float>(), static_cast<std::size_t>(u.numel())});
    const at::Tensor points = (2 * u.slice(1, 0, 2) - 1) * bound_;
    const at::Tensor take = u.select(1, 2).to(at::kDouble).log().lt(log_density(points) - greatest_);
    kept.push_back(points.index({take}));
    found += kept.back().size(0);
  }
  return at::cat(kept).slice(0, 0, count);
}

}  // namespace igebm::scoring
