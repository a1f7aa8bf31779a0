#include "igebm/engine/reference.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace igebm::engine {
namespace {

struct Frozen {
  nn::Graph graph;
  nn::EffectiveWeights weights;
};

class ReferenceEnergy : public energy::Energy {
 public:
  ReferenceEnergy(std::shared_ptr<const Frozen> network, at::Tensor labels)
      : network_(std::move(network)), labels_(std::move(labels)) {}
  at::Tensor energy(const at::Tensor& x) const override {
    return nn::evaluate(network_->graph, network_->weights, x, labels_);
  }

 private:
  std::shared_ptr<const Frozen> network_;
  at::Tensor labels_;
};

class Reference : public Prepared {
 public:
  Reference(const nn::Graph& graph, const nn::EffectiveWeights& weights, std::string why)
      : network_(std::make_shared<Frozen>(Frozen{graph, {}})), why_(std::move(why)) {
    refresh(weights);
  }

  void refresh(const nn::EffectiveWeights& weights) override {
    for (const auto& [name, t] : weights) {
      const at::Tensor w = t.detach();
      // Channels-last weights make LibTorch's convolutions work in that layout throughout, which is faster on CPUs.
      network_->weights[name] = w.dim() == 4 ? w.contiguous(at::MemoryFormat::ChannelsLast) : w;
    }
  }
  at::Tensor parameter_gradient(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& coefficients,
                                const at::Tensor& slopes, nn::Tensors& into, const nn::Dropout* dropout) override {
    return engine::parameter_gradient(network_->graph, network_->weights, x, labels, coefficients, slopes, into,
                                      dropout);
  }
  energy::EnergyPtr given(const at::Tensor& labels) override {
    return std::make_shared<ReferenceEnergy>(network_, labels);
  }
  std::string description() const override { return why_.empty() ? "autograd" : "autograd (" + why_ + ")"; }

 private:
  std::shared_ptr<Frozen> network_;
  std::string why_;
};

}  // namespace

at::Tensor parameter_gradient(const nn::Graph& graph, const nn::EffectiveWeights& weights, const at::Tensor& x,
                              const at::Tensor& labels, const at::Tensor& coefficients, const at::Tensor& slopes,
                              nn::Tensors& into, const nn::Dropout* dropout) {
  const at::AutoGradMode enable(true);
  nn::EffectiveWeights leaves;
  for (const auto& [name, w] : weights) leaves[name] = w.detach().requires_grad_();
  const at::Tensor e = nn::evaluate(graph, leaves, x.detach(), labels, dropout);
  at::Tensor c = coefficients;
  if (slopes.defined()) c = c + slopes * e.detach();
  nn::add_gradients(e, c, leaves, into);
  return e.detach();
}

std::shared_ptr<Prepared> reference(const nn::Graph& graph, const nn::EffectiveWeights& effective_weights,
                                    std::string why) {
  return std::make_shared<Reference>(graph, effective_weights, std::move(why));
}

}  // namespace igebm::engine
