#include "igebm/engine/tensors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/energy/capabilities.h"
#include "igebm/engine/fused.h"
#include "igebm/engine/graphs.h"
#include "igebm/engine/heads.h"
#include "igebm/engine/operations.h"
#include "igebm/engine/reference.h"
#include "igebm/engine/steps.h"
#include "igebm/nn/network.h"

namespace igebm::engine {
namespace {

using fused::Activation;
using nn::Node;
using nn::Op;

/// cuDNN chooses its algorithms by measuring them, here alone: the setting is the whole program's.
class MeasureConvolutions {
 public:
  MeasureConvolutions() { at::globalContext().setBenchmarkCuDNN(true); }
  ~MeasureConvolutions() { at::globalContext().setBenchmarkCuDNN(before_); }
  MeasureConvolutions(const MeasureConvolutions&) = delete;
  MeasureConvolutions& operator=(const MeasureConvolutions&) = delete;

 private:
  bool before_ = at::globalContext().benchmarkCuDNN();
};

/// Labels where recorded operations read them, and those recordings. Lent to one energy at a time.
struct Slot {
  at::Tensor labels;
  energy::Recordings recordings;
};

class TensorEngine : public Prepared, public std::enable_shared_from_this<TensorEngine> {
 public:
  TensorEngine(const nn::Graph& graph, const nn::EffectiveWeights& weights, at::Device device, at::ScalarType compute)
      : graph_(graph),
        sampled_(without_dropout(graph)),
        steps_(Steps(sampled_).steps),
        device_(device),
        compute_(compute),
        exact_(compute == at::kDouble ? at::kDouble : at::kFloat),
        heads_(graph_, exact_weights_, packed_, compute_, exact_) {
    const at::NoGradGuard no_grad;
    for (const Node& n : graph_.nodes) {
      if (n.op == Op::conv2d || (n.op == Op::linear && n.out > 1)) packed_[n.name + ".weight"] = at::Tensor();
    }
    for (const auto& [name, w] : weights) {
      exact_weights_[name] = at::empty(w.sizes(), w.options().device(device_).dtype(exact_).requires_grad(false));
      const auto found = packed_.find(name);
      if (found == packed_.end()) continue;
      found->second = at::empty_like(exact_weights_[name], at::TensorOptions().dtype(compute_),
                                     w.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
    }
    refresh(weights);
  }

  // In place: recordings hold the addresses.
  void refresh(const nn::EffectiveWeights& weights) override {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> to, from, packed, exact;
    for (const auto& [name, w] : weights) {
      to.push_back(exact_weights_.at(name));
      from.push_back(w.detach());
      const auto found = packed_.find(name);
      if (found == packed_.end()) continue;
      packed.push_back(found->second);
      exact.push_back(to.back());
    }
    if (!to.empty()) at::_foreach_copy_(to, from);
    if (!packed.empty()) at::_foreach_copy_(packed, exact);
  }

  at::Tensor parameter_gradient(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& coefficients,
                                const at::Tensor& slopes, nn::Tensors& into, const nn::Dropout* dropout) override {
    return engine::parameter_gradient(graph_, exact_weights_, x, labels, coefficients, slopes, into, dropout);
  }

  energy::EnergyPtr given(const at::Tensor& labels) override;

  std::string description() const override {
    return fmt::format("tensors on {}: {} convolutions, gradients by hand", device_name(device_),
                       compute_ == at::kBFloat16 ? "bf16"
                       : compute_ == at::kDouble ? "f64"
                                                 : "f32");
  }

  double operations() const override { return engine::operations(graph_); }

  bool takes(const at::Tensor& x) const { return x.device() == device_ && x.scalar_type() == exact_; }

  at::Tensor reference(const at::Tensor& x, const at::Tensor& labels) const {
    nn::EffectiveWeights weights = exact_weights_;
    for (auto& [name, w] : weights) w = w.to(x.options());
    return nn::evaluate(graph_, weights, x, labels);
  }

  void evaluate(const at::Tensor& x, const at::Tensor& labels, at::Tensor& energies, at::Tensor* gradient) const {
    const at::NoGradGuard no_grad;
    const MeasureConvolutions measure;
    graph_.check_labels(labels, x.size(0));
    std::vector<at::Tensor> values(sampled_.nodes.size());
    std::vector<Kept> kept(steps_.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (sampled_.nodes[i].op == Op::input) values[i] = x.detach();
    }
    for (std::size_t i = 0; i < steps_.size(); ++i) forward(steps_[i], labels, values, kept[i]);
    energies = values.back().to(exact_);
    if (gradient == nullptr) return;
    Sums sums(values.size());
    sums.add(static_cast<int>(values.size()) - 1, at::ones_like(energies));
    for (std::size_t i = steps_.size(); i-- > 0;) backward(steps_[i], labels, values, kept[i], sums);
    *gradient = at::zeros_like(x, at::MemoryFormat::Contiguous);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (sampled_.nodes[i].op == Op::input && sums.total(static_cast<int>(i)).defined())
        gradient->copy_(sums.total(static_cast<int>(i)));
    }
  }

 private:
  const Node& head(const Step& s) const { return sampled_.nodes[static_cast<std::size_t>(s.head)]; }
  const at::Tensor& exact(const std::string& name) const { return exact_weights_.at(name); }
  at::Tensor by_label(const std::string& name, const at::Tensor& labels) const {
    if (name.empty()) return {};
    return graph_.conditions > 0 ? at::matmul(labels, exact(name)) : exact(name).index_select(0, labels);
  }
  bool silu_in_norm(const Step& s) const {
    return s.activation == Activation::silu && s.label_bias.empty() && s.label_gain.empty() && s.add < 0;
  }
  fused::GroupNorm norm(const Step& s) const {
    const Node& n = head(s);
    return {n.groups, exact(n.name + ".weight"), exact(n.name + ".bias"), silu_in_norm(s)};
  }

  void forward(const Step& s, const at::Tensor& labels, std::vector<at::Tensor>& values, Kept& kept) const {
    const at::Tensor& in = values[static_cast<std::size_t>(s.input)];
    at::Tensor& out = values[static_cast<std::size_t>(s.value)];
    if (s.head >= 0 && head(s).op == Op::group_norm) {
      at::Tensor y;
      norm_forward(norm(s), in, y, kept.mean, kept.reciprocal);
      out = y;
      if (silu_in_norm(s)) return;
    } else {
      out = s.head < 0 ? in : heads_.value(head(s), in, labels, values, kept);
    }
    if (!s.elementwise()) return;
    fused::Epilogue e{.label_bias = by_label(s.label_bias, labels),
                      .label_gain = by_label(s.label_gain, labels),
                      .activation = s.activation,
                      .slope = s.slope};
    if (!s.bias.empty()) e.bias = exact(s.bias);
    if (s.add >= 0) e.add = values[static_cast<std::size_t>(s.add)];
    at::Tensor z, y;
    finish(e, out, z, y);
    out = y;
    if (s.activation != Activation::none) kept.before = s.keeps_after() ? y : z;
  }

  void backward(const Step& s, const at::Tensor& labels, const std::vector<at::Tensor>& values, const Kept& kept,
                Sums& sums) const {
    const auto& [first, other] = sums.terms(s.value);
    if (!first.defined()) return;  // the energy does not depend on it
    const at::Tensor& in = values[static_cast<std::size_t>(s.input)];
    const bool is_norm = s.head >= 0 && head(s).op == Op::group_norm;
    if (is_norm && silu_in_norm(s)) {
      sums.add(s.input, norm_backward(norm(s), in, kept.mean, kept.reciprocal, first, other));
      return;
    }
    at::Tensor g = s.activation == Activation::none
                       ? sums.total(s.value)
                       : activation_backward(s.activation, s.slope, kept.before, first, other);
    if (s.add >= 0) sums.add(s.add, g);
    if (!s.label_gain.empty())
      g = (g * (1 + like_channels(by_label(s.label_gain, labels), g.dim()))).to(g.scalar_type());
    if (is_norm) {
      sums.add(s.input, norm_backward(norm(s), in, kept.mean, kept.reciprocal, g, {}));
    } else if (s.head < 0) {
      sums.add(s.input, g);
    } else {
      heads_.gradient(head(s), in, g, values, kept, sums);
    }
  }

  friend class TensorEnergy;

  nn::Graph graph_, sampled_;
  std::vector<Step> steps_;
  at::Device device_;
  at::ScalarType compute_, exact_;
  nn::EffectiveWeights exact_weights_, packed_;
  Heads heads_;
  std::vector<std::unique_ptr<Slot>> free_slots_;
  std::mutex slots_mutex_;
};

class TensorEnergy : public energy::Energy, public energy::Recordable {
 public:
  TensorEnergy(std::shared_ptr<TensorEngine> engine, std::unique_ptr<Slot> slot)
      : engine_(std::move(engine)), slot_(std::move(slot)) {}

  ~TensorEnergy() override {
    const std::scoped_lock lock(engine_->slots_mutex_);
    engine_->free_slots_.push_back(std::move(slot_));
  }

  at::Tensor energy(const at::Tensor& x) const override {
    if (!engine_->takes(x) || (at::GradMode::is_enabled() && x.requires_grad()))
      return engine_->reference(x, slot_->labels);
    at::Tensor energies;
    engine_->evaluate(x, slot_->labels, energies, nullptr);
    return energies;
  }

  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    if (!engine_->takes(x)) return Energy::energy_and_gradient(x);
    energy::EnergyAndGradient result;
    engine_->evaluate(x, slot_->labels, result.energy, &result.gradient);
    return result;
  }

  energy::Recordings* recordings() const override { return &slot_->recordings; }

 private:
  std::shared_ptr<TensorEngine> engine_;
  std::unique_ptr<Slot> slot_;
};

energy::EnergyPtr TensorEngine::given(const at::Tensor& labels) {
  const bool labelled = graph_.conditional() && labels.defined();
  if (labelled) graph_.check_labels(labels, labels.dim() > 0 ? labels.size(0) : 0);
  if (labelled && graph_.classes > 0 && labels.numel() > 0) {
    const auto low = labels.min().item<std::int64_t>(), high = labels.max().item<std::int64_t>();
    if (low < 0 || high >= graph_.classes)
      throw UserError(fmt::format("network: expected labels in [0, {}), got {}", graph_.classes, low < 0 ? low : high));
  }
  const auto fits = [&](const Slot& free) {
    return labelled ? free.labels.defined() && free.labels.sizes() == labels.sizes() : !free.labels.defined();
  };
  std::unique_ptr<Slot> slot;
  {
    const std::scoped_lock lock(slots_mutex_);
    const auto found =
        std::find_if(free_slots_.begin(), free_slots_.end(), [&](const auto& free) { return fits(*free); });
    if (found != free_slots_.end()) {
      slot = std::move(*found);
      free_slots_.erase(found);
    }
  }
  if (!slot) {
    slot = std::make_unique<Slot>();
    if (labelled) {
      slot->labels =
          at::empty(labels.sizes(), at::TensorOptions().dtype(graph_.classes > 0 ? at::kLong : exact_).device(device_));
    }
  }
  if (labelled) slot->labels.copy_(labels);
  return std::make_shared<TensorEnergy>(shared_from_this(), std::move(slot));
}

}  // namespace

std::shared_ptr<Prepared> tensor_engine(const nn::Graph& graph, const nn::EffectiveWeights& effective_weights,
                                        at::Device device, at::ScalarType compute) {
  return std::make_shared<TensorEngine>(graph, effective_weights, device, compute);
}

}  // namespace igebm::engine
