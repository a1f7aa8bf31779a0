#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/nn/architectures.h"
#include "igebm/training/chain_end.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/energy_matching.h"
#include "tests/training/network_case.h"

namespace igebm::training {
namespace {

nn::Graph small_unet(std::int64_t classes) {
  return nn::unet({.channels = {8, 8}, .blocks = {1, 1}, .groups = 4}, {1, 8, 8}, {.classes = classes});
}

TEST(ContrastiveDivergence, FormsAreTheirFormulas) {
  const at::Tensor positive = at::tensor({1.0, 2.0}, at::kDouble), negative = at::tensor({3.0, -1.0}, at::kDouble);
  EXPECT_NEAR(contrastive_divergence(ContrastForm::linear, positive, negative, 0).item<double>(), 0.5, 1e-12);
  EXPECT_NEAR(contrastive_divergence(ContrastForm::linear, positive, negative, 0.1).item<double>(),
              0.5 + 0.1 * (2.5 + 5), 1e-12);
  const double weight = std::exp(-3.0) / (std::exp(-3.0) + std::exp(1.0));
  EXPECT_NEAR(contrastive_divergence(ContrastForm::logsumexp, positive, negative, 0).item<double>(),
              1.5 - (3 * weight - (1 - weight)), 1e-12);
  EXPECT_NEAR(contrastive_divergence(ContrastForm::softplus, positive, negative, 0).item<double>(),
              (std::log1p(std::exp(-2.0)) + std::log1p(std::exp(3.0))) / 2, 1e-12);
}

TEST(ContrastiveDivergence, GradientsOfAllFormsAgreeWithFiniteDifferences) {
  for (const ContrastForm form : {ContrastForm::linear, ContrastForm::logsumexp, ContrastForm::softplus}) {
    SCOPED_TRACE(name_of(form));
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
      if (form != ContrastForm::logsumexp) return contrastive_divergence(form, positive, negative, l2).item<double>();
      const at::Tensor squares = positive.square().mean() + negative.square().mean();
      return (positive.mean() - at::dot(held, negative) + l2 * squares).item<double>();
    });
  }
}

// The objective as training calls it, by the engine: from the chains that it left in its buffer, by autograd.
TEST(ContrastiveDivergence, TheObjectiveIsItsLossOnItsChains) {
  for (const ContrastForm form : {ContrastForm::linear, ContrastForm::logsumexp, ContrastForm::softplus}) {
    SCOPED_TRACE(name_of(form));
    const NetworkCase c(small_unet(3), at::kFloat, engine::Kind::fast);
    const at::Tensor data = at::randn({6, 1, 8, 8}), labels = at::tensor({0, 2, 1, 1, 2, 0}, at::kLong);
    ContrastiveDivergence objective({.weight = 0.7,
                                     .form = form,
                                     .energy_l2 = 0.2,
                                     .data_noise = 0.3,
                                     .steps = 2,
                                     .langevin = {.step_size = 0.01, .low = -1.5, .high = 1.5},
                                     .replay = {.size = 6}},
                                    c.graph);
    const Loss loss = objective.loss(c.step(data, labels));
    const at::Tensor noisy = (data + 0.3 * c.step(data, labels).normals(Purpose::data_noise)).clamp(-1.5, 1.5);
    const nn::Tensors state = objective.state();
    const at::Tensor order = at::argsort(state.at("stream"));  // chains start with streams in the data's order
    const at::Tensor chains = state.at("x").index_select(0, order);
    EXPECT_TRUE(at::equal(state.at("labels").index_select(0, order), labels));
    nn::EffectiveWeights leaves;
    nn::Tensors expected;
    std::vector<at::Tensor> inputs;
    for (const auto& [name, w] : c.weights) inputs.push_back(leaves[name] = w.detach().requires_grad_());
    const at::Tensor value = 0.7 * contrastive_divergence(form, nn::evaluate(c.graph, leaves, noisy, labels),
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

// The whole term in double, the last Langevin step written out: its energy's weights are held, those of its step are
// not.
TEST(ChainEnd, GradientsAgreeWithFiniteDifferences) {
  const nn::ResidualOptions rough{.stem = 4, .blocks = "4d 4", .spectral_norm = false};
  nn::ResidualOptions dropped = rough;
  dropped.activation = nn::Activation::silu, dropped.dropout = 0.5;  // which chains do not see
  for (const nn::Graph& graph : {small_unet(3), nn::residual(rough, {1, 8, 8}, {.classes = 3}),
                                 nn::residual(dropped, {1, 8, 8}, {.classes = 3})}) {
    SCOPED_TRACE(nn::to_json(graph));
    NetworkCase c(graph, at::kDouble);
    const at::Tensor before = at::rand({4, 1, 8, 8}, at::kDouble), noise = 0.1 * at::randn({4, 1, 8, 8}, at::kDouble),
                     pool = at::rand({7, 1, 8, 8}, at::kDouble), labels = at::tensor({0, 2, 1, 1}, at::kLong);
    const auto slope = [&] { return c.frozen->given(labels)->energy_and_gradient(before).gradient; };
    const at::Tensor sizes = slope().abs().flatten();
    sampling::LangevinOptions langevin;
    langevin.gradient_clip = sizes.quantile(0.9).item<double>();
    langevin.step_size = 0.5 / langevin.gradient_clip;
    langevin.low = 0.1, langevin.high = 0.9;
    const auto moved = [&] {
      const at::Tensor clipped = slope().clamp(-langevin.gradient_clip, langevin.gradient_clip);
      return (before - langevin.step_size * clipped + noise).clamp(langevin.low, langevin.high);
    };
    const at::Tensor x = moved();
    const auto held = engine::prepare(c.graph, nn::EffectiveWeights(c.weights), {.engine = engine::Kind::reference});
    for (const ChainEndOptions& options : {ChainEndOptions{.kl = 1.5}, {.entropy = 0.3}, {.kl = 0.5, .entropy = 20}}) {
      const auto loss = [&] {
        const at::Tensor end = moved();
        const at::Tensor distances = (end.flatten(1).unsqueeze(1) - pool.flatten(1)).norm(2, 2);
        return (options.kl * held->given(labels)->energy(end).mean() -
                options.entropy * std::get<0>(distances.min(1)).log().mean())
            .item<double>();
      };
      nn::Tensors gradients;
      const ChainEnd end = chain_end(c.step(before, labels), options, langevin, 1, before, x, labels, pool, gradients);
      EXPECT_NEAR(end.value, loss(), 1e-10);
      c.expect_gradients(gradients, loss);
      nn::Tensors doubled;
      chain_end(c.step(before, labels), options, langevin, 2, before, x, labels, pool, doubled);
      for (auto& [name, g] : doubled) EXPECT_TRUE(at::allclose(g, 2 * gradients.at(name))) << name;
    }
  }
}

// Neighbours that differ far less than they are long.
TEST(ChainEnd, TellsNearDuplicatesApart) {
  const NetworkCase c(small_unet(0), at::kFloat);
  const at::Tensor x = at::rand({2, 1, 8, 8}), before = at::rand({2, 1, 8, 8});
  const at::Tensor step = at::linspace(3e-4, 1e-5, 60).view({60, 1, 1, 1}), pool = x[0].unsqueeze(0) + step;
  nn::Tensors gradients;
  const ChainEnd end = chain_end(c.step(before.slice(0, 0, 1)), {.entropy = 1}, {.step_size = 0.1}, 1,
                                 before.slice(0, 0, 1), x.slice(0, 0, 1), {}, pool, gradients);
  const double nearest = (x[0] - pool[59]).norm().item<double>();
  EXPECT_NEAR(end.distance, nearest, 1e-3 * nearest);
}

// In training: the chains of contrastive divergence alone, and its gradient plus that of their ends.
TEST(ChainEnd, IsAddedToContrastiveDivergence) {
  for (const bool noise_first : {false, true}) {
    for (const auto engine : {engine::Kind::fast, engine::Kind::reference}) {
      SCOPED_TRACE(name_of(engine));
      const NetworkCase c(small_unet(3), at::kFloat, engine);
      const at::Tensor data = at::randn({6, 1, 8, 8}), labels = at::tensor({0, 2, 1, 1, 2, 0}, at::kLong);
      ContrastiveDivergenceOptions plain;
      plain.weight = 0.7;
      plain.steps = 3;
      plain.langevin = {
          .step_size = 0.02, .noise = 0.1, .low = 0, .high = 1, .temperature_end = 0.1, .noise_first = noise_first};
      plain.replay = {.size = 6};
      ContrastiveDivergenceOptions improved = plain;
      improved.end = {.kl = 1, .entropy = 0.3};
      ContrastiveDivergence without(plain, c.graph), with(improved, c.graph);
      const Step step = c.step(data, labels);
      const Loss a = without.loss(step), b = with.loss(step);
      EXPECT_TRUE(at::equal(without.state().at("x"), with.state().at("x")));
      auto chains = sampling::start_chains(plain.start, {1, 8, 8}, 6, step.first_chain, labels, step.seed);
      const sampling::Langevin langevin(plain.langevin, step.seed);
      const auto energy = c.frozen->given(labels);
      for (std::int64_t k = 0; k < 2; ++k) langevin.transition(*energy, chains, {k, 3});
      const at::Tensor before = langevin.gradient_point(chains, {2, 3});
      langevin.transition(*energy, chains, {2, 3});
      nn::Tensors expected = {};
      const ChainEnd end = chain_end(step, improved.end, plain.langevin, 0.7, before, chains.x, labels, {}, expected);
      nn::Tensors difference;
      for (const auto& [name, g] : b.gradients)
        difference[name] = a.gradients.contains(name) ? g - a.gradients.at(name) : g;
      EXPECT_LT(distance(difference, expected), 1e-2);  // differences of larger numbers
      EXPECT_NEAR(b.value.item<double>() - a.value.item<double>(), 0.7 * end.value, 1e-4);
    }
  }
}

// The engine's tangents against autograd's gradients of gradients.
TEST(ChainEnd, GradientsByTheEngineAreAutograds) {
  const NetworkCase fast(small_unet(0), at::kFloat, engine::Kind::fast), exact(small_unet(0), at::kFloat);
  const at::Tensor before = at::randn({6, 1, 8, 8}), x = before + 0.1 * at::randn({6, 1, 8, 8}),
                   pool = at::randn({9, 1, 8, 8});
  nn::Tensors a, b;
  for (auto [c, into] : {std::pair(&fast, &a), std::pair(&exact, &b)})
    chain_end(c->step(before), {.kl = 1, .entropy = 0.3}, {.step_size = 0.1}, 1, before, x, {}, pool, *into);
  EXPECT_LT(distance(a, b), 1e-4);
}

/// What energy matching draws at the step of a NetworkCase.
std::pair<at::Tensor, at::Tensor> drawn_pairs(const at::Tensor& data, double time_end = 1) {
  at::Tensor noise = at::empty(data.sizes()), time = at::empty({data.size(0)});
  for (std::int64_t i = 0; i < data.size(0); ++i) {
    const auto stream = static_cast<std::uint64_t>(first_stream + i);
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

// With dropout the masks are the step's: the same in dE/dx and in its gradient, others at another step.
TEST(EnergyMatching, GradientsWithDropoutAgreeWithFiniteDifferences) {
  NetworkCase c(
      nn::residual(
          {.stem = 4, .blocks = "4d 4", .activation = nn::Activation::silu, .spectral_norm = false, .dropout = 0.5},
          {1, 8, 8}),
      at::kDouble);
  const at::Tensor data = at::randn({3, 1, 8, 8}, at::kDouble);
  const auto loss = [&](std::int64_t step) {
    Step s = c.step(data);
    s.step = step;
    return EnergyMatching({.transport = false}).loss(s);
  };
  c.expect_gradients(loss(4).gradients, [&] { return loss(4).value.item<double>(); });
}

// The value, its gradient and the slopes that this is made of: all by the masks of the step.
TEST(ContrastiveDivergence, TrainsWithDropout) {
  const NetworkCase c(nn::residual({.stem = 4, .blocks = "4d 4", .spectral_norm = false, .dropout = 0.5}, {1, 8, 8}),
                      at::kFloat, engine::Kind::fast);
  const at::Tensor data = at::randn({6, 1, 8, 8});
  for (const ContrastForm form : {ContrastForm::linear, ContrastForm::logsumexp, ContrastForm::softplus}) {
    SCOPED_TRACE(name_of(form));
    const auto gradients = [&](std::int64_t at_step) {
      ContrastiveDivergence objective({.form = form,
                                       .energy_l2 = 0.1,
                                       .steps = 1,
                                       .langevin = {.step_size = 1e-9, .noise = 0},
                                       .replay = {.size = 6}},
                                      c.graph);
      Step step = c.step(data);
      step.step = at_step;
      const Loss loss = objective.loss(step);
      const at::Tensor chains = objective.state().at("x").index_select(0, at::argsort(objective.state().at("stream")));
      const nn::Dropout dropout{step.seed, at_step};
      nn::EffectiveWeights leaves;
      nn::Tensors expected;
      std::vector<at::Tensor> inputs;
      for (const auto& [name, w] : c.weights) inputs.push_back(leaves[name] = w.detach().requires_grad_());
      const at::Tensor e = nn::evaluate(c.graph, leaves, at::cat({data, chains}), {}, &dropout);
      const at::Tensor value = contrastive_divergence(form, e.slice(0, 0, 6), e.slice(0, 6), 0.1);
      const auto found = torch::autograd::grad({value}, inputs, {}, false, false, true);
      std::size_t i = 0;
      for (const auto& [name, _] : leaves) {
        if (found[i].defined()) expected[name] = found[i];
        ++i;
      }
      EXPECT_NEAR(loss.value.item<double>(), value.item<double>(), 1e-4);
      EXPECT_LT(distance(loss.gradients, expected), 1e-4);
      return loss.gradients;
    };
    EXPECT_GT(distance(gradients(4), gradients(5)), 1e-2);
  }
}

// The engine's tangents against autograd's gradients of gradients.
TEST(EnergyMatching, GradientsByTheEngineAreAutograds) {
  const at::Tensor labels = at::tensor({0, 2, 1, 1, 2, 0}, at::kLong);
  const NetworkCase fast(small_unet(3), at::kFloat, engine::Kind::fast), exact(small_unet(3), at::kFloat);
  ASSERT_TRUE(fast.frozen->derives_parameters());
  const at::Tensor data = at::randn({6, 1, 8, 8});
  const Loss a = EnergyMatching({.weight = 0.7}).loss(fast.step(data, labels)),
             b = EnergyMatching({.weight = 0.7}).loss(exact.step(data, labels));
  EXPECT_NEAR(a.value.item<double>(), b.value.item<double>(), 1e-5 * b.value.item<double>());
  EXPECT_LT(distance(a.gradients, b.gradients), 1e-4);
}

}  // namespace
}  // namespace igebm::training
