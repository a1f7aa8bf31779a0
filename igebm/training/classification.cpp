#include "igebm/training/classification.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"

namespace igebm::training {

using io::Fields;
using io::Range;

void describe(Fields& f, ClassificationOptions& o) {
  f.field("label_smoothing", o.label_smoothing, Range{0, 1, false, true}, "of the targets, towards all classes alike");
}

Loss Classification::loss(const Step& step) {
  if (!step.labels.defined()) throw UserError("classification: the data have no labels");
  const at::Tensor logits = nn::evaluate(step.graph, step.weights, step.data);
  const at::Tensor right = logits.detach().argmax(1).eq(step.labels).to(at::kDouble).mean();
  Loss loss;
  loss.value = at::cross_entropy_loss(logits, step.labels, {}, at::Reduction::Mean, -100, options_.label_smoothing);
  loss.metrics = {{"accuracy/batch", right.item<double>()}};
  loss.relative = loss.value.item<double>() / std::log(static_cast<double>(logits.size(1)));
  return loss;
}

double accuracy(const nn::Graph& graph, const nn::EffectiveWeights& weights, const at::Tensor& x,
                const at::Tensor& labels) {
  const at::NoGradGuard no_grad;
  std::int64_t right = 0;
  constexpr std::int64_t batch = 500;
  for (std::int64_t begin = 0; begin < x.size(0); begin += batch) {
    const std::int64_t end = std::min(begin + batch, x.size(0));
    const at::Tensor logits = nn::evaluate(graph, weights, x.slice(0, begin, end));
    right += logits.argmax(1).eq(labels.slice(0, begin, end)).sum().item<std::int64_t>();
  }
  return static_cast<double>(right) / static_cast<double>(std::max<std::int64_t>(x.size(0), 1));
}

}  // namespace igebm::training
