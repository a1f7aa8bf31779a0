#include "igebm/classification/ebm_cl.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "igebm/base/random.h"
#include "igebm/classification/perceptron.h"

namespace igebm::classification {
namespace {

class EbmCl : public TaskLearner {
 public:
  EbmCl(LabelEnergy energy, double learning_rate, std::uint64_t seed)
      : steps_(std::move(energy), learning_rate, seed) {}
  void learn(const at::Tensor& x, const at::Tensor& labels) override { steps_.learn(x, labels); }
  at::Tensor scores(const at::Tensor& x) const override {
    const at::NoGradGuard no_grad;
    const LabelEnergy& e = steps_.energy();
    const at::Tensor h = body_of(e, x);
    std::vector<at::Tensor> all;
    for (std::int64_t y = 0; y < e.embedding.size(0); ++y)
      all.push_back(-energy_of(e, h, at::full({x.size(0)}, y, at::kLong)));
    return at::stack(all, 1);
  }
  std::int64_t numbers() const override {
    std::int64_t sum = 0;
    for (const at::Tensor& p : steps_.energy().parameters()) sum += p.numel();
    return sum;
  }

 private:
  EnergySteps steps_;
};

}  // namespace

EnergySteps::EnergySteps(LabelEnergy energy, double learning_rate, std::uint64_t seed)
    : energy_(std::move(energy)), adam_(energy_.parameters(), learning_rate), seed_(seed) {
  for (const at::Tensor& p : adam_.parameters()) p.requires_grad_(true);
}

void EnergySteps::learn(const at::Tensor& x, const at::Tensor& labels) {
  const at::Tensor loss = contrast_loss(energy_, x, labels, other_labels(labels, seed_, steps_++));
  adam_.step(torch::autograd::grad({loss}, adam_.parameters()));
}

LabelEnergy LabelEnergy::begin(std::int64_t elements, std::int64_t hidden, std::int64_t classes, std::uint64_t seed) {
  const double scale = 1 / std::sqrt(static_cast<double>(elements)), above = 1 / std::sqrt(static_cast<double>(hidden));
  LabelEnergy e{uniform_weights({elements, hidden}, scale, seed, 0), uniform_weights({hidden}, scale, seed, 1),
                at::empty({classes, hidden}, at::kFloat), uniform_weights({hidden}, above, seed, 3)};
  random_normal({seed, Purpose::initial_weights, 2, 0},
                {e.embedding.data_ptr<float>(), static_cast<std::size_t>(e.embedding.numel())});
  return e;
}

at::Tensor body_of(const LabelEnergy& e, const at::Tensor& x) { return at::addmm(e.offset, x, e.body); }

at::Tensor energy_of(const LabelEnergy& e, const at::Tensor& h, const at::Tensor& labels) {
  const at::Tensor unit = e.embedding / e.embedding.norm(2, {1}, /*keepdim=*/true);
  return at::matmul(at::relu(h * (1 + unit.index_select(0, labels))), e.weights);
}

at::Tensor contrast_loss(const LabelEnergy& e, const at::Tensor& x, const at::Tensor& labels,
                         const at::Tensor& others) {
  const at::Tensor h = body_of(e, x);
  return at::softplus(energy_of(e, h, labels) - energy_of(e, h, others)).mean();
}

at::Tensor other_labels(const at::Tensor& labels, std::uint64_t seed, std::uint32_t step) {
  const auto [present, places, counts] = at::_unique2(labels, /*sorted=*/true, /*return_inverse=*/true);
  const std::int64_t n = present.size(0);
  if (n < 2) return labels;
  at::Tensor u = at::empty({labels.size(0)}, at::kFloat);
  random_uniform({seed, Purpose::labels, 0, step}, {u.data_ptr<float>(), static_cast<std::size_t>(u.numel())});
  const at::Tensor further = (u * static_cast<double>(n - 1)).floor().to(at::kLong).clamp_max_(n - 2) + 1;
  return present.index_select(0, (places + further).remainder(n));
}

std::unique_ptr<TaskLearner> make_ebm_cl(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                         const LearnerKind& kind) {
  return std::make_unique<EbmCl>(LabelEnergy::begin(elements, o.hidden, classes, o.seed), kind.rate(o), o.seed);
}

}  // namespace igebm::classification
