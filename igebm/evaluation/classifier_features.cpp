#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>

#include "igebm/base/error.h"
#include "igebm/evaluation/features.h"
#include "igebm/model/files.h"
#include "igebm/nn/weights.h"

namespace igebm::evaluation {
namespace {

class Classifier : public Features {
 public:
  Classifier(const model::NetworkFile& model, std::string from) : graph_(model.graph), from_(std::move(from)) {
    weights_ = nn::effective_weights(model.graph, model.parameters, model.buffers);
    head_ = graph_.nodes.back();
    graph_.nodes.resize(static_cast<std::size_t>(head_.inputs.at(0)) + 1);  // up to what enters the head
    const auto number = [&](const char* key, double otherwise) {
      const auto found = model.metadata.find(key);
      if (found == model.metadata.end()) return otherwise;
      char* end = nullptr;
      const double value = std::strtod(found->second.c_str(), &end);
      if (end == found->second.c_str() || *end != '\0')
        throw UserError(
            fmt::format("{}: its metadata's \"{}\": expected a number, got \"{}\"", from_, key, found->second));
      return value;
    };
    low_ = number("low", 0), high_ = number("high", 1);
  }

  Extracted extract(const at::Tensor& pictures) const override {
    const auto shape = pictures.sizes().slice(1).vec();
    if (shape != graph_.input_shape) {
      throw UserError(fmt::format("{}: expects pictures of ({}), got ({})", from_, fmt::join(graph_.input_shape, ", "),
                                  fmt::join(shape, ", ")));
    }
    const at::Tensor values = nn::evaluate(graph_, weights_, pictures * (high_ - low_) + low_);
    const at::Tensor logits =
        at::linear(values, weights_.at(head_.name + ".weight"), weights_.at(head_.name + ".bias"));
    return {values, at::softmax(logits.to(at::kDouble), 1)};
  }

  std::string description() const override { return fmt::format("{} of the classifier {}", head_.in, from_); }

 private:
  nn::Graph graph_;
  nn::Node head_;
  nn::EffectiveWeights weights_;
  double low_ = 0, high_ = 1;
  std::string from_;
};

}  // namespace

FeaturesPtr classifier_features(const std::filesystem::path& path) {
  const model::NetworkFile model = model::load_network(path);
  const nn::Node& last = model.graph.nodes.back();
  if (model.graph.outputs == 0 || last.op != nn::Op::linear || !last.bias) {
    throw UserError(fmt::format(
        "{}: an energy, not a classifier; train one as recipes/classifier-fashion-mnist.toml does", path.string()));
  }
  return std::make_shared<Classifier>(model, path.string());
}

}  // namespace igebm::evaluation
