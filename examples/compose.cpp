// Compose energies: "and" adds them, "or" mixes them, "not" takes one away.
#include "igebm/energy/compose.h"

#include <ATen/ATen.h>

#include <cstdio>
#include <string>

#include "igebm/energy/analytic.h"
#include "igebm/sampling/langevin.h"

int main() {
  using namespace igebm;
  const auto ring = std::make_shared<energy::Rings>(std::vector<double>{1.0}, 0.1);
  const auto right = std::make_shared<energy::Gaussian>(at::tensor({1.5, 0.0}), at::eye(2) * 0.5);
  const energy::Sum both({ring, right});                  // on the ring, and near (1.5, 0)
  const energy::Mixture either({ring, right});            // on the ring, or near (1.5, 0)
  const energy::Sum without({ring, right}, {1.0, -0.5});  // on the ring, but away from (1.5, 0)

  const auto show = [](const std::string& name, const energy::Energy& e) {
    auto chains = sampling::start_chains({.start = sampling::Start::normal}, {2}, 5000, 0, {}, 1);
    sampling::run(sampling::Langevin({.step_size = 0.002, .noise = -1, .low = -3, .high = 3}, 1), e, chains, 2000);
    const at::Tensor radius = chains.x.square().sum(1).sqrt();
    std::printf("%-8s mean x %+.2f, mean radius %.2f\n", name.c_str(), chains.x.select(1, 0).mean().item<double>(),
                radius.mean().item<double>());
  };
  show("ring", *ring);
  show("and", both);
  show("or", either);
  show("not", without);
}
