#include "igebm/engine/tensors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/base/recording.h"
#include "igebm/energy/capabilities.h"
#include "igebm/engine/graphs.h"
#include "igebm/engine/passes.h"
#include "igebm/engine/reference.h"
#include "igebm/nn/network.h"

namespace igebm::engine {
namespace {

using nn::Node;
using nn::Op;

/// Labels where recorded operations read them, and those recordings. Lent to one energy at a time.
struct Slot {
  at::Tensor labels;
  energy::Recordings recordings;
};

class TensorEngine : public Prepared, public std::enable_shared_from_this<TensorEngine> {
 public:
  TensorEngine(const nn::Graph& graph, const nn::EffectiveWeights& weights, at::Device device, at::ScalarType compute)
      : graph_(graph),
        device_(device),
        compute_(compute),
        exact_(compute == at::kDouble ? at::kDouble : at::kFloat),
        passes_(graph_, exact_weights_, packed_, compute_, exact_) {
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

  class TangentPass;
  std::unique_ptr<Tangent> tangent(const at::Tensor& x, const at::Tensor& labels) override;
  Matched match(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& target, const at::Tensor& coefficients,
                nn::Tensors& into, const Motion* motion) override;

  energy::EnergyPtr given(const at::Tensor& labels) override;

  std::string description() const override {
    return fmt::format("tensors on {}: {} convolutions, gradients by hand", device_name(device_),
                       compute_ == at::kBFloat16 ? "bf16"
                       : compute_ == at::kDouble ? "f64"
                                                 : "f32");
  }

  double operations() const override { return engine::operations(graph_); }

  void evaluate(const at::Tensor& x, const at::Tensor& labels, at::Tensor& energies, at::Tensor* gradient) const {
    Passes::Pass pass = passes_.begin();
    passes_.evaluate(x, labels, pass, energies, gradient, /*keep=*/false);
  }

  /// Undefined where the network has no tangents.
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& v) const {
    if (!passes_.have_tangents()) return {};
    Passes::Pass pass = passes_.begin();
    at::Tensor energies, gradient;
    passes_.evaluate(x, labels, pass, energies, &gradient, /*keep=*/true);
    return passes_.hessian_product(pass, labels, v);
  }

  bool takes(const at::Tensor& x) const { return x.device() == device_ && x.scalar_type() == exact_; }

  at::Tensor reference(const at::Tensor& x, const at::Tensor& labels) const {
    nn::EffectiveWeights weights = exact_weights_;
    for (auto& [name, w] : weights) w = w.to(x.options());
    return nn::evaluate(graph_, weights, x, labels);
  }

 private:
  friend class TensorEnergy;

  /// The pass of x, evaluated; null where there are no tangents. motion: of a joint one, or null.
  std::shared_ptr<TangentPass> tangent_pass(const at::Tensor& x, const at::Tensor& labels, const Motion* motion);

  nn::Graph graph_;
  at::Device device_;
  at::ScalarType compute_, exact_;
  nn::EffectiveWeights exact_weights_, packed_;
  Passes passes_;
  std::vector<std::unique_ptr<Slot>> free_slots_;
  std::mutex slots_mutex_;
  std::shared_ptr<TangentPass> tangent_, joint_tangent_;  // the last one's; recorded where the device can
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
    if (x.is_cuda() && !is_recording()) return played(x);
    energy::EnergyAndGradient result;
    engine_->evaluate(x, slot_->labels, result.energy, &result.gradient);
    return result;
  }

  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override {
    const at::Tensor found = engine_->takes(x) && engine_->takes(v)
                                 ? engine_->hessian_product(x.detach(), slot_->labels, v.detach())
                                 : at::Tensor();
    return found.defined() ? found : Energy::hessian_product(x, v);
  }

  energy::Recordings* recordings() const override { return &slot_->recordings; }

 private:
  /// What a recording reads and writes.
  struct Played {
    at::Tensor x;
    energy::EnergyAndGradient result;
    std::unique_ptr<Recording> recording;
  };

  energy::EnergyAndGradient played(const at::Tensor& x) const {
    const at::NoGradGuard no_grad;
    auto& kept = slot_->recordings[fmt::format("gradient ({})", fmt::join(x.sizes().vec(), ", "))];
    if (!kept) {
      auto made = std::make_shared<Played>();
      made->x = x.detach().clone(at::MemoryFormat::Contiguous);
      const auto run = [&] { engine_->evaluate(made->x, slot_->labels, made->result.energy, &made->result.gradient); };
      made->recording = record(x.device(), run, run);
      kept = made;
    }
    const auto& p = *static_cast<Played*>(kept.get());
    at::Tensor(p.x).copy_(x);
    p.recording->play();
    return {p.result.energy.clone(), p.result.gradient.clone()};
  }

  std::shared_ptr<TensorEngine> engine_;
  std::unique_ptr<Slot> slot_;
};

/// A tangent of inputs of one shape, or a joint one. On a device that records, its work is recorded at the first use,
/// with its inputs at addresses of its own, and played again at the next.
class TensorEngine::TangentPass {
 public:
  TangentPass(const Passes& passes, const at::Tensor& x, const at::Tensor& labels, bool joint)
      : passes_(passes),
        x_(at::empty_like(x)),
        labels_(labels.defined() ? at::empty_like(labels) : labels),
        along_{.v = at::zeros_like(x)},
        pass_(passes.begin()) {
    if (joint) along_.scale = at::zeros({x.size(0)}, x.options());
    if (joint && labels.defined() && labels.is_floating_point()) {
      labels_dot_ = at::zeros_like(labels);
      along_.labels_dot = at::zeros_like(labels);
    }
  }

  bool fits(const at::Tensor& x) const { return x.sizes() == x_.sizes(); }

  /// motion: of a joint one.
  void evaluate(const at::Tensor& x, const at::Tensor& labels, const Motion* motion) {
    x_.copy_(x);
    if (labels_.defined()) labels_.copy_(labels);
    if (labels_dot_.defined())
      motion->labels_dot.defined() ? labels_dot_.copy_(motion->labels_dot) : labels_dot_.zero_();
    if (!evaluation_) {
      evaluation_ = record(
          x_.device(), [&] { run(); }, [&] { run(); });
      if (!evaluation_) return run();
    }
    evaluation_->play();
  }

  /// share (N): of labels_dot; scale (N) of E; both of a joint one.
  void pull(const at::Tensor& v, const at::Tensor& share, const at::Tensor& scale, nn::Tensors& into) {
    along_.v.copy_(v);
    if (along_.scale.defined()) along_.scale.copy_(scale);
    if (labels_dot_.defined()) along_.labels_dot.copy_(labels_dot_ * share.unsqueeze(1));
    const auto run = [&] {
      gradients_.clear();
      passes_.pull(pass_, labels_, along_, gradients_);
    };
    if (!pull_) pull_ = record(x_.device(), run, run, evaluation_.get());
    pull_ ? pull_->play() : run();
    for (const auto& [name, g] : gradients_) nn::add_to(into, name, pull_ ? g.clone() : g);
  }

  at::Tensor energies, gradient;
  at::Tensor label_slope;  // <dE/dlabels, labels_dot> (N) of a joint one, or undefined

 private:
  void run() {
    pass_ = passes_.begin();
    passes_.evaluate(x_, labels_, pass_, energies, &gradient, /*keep=*/true);
    if (labels_dot_.defined()) label_slope = passes_.label_slope(pass_, labels_dot_);
  }

  const Passes& passes_;
  at::Tensor x_, labels_, labels_dot_;
  Passes::Direction along_;
  Passes::Pass pass_;
  nn::Tensors gradients_;
  std::unique_ptr<Recording> evaluation_, pull_;
};

class TensorTangent : public Tangent {
 public:
  TensorTangent(std::shared_ptr<TensorEngine> engine, std::shared_ptr<TensorEngine::TangentPass> pass)
      : engine_(std::move(engine)), pass_(std::move(pass)) {
    energy = pass_->energies;
    gradient = pass_->gradient;
  }
  void pull(const at::Tensor& v, nn::Tensors& into) const override {
    const at::NoGradGuard no_grad;
    pass_->pull(v, {}, {}, into);
  }

 private:
  std::shared_ptr<TensorEngine> engine_;
  std::shared_ptr<TensorEngine::TangentPass> pass_;
};

std::shared_ptr<TensorEngine::TangentPass> TensorEngine::tangent_pass(const at::Tensor& x, const at::Tensor& labels,
                                                                      const Motion* motion) {
  if (!passes_.have_tangents() || !takes(x)) return nullptr;
  const at::NoGradGuard no_grad;
  at::Tensor on = graph_.conditional() ? labels : at::Tensor();
  graph_.check_labels(on, x.size(0));
  if (on.defined()) on = on.to(device_, graph_.classes > 0 ? at::kLong : exact_);
  // Of one shape at a time: a recording holds on to its memory.
  std::shared_ptr<TangentPass>& last = motion == nullptr ? tangent_ : joint_tangent_;
  if (!last || !device_.is_cuda() || !last->fits(x))
    last = std::make_shared<TangentPass>(passes_, x, on, motion != nullptr);
  last->evaluate(x.detach(), on, motion);
  return last;
}

std::unique_ptr<Tangent> TensorEngine::tangent(const at::Tensor& x, const at::Tensor& labels) {
  auto pass = tangent_pass(x, labels, nullptr);
  return pass ? std::make_unique<TensorTangent>(shared_from_this(), std::move(pass)) : nullptr;
}

Matched TensorEngine::match(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& target,
                            const at::Tensor& coefficients, nn::Tensors& into, const Motion* motion) {
  if (motion == nullptr) return Prepared::match(x, labels, target, coefficients, into, motion);
  const auto pass = tangent_pass(x, labels, motion);
  if (!pass) return {};
  const at::NoGradGuard no_grad;
  const auto exact = [&](const at::Tensor& t) { return t.to(device_, exact_); };
  const auto column = [&](const at::Tensor& each) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
    shape[0] = x.size(0);
    return each.reshape(shape);
  };
  const at::Tensor x_dot = exact(motion->x_dot), gradient = pass->gradient.clone();
  at::Tensor r = exact(motion->offsets) + (gradient * x_dot).flatten(1).sum(1) + motion->energy_rate * pass->energies;
  if (pass->label_slope.defined()) r = r + pass->label_slope;
  const at::Tensor q = exact(motion->weights) * r;
  pass->pull(column(exact(coefficients)) * (gradient - exact(target)) + column(q) * x_dot, q, motion->energy_rate * q,
             into);
  return {gradient, r};
}

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
