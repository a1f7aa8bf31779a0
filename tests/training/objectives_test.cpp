#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/nn/architectures.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/energy_matching.h"
#include "tests/training/network_case.h"

namespace igebm::training {
namespace {

nn::Graph small_unet(std::int64_t classes) {
  return nn::unet({.channels = 8, .deep_channels = 8, .deep_blocks = 1, .groups = 4}, {1, 8, 8}, classes);
}

TEST(ContrastiveDivergence, FormsAreTheirFormulas) {
  const at::Tensor positive = at::tensor({1.0, 2.0}, at::kDouble), negative = at::tensor({3.0, -1.0}, at::kDouble);
  EXPECT_NEAR(contrastive_divergence("linear", positive, negative, 0).item<double>(), 0.5, 1e-12);
  EXPECT_NEAR(contrastive_divergence("linear", positive, negative, 0.1).item<double>(), 0.5 + 0.1 * (2.5 + 5), 1e-12);
  const double weight = std::exp(-3.0) / (std::exp(-3.0) + std::exp(1.0));
  EXPECT_NEAR(contrastive_divergence("logsumexp", positive, negative, 0).item<double>(),
              1.5 - (3 * weight - (1 - weight)), 1e-12);
  EXPECT_NEAR(contrastive_divergence("softplus", positive, negative, 0).item<double>(),
              (std::log1p(std::exp(-2.0)) + std::log1p(std::exp(3.0))) / 2, 1e-12);
  EXPECT_THROW(contrastive_divergence("hinge", positive, negative, 0), UserError);
  EXPECT_THROW(contrast_slopes("hinge", at::cat({positive, negative})), UserError);
}

TEST(ContrastiveDivergence, GradientsOfAllFormsAgreeWithFiniteDifferences) {
  for (const char* form : {"linear", "logsumexp", "softplus"}) {
    SCOPED_TRACE(form);
    NetworkCase c(small_unet(0), at::kDouble);
    const at::Tensor x = at::randn({6, 1, 8, 8}, at::kDouble);
    const auto energies = [&] { return c.energy(x); };
    // logsumexp's weights are constants to its gradient.
    const at::Tensor held = at::softmax(-energies().slice(0, 3), 0);
    const double l2 = 0.1;
    nn::Tensors gradients;
    c.frozen->parameter_gradient(x, {}, contrast_slopes(form, energies()), at::full({6}, 2 * l2 / 3, at::kDouble),
                                 gradients);
    c.expect_gradients(gradients, [&] {
      const at::Tensor e = energies(), positive = e.slice(0, 0, 3), negative = e.slice(0, 3);
      if (std::string(form) != "logsumexp") return contrastive_divergence(form, positive, negative, l2).item<double>();
      const at::Tensor squares = positive.square().mean() + negative.square().mean();
      return (positive.mean() - at::dot(held, negative) + l2 * squares).item<double>();
    });
  }
}

// The objective as training calls it, by the engine: from the chains that it left in its buffer, by autograd.
TEST(ContrastiveDivergence, TheObjectiveIsItsLossOnItsChains) {
  for (const char* form : {"linear", "logsumexp", "softplus"}) {
    SCOPED_TRACE(form);
    const NetworkCase c(small_unet(3), at::kFloat, "fast");
    const at::Tensor data = at::randn({6, 1, 8, 8}), labels = at::tensor({0, 2, 1, 1, 2, 0}, at::kLong);
    ContrastiveDivergence objective({.weight = 0.7,
                                     .form = form,
                                     .energy_l2 = 0.2,
                                     .steps = 2,
                                     .langevin = {.step_size = 0.01},
                                     .replay = {.size = 6}},
                                    {1, 8, 8});
    const Loss loss = objective.loss(c.step(data, labels));
    const nn::Tensors state = objective.state();
    const at::Tensor order = at::argsort(state.at("stream"));  // chains start with the streams 0, 1, ...
    const at::Tensor chains = state.at("x").index_select(0, order);
    EXPECT_TRUE(at::equal(state.at("labels").index_select(0, order), labels));
    nn::Tensors leaves, expected;
    std::vector<at::Tensor> inputs;
    for (const auto& [name, w] : c.weights) inputs.push_back(leaves[name] = w.detach().requires_grad_());
    const at::Tensor value = 0.7 * contrastive_divergence(form, nn::evaluate(c.graph, leaves, data, labels),
                                                          nn::evaluate(c.graph, leaves, chains, labels), 0.2);
    const auto found = torch::autograd::grad({value}, inputs, {}, false, false, true);
    std::size_t i = 0;
    for (const auto& [name, _] : leaves) {
      if (found[i].defined()) expected[name] = found[i];
      ++i;
    }
    EXPECT_NEAR(loss.value.item<double>(), value.item<double>(), 1e-5 * (1 + std::fabs(value.item<double>())));
    EXPECT_LT(distance(loss.gradients, expected), 1e-4);
  }
}

/// What energy matching draws at the step of a NetworkCase.
std::pair<at::Tensor, at::Tensor> drawn_pairs(const at::Tensor& data, double time_end = 1) {
  at::Tensor noise = at::empty(data.sizes()), time = at::empty({data.size(0)});
  for (std::int64_t i = 0; i < data.size(0); ++i) {
    const auto stream = static_cast<std::uint64_t>(4 * data.size(0) + i);
    random_normal({3, Purpose::flow_noise, stream, 0},
                  {noise[i].data_ptr<float>(), static_cast<std::size_t>(noise[i].numel())});
    random_uniform({3, Purpose::flow_time, stream, 0}, {time.data_ptr<float>() + i, 1});
  }
  return {noise.to(data.dtype()), (time_end * time).to(data.dtype())};
}

// On E(x) = |Wx|^2 / 2 with W = 1 the loss is mean |x_t + c(t) (x1 - x0)|^2.
TEST(EnergyMatching, IsItsFormula) {
  nn::Graph half_square;
  half_square.input_shape = {3};
  half_square.add({.op = nn::Op::input});
  half_square.add({.op = nn::Op::linear, .inputs = {0}, .name = "w", .in = 3, .out = 3});
  half_square.add({.op = nn::Op::half_square, .inputs = {1}});
  NetworkCase c(half_square, at::kDouble);
  c.weights["w.weight"] = at::eye(3, at::kDouble);
  c.frozen->refresh(c.weights);
  const at::Tensor data = at::randn({500, 3}, at::kDouble);
  for (const double equilibrium : {1.0, 0.4}) {
    for (const double end : {1.0, 0.6}) {
      const auto [noise, time] = drawn_pairs(data, end);
      const at::Tensor t = time.unsqueeze(1), x = (1 - t) * noise + t * data;
      const at::Tensor slope =
          equilibrium < 1 ? at::where(t < equilibrium, 1.0, (1 - t) / (1 - equilibrium)) : at::ones_like(t);
      const double expected = (x + slope * (data - noise)).square().mean().item<double>();
      EnergyMatching objective({.weight = 2, .time_end = end, .equilibrium = equilibrium, .transport = false});
      EXPECT_NEAR(objective.loss(c.step(data)).value.item<double>(), 2 * expected, 1e-6) << equilibrium << " " << end;
    }
  }
}

TEST(EnergyMatching, GradientsAgreeWithFiniteDifferences) {
  NetworkCase c(small_unet(0), at::kDouble);
  const at::Tensor data = at::randn({3, 1, 8, 8}, at::kDouble);
  const auto loss = [&] { return EnergyMatching({.weight = 0.7, .equilibrium = 0.5}).loss(c.step(data)); };
  c.expect_gradients(loss().gradients, [&] { return loss().value.item<double>(); });
}

// The engine's central differences against autograd's gradients of gradients.
TEST(EnergyMatching, GradientsByTheEngineAreAutograds) {
  const at::Tensor labels = at::tensor({0, 2, 1, 1, 2, 0}, at::kLong);
  const NetworkCase fast(small_unet(3), at::kFloat, "fast"), exact(small_unet(3), at::kFloat);
  ASSERT_TRUE(fast.frozen->derives_parameters());
  const at::Tensor data = at::randn({6, 1, 8, 8});
  const Loss a = EnergyMatching({.weight = 0.7}).loss(fast.step(data, labels)),
             b = EnergyMatching({.weight = 0.7}).loss(exact.step(data, labels));
  EXPECT_NEAR(a.value.item<double>(), b.value.item<double>(), 1e-5 * b.value.item<double>());
  EXPECT_LT(distance(a.gradients, b.gradients), 1e-3);
}

}  // namespace
}  // namespace igebm::training
