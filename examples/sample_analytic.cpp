// Sample an energy with a formula: three Gaussians in the plane, by Langevin dynamics.
#include <ATen/ATen.h>

#include <cstdio>

#include "igebm/energy/analytic.h"
#include "igebm/sampling/langevin.h"

int main() {
  using namespace igebm;
  const energy::GaussianMixture mixture(at::ones({3}), at::tensor({-1.0, 0.0, 1.0, 0.0, 0.0, 1.5}).reshape({3, 2}),
                                        at::full({3}, 0.4));

  // 10,000 chains, each with a stream of random numbers of its own.
  auto chains = sampling::start_chains({.start = sampling::Start::normal}, {2}, 10000, 0, {}, /*seed=*/1);
  const sampling::Langevin langevin({.step_size = 0.02, .noise = -1}, /*seed=*/1);
  sampling::run(langevin, mixture, chains, 500,
                [](sampling::Position p, const sampling::StepInfo& info, const sampling::Chains&) {
                  if (p.step % 100 == 0)
                    std::printf("step %3ld: mean energy %.3f, gradient %.3f\n", static_cast<long>(p.step), info.energy,
                                info.gradient_norm);
                });
  std::printf("mean of the samples: (%.3f, %.3f); of the mixture: (0, 0.5)\n", chains.x.mean(0)[0].item<double>(),
              chains.x.mean(0)[1].item<double>());
}
