#include "igebm/classification/perceptron.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>

#include "igebm/base/random.h"

namespace igebm::classification {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double path_damping = 0.1;  // Zenke's xi

std::vector<at::Tensor> copies(const std::vector<at::Tensor>& all) {
  std::vector<at::Tensor> copied;
  for (const at::Tensor& t : all) copied.push_back(t.detach().clone());
  return copied;
}

enum class Held { no, by_fisher, by_path };

class Perceptron : public TaskLearner {
 public:
  Perceptron(PerceptronWeights weights, double learning_rate, Held held, double strength, bool of_batch)
      : adam_(std::move(weights), learning_rate),
        hold_(adam_.parameters()),
        path_(adam_.parameters()),
        held_(held),
        strength_(strength),
        of_batch_(of_batch),
        open_(at::zeros({adam_.parameters().back().size(0)}, at::kBool)) {
    for (const at::Tensor& p : adam_.parameters()) p.requires_grad_(true);
  }

  void learn(const at::Tensor& x, const at::Tensor& labels) override {
    if (of_batch_) open_.zero_();
    open_.index_fill_(0, labels, true);
    const auto& p = adam_.parameters();
    const at::Tensor logits = logits_of(p, x).masked_fill(open_.logical_not(), -infinity);
    const auto own = torch::autograd::grad({at::cross_entropy_loss(logits, labels)}, p);
    const at::NoGradGuard no_grad;
    auto gradients = held_ == Held::no ? own : copies(own);
    if (held_ != Held::no) hold_.pull(gradients, p, strength_);
    const auto before = held_ == Held::by_path ? copies(p) : std::vector<at::Tensor>{};
    adam_.step(gradients);
    if (held_ == Held::by_path) path_.step(own, before, p);
  }

  void end_task(const at::Tensor& x) override {
    const at::NoGradGuard no_grad;
    const auto& p = adam_.parameters();
    if (held_ == Held::by_fisher) hold_.add(fisher_information(p, x, open_), p);
    if (held_ == Held::by_path) hold_.add(path_.finish(p, hold_.anchors, path_damping), p);
  }

  at::Tensor scores(const at::Tensor& x) const override {
    const at::NoGradGuard no_grad;
    return logits_of(adam_.parameters(), x);
  }

  std::int64_t numbers() const override {
    std::int64_t sum = 0;
    for (const at::Tensor& p : adam_.parameters()) sum += p.numel();
    return held_ == Held::no ? sum : 3 * sum;
  }

 private:
  TaskAdam adam_;
  Hold hold_;
  PathIntegral path_;
  Held held_;
  double strength_;
  bool of_batch_;
  at::Tensor open_;  // (K) bool: over which classes the softmax runs
};

std::unique_ptr<TaskLearner> perceptron(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                        const LearnerKind& kind, Held held, bool of_batch = false) {
  return std::make_unique<Perceptron>(begin_perceptron(elements, o.hidden, classes, o.seed), kind.rate(o), held,
                                      kind.force(o), of_batch);
}

}  // namespace

at::Tensor uniform_weights(at::IntArrayRef shape, double scale, std::uint64_t seed, std::uint64_t stream) {
  at::Tensor t = at::empty(shape, at::kFloat);
  random_uniform({seed, Purpose::initial_weights, stream, 0},
                 {t.data_ptr<float>(), static_cast<std::size_t>(t.numel())});
  return t.mul_(2 * scale).sub_(scale);
}

Hold::Hold(const std::vector<at::Tensor>& parameters) : anchors(copies(parameters)) {
  for (const at::Tensor& a : anchors) importance.push_back(at::zeros_like(a));
}

void Hold::add(const std::vector<at::Tensor>& more, const std::vector<at::Tensor>& parameters) {
  for (std::size_t i = 0; i < importance.size(); ++i) importance[i] += more[i];
  anchors = copies(parameters);
}

void Hold::pull(std::vector<at::Tensor>& gradients, const std::vector<at::Tensor>& parameters, double strength) const {
  for (std::size_t i = 0; i < gradients.size(); ++i)
    gradients[i].addcmul_(importance[i], parameters[i] - anchors[i], strength);
}

PathIntegral::PathIntegral(const std::vector<at::Tensor>& parameters) {
  for (const at::Tensor& p : parameters) work_.push_back(at::zeros_like(p));
}

void PathIntegral::step(const std::vector<at::Tensor>& gradients, const std::vector<at::Tensor>& before,
                        const std::vector<at::Tensor>& after) {
  for (std::size_t i = 0; i < work_.size(); ++i) work_[i].addcmul_(gradients[i], before[i] - after[i]);
}

std::vector<at::Tensor> PathIntegral::finish(const std::vector<at::Tensor>& parameters,
                                             const std::vector<at::Tensor>& anchors, double damping) {
  std::vector<at::Tensor> importance;
  for (std::size_t i = 0; i < work_.size(); ++i) {
    importance.push_back(2 * work_[i].clamp_min(0) / ((parameters[i] - anchors[i]).square() + damping));
    work_[i].zero_();
  }
  return importance;
}

PerceptronWeights begin_perceptron(std::int64_t elements, std::int64_t hidden, std::int64_t classes,
                                   std::uint64_t seed) {
  PerceptronWeights p;
  std::int64_t from = elements;
  for (const std::int64_t to : {hidden, hidden, classes}) {
    const double scale = 1 / std::sqrt(static_cast<double>(from));
    p.push_back(uniform_weights({from, to}, scale, seed, p.size()));
    p.push_back(uniform_weights({to}, scale, seed, p.size()));
    from = to;
  }
  return p;
}

at::Tensor logits_of(const PerceptronWeights& p, const at::Tensor& x) {
  const at::Tensor a = at::relu(at::addmm(p[1], x, p[0])), b = at::relu(at::addmm(p[3], a, p[2]));
  return at::addmm(p[5], b, p[4]);
}

std::vector<at::Tensor> fisher_information(const PerceptronWeights& p, const at::Tensor& x, const at::Tensor& open) {
  const at::NoGradGuard no_grad;
  const at::Tensor a = at::relu(at::addmm(p[1], x, p[0])), b = at::relu(at::addmm(p[3], a, p[2]));
  const at::Tensor law = at::softmax(at::addmm(p[5], b, p[4]).masked_fill(open.logical_not(), -infinity), 1);
  std::vector<at::Tensor> sums;
  for (const at::Tensor& t : p) sums.push_back(at::zeros_like(t));
  for (std::int64_t y = 0; y < law.size(1); ++y) {
    if (!open[y].item<bool>()) continue;
    at::Tensor pull = -law;  // of log p(y | x), into what a layer gives
    pull.select(1, y) += 1;
    const at::Tensor weight = law.select(1, y).unsqueeze(1) / static_cast<double>(x.size(0));
    for (const auto& [layer, input] : {std::pair{2, b}, std::pair{1, a}, std::pair{0, x}}) {
      const std::size_t at = 2 * static_cast<std::size_t>(layer);
      const at::Tensor squares = pull.square() * weight;
      sums[at] += at::matmul(input.square().t(), squares);
      sums[at + 1] += squares.sum(0);
      if (layer > 0) pull = at::matmul(pull, p[at].t()) * input.gt(0);
    }
  }
  return sums;
}

std::unique_ptr<TaskLearner> make_fine_tuned(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                             const LearnerKind& kind) {
  return perceptron(elements, classes, o, kind, Held::no);
}

std::unique_ptr<TaskLearner> make_labels_trick(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                               const LearnerKind& kind) {
  return perceptron(elements, classes, o, kind, Held::no, /*of_batch=*/true);
}

std::unique_ptr<TaskLearner> make_ewc(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                      const LearnerKind& kind) {
  return perceptron(elements, classes, o, kind, Held::by_fisher);
}

std::unique_ptr<TaskLearner> make_si(std::int64_t elements, std::int64_t classes, const LearnerOptions& o,
                                     const LearnerKind& kind) {
  return perceptron(elements, classes, o, kind, Held::by_path);
}

}  // namespace igebm::classification
