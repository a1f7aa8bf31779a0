#include "igebm/training/muon.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/training/trainer.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

at::Tensor gradient(int t) {
  const at::Tensor i = at::arange(48, at::kDouble);
  return (0.7 * t * i + i * i / 10).sin().to(at::kFloat).view({6, 2, 2, 2});
}

// torch.optim.Muon's weights after four steps of 0.1 with momentum 0.9 from 0, of torch 2.13 by tests/training/muon.py.
// It orthogonalizes in bfloat16: the same in float differs by 0.002, plain momentum instead of Nesterov's by 0.027.
TEST(Muon, StepsAsPyTorchs) {
  const at::Tensor expected =
      at::tensor({-0.0585F, -0.1069F, 0.0045F,  0.0265F,  0.0435F,  0.0305F,  -0.0416F, -0.0238F, 0.0982F,  -0.1082F,
                  0.0766F,  -0.0103F, -0.0124F, 0.0183F,  0.0120F,  -0.0435F, 0.0389F,  -0.0633F, -0.1408F, 0.0080F,
                  0.0184F,  -0.0225F, -0.0170F, 0.0212F,  0.0160F,  0.0195F,  0.0277F,  0.1062F,  0.1176F,  0.0500F,
                  0.0370F,  0.0321F,  0.0215F,  0.0407F,  -0.0104F, -0.1183F, 0.0986F,  0.0030F,  -0.0301F, 0.0191F,
                  -0.0208F, -0.0038F, 0.0289F,  -0.0026F, 0.0519F,  -0.1662F, 0.0401F,  0.0292F});
  nn::Tensors parameters = {{"w", at::zeros({6, 2, 2, 2})}};
  Muon muon(parameters);
  for (int t = 1; t <= 4; ++t)
    muon.update({.clip = Clip::none, .momentum = 0.9, .factor = 1}, 0.1, parameters, {gradient(t)});
  EXPECT_LT((parameters.at("w").view({-1}) - expected).abs().max().item<double>(), 0.005);
}

// A matrix U S V' becomes U p(S) V' with Jordan's polynomial p(s) = 3.4445 s - 4.775 s^3 + 2.0315 s^5, five times, of
// S / |S|; singular values from 1 % of the norm on come near 1.
TEST(Muon, OrthogonalizesByTheSingularValueDecomposition) {
  at::manual_seed(1);
  for (const auto& [rows, columns] : {std::pair(7, 20), std::pair(20, 7), std::pair(7, 9), std::pair(9, 7)}) {
    const at::Tensor matrix = at::randn({rows, columns}, at::kDouble);
    const auto [u, s, v] = at::linalg_svd(matrix, /*full_matrices=*/false);
    at::Tensor p = s / s.norm();
    for (int i = 0; i < 5; ++i) p = 3.4445 * p - 4.775 * p.pow(3) + 2.0315 * p.pow(5);
    const at::Tensor got = orthogonalized(matrix);
    EXPECT_LT((got - at::mm(u * p, v)).abs().max().item<double>(), 1e-5);
    EXPECT_GT(p.min().item<double>(), 0.65);
    EXPECT_LT(p.max().item<double>(), 1.25);
  }
  EXPECT_TRUE(at::equal(orthogonalized(at::zeros({5, 6})), at::zeros({5, 6})));
  for (const auto& [rows, columns] : {std::pair(7, 20), std::pair(20, 7), std::pair(9, 7)}) {
    const at::Tensor several = at::randn({3, rows, columns}, at::kDouble) * at::tensor({1.0, 5.0, 0.1}).view({3, 1, 1});
    const at::Tensor together = orthogonalized(several);
    for (int i = 0; i < 3; ++i) EXPECT_LT((together[i] - orthogonalized(several[i])).abs().max().item<double>(), 1e-9);
  }
}

TEST(Muon, StepsTogetherAreThoseOfEach) {
  at::manual_seed(3);
  std::vector<at::Tensor> weights;
  for (const std::vector<std::int64_t>& sizes :
       std::vector<std::vector<std::int64_t>>{{8, 2, 3, 3}, {6, 20}, {8, 18}, {20, 6}, {8, 2, 3, 3}, {6, 5, 2, 2}})
    weights.push_back(at::randn(sizes, at::kDouble));
  const std::vector<at::Tensor> together = orthogonal_steps(weights);
  ASSERT_EQ(together.size(), weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const at::Tensor matrix = weights[i].flatten(1);
    const double size = 0.2 * std::sqrt(static_cast<double>(std::max(matrix.size(0), matrix.size(1))));
    EXPECT_LT((together[i] - (size * orthogonalized(matrix)).view(weights[i].sizes())).abs().max().item<double>(),
              1e-9);
  }
}

TEST(Muon, TakesMatricesAndLeavesTheRestToAdam) {
  at::manual_seed(2);
  const nn::Tensors start = {{"bias", at::randn({64})},
                             {"head", at::randn({1, 64})},
                             {"last", at::randn({4, 8, 3, 3})},
                             {"stem", at::randn({32, 4})},
                             {"w", at::randn({8, 2, 3, 3})}};
  const auto copy = [&] {
    nn::Tensors p;
    for (const auto& [name, t] : start) p[name] = t.clone();
    return p;
  };
  std::vector<at::Tensor> gradients;
  for (const auto& [_, t] : start) gradients.push_back(at::randn_like(t));
  nn::Tensors by_muon = copy(), by_adam = copy();
  Muon muon(by_muon);
  Adam adam(by_adam);
  const OptimizerOptions o{.clip = Clip::norm, .clip_norm = 0.5, .factor = 2};
  for (int t = 0; t < 3; ++t) {
    const double norm = adam.update(o, 0.01, by_adam, gradients);
    EXPECT_NEAR(muon.update(o, 0.01, by_muon, gradients), norm, 1e-4 * norm);
  }
  for (const auto& [name, p] : by_muon) {
    const bool same = at::allclose(p, by_adam.at(name), 1e-4, 1e-6);
    EXPECT_EQ(same, name != "w") << name;
  }
  // The root mean square of a step of singular values s is 0.2 factor rate times theirs.
  const at::Tensor moved = (by_muon.at("w") - start.at("w")) / 3;
  EXPECT_NEAR(moved.square().mean().sqrt().item<double>(), 0.2 * 2 * 0.01, 0.2 * 0.2 * 2 * 0.01);
}

TEST(Muon, AGradientThatIsNotFiniteChangesNothing) {
  nn::Tensors parameters = {{"b", at::ones({2})}, {"w", at::ones({6, 6})}};
  Muon muon(parameters);
  at::Tensor bad = at::ones({6, 6});
  bad[3][3] = NAN;
  EXPECT_FALSE(std::isfinite(muon.update({}, 0.1, parameters, {at::ones({2}), bad})));
  EXPECT_TRUE(at::equal(parameters.at("w"), at::ones({6, 6})));
  EXPECT_TRUE(at::equal(parameters.at("b"), at::ones({2})));
  EXPECT_EQ(muon.state().at("momentum").abs().max().item<double>(), 0);
}

TEST(Muon, StateIsOfItsKindAndNetwork) {
  nn::Tensors parameters = {{"b", at::ones({2})}, {"w", at::ones({6, 6})}}, other = {{"w", at::ones({6, 7})}};
  Muon muon(parameters);
  EXPECT_THROW(muon.load(Adam(parameters).state()), UserError);
  EXPECT_THROW(Adam(parameters).load(muon.state()), UserError);
  EXPECT_THROW(muon.load(Muon(other).state()), UserError);
  Adam adam(parameters);
  adam.load(Adam(parameters).state());
}

Recipe with_muon() {
  Recipe recipe = small();
  for (PhaseOptions& p : recipe.phases) p.optimizer.clip = Clip::norm;
  recipe.phases[1].optimizer.kind = OptimizerKind::muon;  // the first phase is Adam's
  return recipe;
}

class MuonRun : public RunTest {};

TEST_F(MuonRun, ResumesBitForBitInAndBetweenPhases) {
  const Recipe recipe = with_choices(with_muon());
  EXPECT_TRUE(Trainer::begin(recipe, folder / "whole", silent).train({}));
  const auto whole = contents(folder / "whole");
  for (const std::int64_t step : {7, 13, 22}) {
    const std::filesystem::path run = folder / std::to_string(step);
    Trainer::begin(recipe, run, silent).train(stop_after(step));
    EXPECT_TRUE(Trainer::resume(run, {}, silent).train({}));
    auto files = contents(run);
    for (const auto& [name, bytes] : whole) EXPECT_TRUE(files[name] == bytes) << name << " after " << step;
  }
  EXPECT_THROW(Trainer::resume(folder / "22", {"phase.refine.optimizer.kind=adam", "phase.refine.steps=30"}, silent),
               UserError);
}

}  // namespace
}  // namespace igebm::training
