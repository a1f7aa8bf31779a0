#include "igebm/classification/kept_body.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "igebm/base/random.h"
#include "igebm/classification/discriminant.h"
#include "igebm/classification/ebm_cl.h"

namespace igebm::classification {
namespace {

class KeptBody : public TaskLearner {
 public:
  KeptBody(LabelEnergy energy, double learning_rate, const LearnerOptions& o, std::int64_t first)
      : steps_(std::move(energy), learning_rate, o.seed),
        above_(o.features, steps_.energy().embedding.size(0)),
        left_(first) {}
  void learn(const at::Tensor& x, const at::Tensor& labels) override {
    if (left_ > 0) {
      left_ -= x.size(0);
      return steps_.learn(x, labels);
    }
    const at::NoGradGuard no_grad;
    above_.add(features(x), labels);
  }
  at::Tensor scores(const at::Tensor& x) const override {
    const at::NoGradGuard no_grad;
    return above_.log_densities(features(x));
  }
  std::int64_t numbers() const override {
    return steps_.energy().body.numel() + steps_.energy().offset.numel() + above_.numbers();
  }

 private:
  at::Tensor features(const at::Tensor& x) const { return body_of(steps_.energy(), x).clamp_min_(0); }
  EnergySteps steps_;
  Discriminant above_;
  std::int64_t left_;
};

std::unique_ptr<TaskLearner> kept_body(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                       double learning_rate, std::int64_t first) {
  LabelEnergy e = LabelEnergy::begin(elements, o.features, classes, o.seed);
  const auto draw = [&](at::Tensor& t, std::uint64_t stream, double scale) {
    random_normal({o.seed, Purpose::initial_weights, stream, 0},
                  {t.data_ptr<float>(), static_cast<std::size_t>(t.numel())});
    t.mul_(scale);
  };
  draw(e.body, 0, 3 / std::sqrt(static_cast<double>(elements)));
  draw(e.offset, 1, 0.5);
  return std::make_unique<KeptBody>(std::move(e), learning_rate, o, first);
}

}  // namespace

std::unique_ptr<TaskLearner> make_shared_body(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                              const LearnerKind& /*kind*/) {
  return kept_body(elements, classes, o, 0, 0);
}

std::unique_ptr<TaskLearner> make_early_body(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                             const LearnerKind& kind) {
  return kept_body(elements, classes, o, kind.rate(o), o.first);
}

}  // namespace igebm::classification
