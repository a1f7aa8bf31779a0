#include <ATen/ATen.h>
#include <igebm/energy/analytic.h>
#include <igebm/sampling/langevin.h>

#include <cmath>
#include <cstdio>

int main() {
  const igebm::energy::Gaussian gaussian(at::zeros({2}), at::eye(2));
  auto chains = igebm::sampling::start_chains({"normal"}, {2}, 10000, 0, {}, 1);
  igebm::sampling::run(igebm::sampling::Langevin({.step_size = 0.1, .noise = -1}, 1), gaussian, chains, 200);
  const double variance = chains.x.square().mean().item<double>();
  std::printf("variance of Langevin on N(0, 1): %.3f (of the discretised chain: %.3f)\n", variance, 1 / (1 - 0.1 / 2));
  return std::fabs(variance - 1 / (1 - 0.1 / 2)) < 0.05 ? 0 : 1;
}
