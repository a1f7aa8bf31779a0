#include "igebm/classification/refined.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"
#include "tests/refusals.h"

namespace igebm::classification {
namespace {

/// Curved, and each pixel's gradient depends on the others.
struct Wavy : energy::Energy {
  at::Tensor energy(const at::Tensor& x) const override {
    return (3 * x).sin().flatten(1).sum(1) + x.flatten(1).sum(1).square() / 8;
  }
};

NetworkLogits small_classifier() {
  const nn::Graph graph = nn::classifier({.channels = {4}, .features = 6}, {1, 4, 4}, 3);
  const nn::Network network(graph, 1);
  nn::EffectiveWeights weights;
  for (const auto& [name, value] : network.effective_weights()) weights[name] = value.detach().to(at::kDouble);
  return {graph, weights};
}

Refined refined(const Logits& inner, const RefineOptions& options) {
  return {inner, std::make_shared<Wavy>(), c10::Device(c10::DeviceType::CPU), options};
}

at::Tensor pictures() {
  at::manual_seed(4);
  return 0.1 + 0.8 * at::rand({5, 1, 4, 4}, at::kDouble);
}
const at::Tensor labels = at::tensor({0, 1, 2, 0, 1}, at::kLong);

TEST(Refined, StaysInTheBoxAndFallsInEnergy) {
  const NetworkLogits inner = small_classifier();
  const at::Tensor x = pictures();
  const Refined r = refined(inner, {.steps = 10, .box = 0.05, .step_size = 0.02, .noise = 0.01});
  const at::Tensor after = r.refine(x, 0);
  EXPECT_LE((after - x).abs().max().item<double>(), 0.05 + 1e-12);
  EXPECT_LT(Wavy().energy(after).sum().item<double>(), Wavy().energy(x).sum().item<double>());
  EXPECT_TRUE(after.equal(r.refine(x, 0)));
  EXPECT_FALSE(after.equal(r.refine(x, 1)));
  EXPECT_FALSE(r.of(x).equal(r.of(x)));  // its noise is new each time
}

/// The gradient as identity sees it is the classifier's own, at where the steps end.
TEST(Refined, IdentityTakesTheGradientAtTheEnd) {
  const NetworkLogits inner = small_classifier();
  const at::Tensor x = pictures();
  const Refined r = refined(inner, {.steps = 3, .box = 0.1, .step_size = 0.02, .noise = 0, .chains = 2});
  const at::Tensor end = r.refine(x, 0);
  EXPECT_LT((r.pull(x, labels).gradient - inner.pull(end, labels).gradient).abs().max().item<double>(), 1e-9);
  EXPECT_LT((r.of(x) - inner.of(end)).abs().max().item<double>(), 1e-9);
}

/// Both where nothing meets the box, and where most pixels do.
TEST(Refined, ThroughTheStepsIsTheFiniteDifference) {
  const NetworkLogits inner = small_classifier();
  const at::Tensor x = pictures();
  for (const double box : {1.0, 0.03}) {
    const Refined r =
        refined(inner, {.steps = 4, .box = box, .step_size = 0.03, .noise = 0, .chains = 1, .through = Through::steps});
    const at::Tensor gradient = r.pull(x, labels).gradient;
    const Refined by_identity = refined(inner, {.steps = 4, .box = box, .step_size = 0.03, .noise = 0, .chains = 1});
    const double scale = gradient.abs().max().item<double>();
    EXPECT_GT((gradient - by_identity.pull(x, labels).gradient).abs().max().item<double>(), 0.01 * scale);
    constexpr double h = 1e-3;
    for (std::int64_t i = 0; i < 16; ++i) {
      at::Tensor shift = at::zeros_like(x);
      shift.flatten(1).select(1, i).fill_(h);
      const at::Tensor slope =
          (cross_entropies(r.of(x + shift), labels) - cross_entropies(r.of(x - shift), labels)) / (2 * h);
      EXPECT_LT((slope - gradient.flatten(1).select(1, i)).abs().max().item<double>(), 0.02 * scale)
          << "box " << box << ", pixel " << i;
    }
  }
}

TEST(Refined, Refuses) {
  EXPECT_SAYS(check(RefineOptions{.steps = -1}), "steps");
  EXPECT_SAYS(check(RefineOptions{.box = -1}), "box");
  EXPECT_SAYS(check(RefineOptions{.chains = 0}), "chain");
}

}  // namespace
}  // namespace igebm::classification
