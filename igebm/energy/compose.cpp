#include "igebm/energy/compose.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/ScalarOps.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/base/vector_math.h"

namespace igebm::energy {
namespace {

std::vector<double> one_each(std::vector<double> weights, std::size_t parts, const char* who) {
  if (weights.empty()) weights.assign(parts, 1.0);
  if (weights.size() != parts)
    throw UserError(fmt::format("{}: {} weights for {} energies", who, weights.size(), parts));
  return weights;
}

/// Memory for what has the type and shape of `like`: `out`'s own where it fits.
at::Tensor& fit(at::Tensor& out, const at::Tensor& like) {
  const bool fits = out.defined() && out.sizes() == like.sizes() && out.strides() == like.strides() &&
                    out.scalar_type() == like.scalar_type() && out.device() == like.device();
  if (!fits) out = at::empty_like(like);
  return out;
}

/// out <- factor t.
void scale_into(double factor, const at::Tensor& t, at::Tensor& out) {
  at::mul_out(fit(out, t), t, at::native::wrapped_scalar_tensor(factor));
}

using Floats = std::unique_ptr<float[]>;
Floats floats(std::int64_t count) { return std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(count)); }

IGEBM_CLONES void add_scaled(float factor, const float* x, std::int64_t count, float* sum) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += factor * x[i];
}

IGEBM_CLONES void scale(float factor, const float* x, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = factor * x[i];
}

IGEBM_CLONES void add(float shift, std::int64_t count, float* x) {
  for (std::int64_t i = 0; i < count; ++i) x[i] += shift;
}

IGEBM_CLONES void select(const unsigned char* first, const float* a, const float* b, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = first[i] != 0 ? a[i] : b[i];
}

}  // namespace

Composition::Composition(const char* who, std::vector<EnergyPtr> parts) : parts_(std::move(parts)) {
  if (parts_.empty()) throw UserError(fmt::format("{}: expected at least one energy", who));
}

EnergyAndGradient Composition::energy_and_gradient(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  Scratch scratch;
  EnergyAndGradient out;
  combine(x, scratch, out);
  return out;
}

void Composition::energy_and_gradient_into(const at::Tensor& x, EnergyAndGradient& out) const {
  const at::NoGradGuard no_grad;
  scratch_.in_place = true;
  combine(x, scratch_, out);
}

const EnergyAndGradient& Composition::result(std::size_t i, const at::Tensor& x, Scratch& scratch) const {
  scratch.results.resize(parts_.size());
  EnergyAndGradient& out = scratch.results[i];
  if (scratch.in_place) {
    energy::energy_and_gradient_into(*parts_[i], x, out);
  } else {
    out = parts_[i]->energy_and_gradient(x);
  }
  return out;
}

bool Composition::takes(std::int64_t elements) const {
  return std::all_of(parts_.begin(), parts_.end(), [&](const auto& p) { return plain_loop(*p, elements) != nullptr; });
}

Recordings* Composition::recordings() const {
  const bool all =
      std::all_of(parts_.begin(), parts_.end(), [](const auto& p) { return energy::recordings(*p) != nullptr; });
  return all ? &recordings_ : nullptr;
}

Sum::Sum(std::vector<EnergyPtr> parts, std::vector<double> weights)
    : Composition("Sum", std::move(parts)), weights_(one_each(std::move(weights), this->parts().size(), "Sum")) {}

at::Tensor Sum::energy(const at::Tensor& x) const {
  at::Tensor sum = weights_[0] * parts()[0]->energy(x);
  for (std::size_t i = 1; i < parts().size(); ++i) sum = sum + weights_[i] * parts()[i]->energy(x);
  return sum;
}

void Sum::combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const {
  for (std::size_t i = 0; i < parts().size(); ++i) {
    const auto& [e, g] = result(i, x, scratch);
    if (i == 0) {
      scale_into(weights_[0], e, out.energy);
      scale_into(weights_[0], g, out.gradient);
    } else {
      out.energy.add_(e, weights_[i]);
      out.gradient.add_(g, weights_[i]);
    }
  }
}

at::Tensor Sum::hessian_product(const at::Tensor& x, const at::Tensor& v) const {
  at::Tensor sum = weights_[0] * parts()[0]->hessian_product(x, v);
  for (std::size_t i = 1; i < parts().size(); ++i) sum.add_(parts()[i]->hessian_product(x, v), weights_[i]);
  return sum;
}

void Sum::evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy, float* gradient) const {
  const Floats e = floats(count), g = floats(count * elements);
  std::fill_n(energy, count, 0.0F);
  std::fill_n(gradient, count * elements, 0.0F);
  for (std::size_t p = 0; p < parts().size(); ++p) {
    plain_loop(*parts()[p], elements)->evaluate(x, count, elements, e.get(), g.get());
    const auto weight = static_cast<float>(weights_[p]);
    add_scaled(weight, e.get(), count, energy);
    add_scaled(weight, g.get(), count * elements, gradient);
  }
}

Mixture::Mixture(std::vector<EnergyPtr> parts, std::vector<double> weights) : Composition("Mixture", std::move(parts)) {
  for (const double w : one_each(std::move(weights), this->parts().size(), "Mixture")) {
    if (!(w > 0)) throw UserError(fmt::format("Mixture: expected positive weights, got {}", w));
    log_weights_.push_back(std::log(w));
  }
}

at::Tensor Mixture::energy(const at::Tensor& x) const {
  std::vector<at::Tensor> terms;
  for (std::size_t i = 0; i < parts().size(); ++i) terms.push_back(log_weights_[i] - parts()[i]->energy(x));
  return -at::logsumexp(at::stack(terms, 1), 1);
}

// The gradient is the parts' gradients, weighted by their responsibilities.
void Mixture::combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const {
  std::vector<at::Tensor> terms;
  for (std::size_t i = 0; i < parts().size(); ++i) terms.push_back(log_weights_[i] - result(i, x, scratch).energy);
  const at::Tensor all = at::stack(terms, 1), responsibility = at::softmax(all, 1), log_sum = at::logsumexp(all, 1);
  std::vector<std::int64_t> column(static_cast<std::size_t>(x.dim()), 1);
  column[0] = x.size(0);
  fit(out.gradient, scratch.results[0].gradient).zero_();
  for (std::size_t i = 0; i < parts().size(); ++i) {
    const at::Tensor& g = scratch.results[i].gradient;
    at::mul_out(fit(scratch.product, g), responsibility.select(1, static_cast<std::int64_t>(i)).reshape(column), g);
    out.gradient.add_(scratch.product);
  }
  at::neg_out(fit(out.energy, log_sum), log_sum);
}

// With r the responsibilities, g_i and H_i the parts': sum_i r_i (H_i v - g_i <g_i - sum_j r_j g_j, v>).
at::Tensor Mixture::hessian_product(const at::Tensor& x, const at::Tensor& v) const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> terms, gradients, slopes;
  for (std::size_t i = 0; i < parts().size(); ++i) {
    const auto [e, g] = parts()[i]->energy_and_gradient(x);
    terms.push_back(log_weights_[i] - e);
    slopes.push_back((g * v).flatten(1).sum(1));
    gradients.push_back(g);
  }
  const at::Tensor r = at::softmax(at::stack(terms, 1), 1), slope = at::stack(slopes, 1);
  const at::Tensor share = r * (slope - (r * slope).sum(1, /*keepdim=*/true));
  at::Tensor sum = at::zeros_like(x);
  std::vector<std::int64_t> column(static_cast<std::size_t>(x.dim()), 1);
  column[0] = x.size(0);
  for (std::size_t i = 0; i < parts().size(); ++i) {
    const auto of = [&](const at::Tensor& t) { return t.select(1, static_cast<std::int64_t>(i)).reshape(column); };
    sum.add_(of(r) * parts()[i]->hessian_product(x, v) - of(share) * gradients[i]);
  }
  return sum;
}

void Mixture::evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                       float* gradient) const {
  const auto n = static_cast<std::int64_t>(parts().size()), size = count * elements;
  const Floats terms = floats(n * count), gradients = floats(n * size);  // by part
  for (std::int64_t p = 0; p < n; ++p) {
    const auto i = static_cast<std::size_t>(p);
    float* t = terms.get() + p * count;
    plain_loop(*parts()[i], elements)->evaluate(x, count, elements, t, gradients.get() + p * size);
    for (std::int64_t c = 0; c < count; ++c) t[c] = static_cast<float>(log_weights_[i]) - t[c];
  }
  std::fill_n(gradient, size, 0.0F);
  for (std::int64_t c = 0; c < count; ++c) {
    float most = terms[static_cast<std::size_t>(c)], sum = 0;
    for (std::int64_t p = 1; p < n; ++p) most = std::max(most, terms[static_cast<std::size_t>(p * count + c)]);
    for (std::int64_t p = 0; p < n; ++p) {
      float& t = terms[static_cast<std::size_t>(p * count + c)];
      t = std::exp(t - most);
      sum += t;
    }
    energy[c] = -(most + std::log(sum));
    for (std::int64_t p = 0; p < n; ++p) {
      const float responsibility = terms[static_cast<std::size_t>(p * count + c)] / sum;
      const float* g = gradients.get() + p * size + c * elements;
      for (std::int64_t i = 0; i < elements; ++i) gradient[c * elements + i] += responsibility * g[i];
    }
  }
}

Masked::Masked(EnergyPtr part, const at::Tensor& free, const at::Tensor& fixed)
    : Composition("Masked", {std::move(part)}), free_(free.to(at::kBool)), fixed_(fixed) {
  if (!at::is_expandable_to(free_.sizes(), fixed_.sizes()) && !at::is_expandable_to(fixed_.sizes(), free_.sizes()))
    throw UserError(fmt::format("Masked: a mask of {} and values of {} do not broadcast", fmt::join(free_.sizes(), "x"),
                                fmt::join(fixed_.sizes(), "x")));
  if (free_.device() != fixed_.device())
    throw UserError(
        fmt::format("Masked: the mask is on {} and the values are on {}", free_.device().str(), fixed_.device().str()));
  const at::NoGradGuard no_grad;
  const auto shape = at::infer_size(free_.sizes(), fixed_.sizes());
  const at::Tensor mask = free_.expand(shape).contiguous(), values = fixed_.expand(shape).to(at::kFloat).contiguous();
  if (!mask.is_cpu() || !Composition::takes(mask.numel())) return;
  free_elements_.assign(mask.const_data_ptr<bool>(), mask.const_data_ptr<bool>() + mask.numel());
  fixed_elements_.assign(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
}

at::Tensor Masked::fixed_for(const at::Tensor& x) const {
  if (x.device() != free_.device())
    throw UserError(fmt::format("Masked: x is on {}, the mask on {}", x.device().str(), free_.device().str()));
  return fixed_.to(x.scalar_type());
}

at::Tensor Masked::energy(const at::Tensor& x) const { return parts()[0]->energy(at::where(free_, x, fixed_for(x))); }

void Masked::combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const {
  const at::Tensor fixed = fixed_for(x);
  if (at::is_expandable_to(free_.sizes(), x.sizes()) && at::is_expandable_to(fixed.sizes(), x.sizes())) {
    at::where_out(fit(scratch.input, x), free_, x, fixed);
  } else {
    scratch.input = at::where(free_, x, fixed);  // one x, many masks
  }
  const auto& [e, g] = result(0, scratch.input, scratch);
  fit(out.energy, e).copy_(e);
  at::where_out(fit(out.gradient, g), free_, g, at::zeros({}, g.options()));
}

at::Tensor Masked::hessian_product(const at::Tensor& x, const at::Tensor& v) const {
  const at::NoGradGuard no_grad;
  const at::Tensor none = at::zeros({}, v.options());
  return at::where(free_, parts()[0]->hessian_product(at::where(free_, x, fixed_for(x)), at::where(free_, v, none)),
                   none);
}

bool Masked::takes(std::int64_t elements) const {
  return elements > 0 && static_cast<std::int64_t>(free_elements_.size()) == elements;
}

void Masked::evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy, float* gradient) const {
  const Floats input = floats(count * elements);
  for (std::int64_t c = 0; c < count * elements; c += elements)
    select(free_elements_.data(), x + c, fixed_elements_.data(), elements, input.get() + c);
  plain_loop(*parts()[0], elements)->evaluate(input.get(), count, elements, energy, gradient);
  const std::vector<float> zeros(static_cast<std::size_t>(elements), 0.0F);
  for (std::int64_t c = 0; c < count * elements; c += elements)
    select(free_elements_.data(), gradient + c, zeros.data(), elements, gradient + c);
}

namespace {

class Rescaled : public Composition {
 public:
  Rescaled(EnergyPtr part, double factor, double scale, double shift)
      : Composition("rescaled", {std::move(part)}), factor_(factor), scale_(scale), shift_(shift) {}
  at::Tensor energy(const at::Tensor& x) const override {
    const at::Tensor input = factor_ * x;
    return scale_ * parts()[0]->energy(shift_ == 0 ? input : input + shift_);
  }
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override {
    return scale_ * factor_ * factor_ * parts()[0]->hessian_product(factor_ * x + shift_, v);
  }
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override {
    const Floats input = floats(count * elements);
    energy::scale(static_cast<float>(factor_), x, count * elements, input.get());
    if (shift_ != 0) add(static_cast<float>(shift_), count * elements, input.get());
    plain_loop(*parts()[0], elements)->evaluate(input.get(), count, elements, energy, gradient);
    energy::scale(static_cast<float>(scale_), energy, count, energy);
    energy::scale(static_cast<float>(scale_ * factor_), gradient, count * elements, gradient);
  }

 protected:
  void combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const override {
    scale_into(factor_, x, scratch.input);
    if (shift_ != 0) scratch.input.add_(shift_);
    const auto& [e, g] = result(0, scratch.input, scratch);
    scale_into(scale_, e, out.energy);
    scale_into(scale_ * factor_, g, out.gradient);
  }

 private:
  double factor_, scale_, shift_;
};

/// Adds precision x to each gradient and precision |x|^2 / 2 + constant to each energy.
IGEBM_CLONES void add_gaussian(float precision, float constant, const float* x, std::int64_t count,
                               std::int64_t elements, float* energy, float* gradient) {
  for (std::int64_t c = 0; c < count; ++c) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < elements; ++i) {
      sum += x[c * elements + i] * x[c * elements + i];
      gradient[c * elements + i] += precision * x[c * elements + i];
    }
    energy[c] += precision / 2 * sum + constant;
  }
}

class BesideGaussian : public Composition {
 public:
  BesideGaussian(EnergyPtr part, double precision, double constant)
      : Composition("beside_gaussian", {std::move(part)}), precision_(precision), constant_(constant) {}
  at::Tensor energy(const at::Tensor& x) const override {
    return parts()[0]->energy(x) + precision_ / 2 * x.square().flatten(1).sum(1) + constant_;
  }
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override {
    return parts()[0]->hessian_product(x, v) + precision_ * v;
  }
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override {
    plain_loop(*parts()[0], elements)->evaluate(x, count, elements, energy, gradient);
    add_gaussian(static_cast<float>(precision_), static_cast<float>(constant_), x, count, elements, energy, gradient);
  }

 protected:
  void combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const override {
    const auto& [e, g] = result(0, x, scratch);
    at::mul_out(fit(scratch.product, x), x, x);
    fit(out.energy, e).copy_(e).add_(scratch.product.flatten(1).sum(1), precision_ / 2).add_(constant_);
    at::add_out(fit(out.gradient, g), g, x, precision_);
  }

 private:
  double precision_, constant_;
};

}  // namespace

EnergyPtr rescaled(EnergyPtr part, double factor, double scale, double shift) {
  return std::make_shared<Rescaled>(std::move(part), factor, scale, shift);
}

EnergyPtr beside_gaussian(EnergyPtr part, double precision, double constant) {
  return std::make_shared<BesideGaussian>(std::move(part), precision, constant);
}

EnergyPtr negation(EnergyPtr part) {
  return std::make_shared<Sum>(std::vector<EnergyPtr>{std::move(part)}, std::vector<double>{-1.0});
}

EnergyPtr tempered(EnergyPtr part, double temperature) {
  if (!(temperature > 0)) throw UserError(fmt::format("tempered: expected a temperature above 0, got {}", temperature));
  return std::make_shared<Sum>(std::vector<EnergyPtr>{std::move(part)}, std::vector<double>{1 / temperature});
}

}  // namespace igebm::energy
