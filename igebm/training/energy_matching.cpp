#include "igebm/training/energy_matching.h"

#include <ATen/ATen.h>

#include "igebm/base/random.h"
#include "igebm/io/ranges.h"
#include "igebm/training/slope.h"
#include "igebm/training/transport.h"

namespace igebm::training {

using io::Fields;
using io::Range;
using namespace io::ranges;  // NOLINT(google-build-using-namespace)

void describe(Fields& f, EnergyMatchingOptions& o) {
  f.field("weight", o.weight, positive, "of this term in the loss");
  f.field("time_end", o.time_end, Range{0, 1, true}, "of the way from noise (0) to data (1) that it looks at");
  f.field("equilibrium", o.equilibrium, share,
          "from this time on the slope falls to 0 at the data, which so become minima; 1: never");
  f.field("transport", o.transport, "pair noise and data by minibatch optimal transport");
}

Loss EnergyMatching::loss(const Step& step) {
  const std::int64_t count = step.data.size(0);
  at::Tensor noise = step.normals(Purpose::flow_noise), time = at::empty({count});
  for (std::int64_t i = 0; i < count; ++i) {
    const auto stream = static_cast<std::uint64_t>(step.first_stream + i);
    random_uniform({step.seed, Purpose::flow_time, stream, 0}, {time.data_ptr<float>() + i, 1});
  }
  time *= options_.time_end;
  if (options_.transport) {
    const at::Tensor data = step.data.to(c10::kCPU, at::kFloat);
    noise = noise.index_select(0, pair_by_transport(noise, data, step.labels, [&] { step.check(); }));
  }
  noise = noise.to(step.data.options());
  time = time.to(step.data.options());

  at::Tensor velocity = step.data - noise;
  const at::Tensor x = noise + column(time, noise) * velocity;
  if (options_.equilibrium < 1)
    velocity = column(((1 - time) / (1 - options_.equilibrium)).clamp_max(1), velocity) * velocity;
  Loss loss;
  const at::Tensor slope = match_slope(step, x, step.labels, -velocity,
                                       options_.weight / static_cast<double>(velocity.numel()), loss.gradients)
                               .gradient;
  const at::Tensor value = (slope + velocity).square().mean();
  loss.value = options_.weight * value;
  loss.metrics = {{"loss/energy_matching", value.item<double>()}};
  loss.relative = (value / velocity.square().mean()).item<double>();
  return loss;
}

}  // namespace igebm::training
