#include "igebm/model/picture.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "igebm/io/picture.h"

namespace igebm::model {

at::Tensor energies_in_plane(const energy::Energy& energy, c10::Device device, double bound) {
  const at::NoGradGuard no_grad;
  constexpr std::int64_t side = 400;
  const at::Tensor axis = at::linspace(-bound, bound, side);
  const at::Tensor points = at::stack({axis.repeat({side}), axis.flip(0).repeat_interleave(side)}, 1);
  std::vector<at::Tensor> energies;  // in pieces: a network's values of all points at once fill 100 MB
  for (const at::Tensor& some : points.split(8192)) energies.push_back(energy.energy(some.to(device)).cpu());
  return at::cat(energies).reshape({side, side});
}

at::Tensor energies_in_plane(const Model& model, double bound) {
  return energies_in_plane(*model.energy(zero_condition(model.condition_spec())), model.device(), bound);
}

at::Tensor picture_of_plane(const energy::Energy& energy, c10::Device device, const at::Tensor& x, double extent,
                            const at::Tensor& data) {
  const double bound = std::max(1.0, std::ceil(extent * 1.1));
  const at::Tensor energies = energies_in_plane(energy, device, bound);
  std::vector<at::Tensor> parts = {io::density(energies, {}, bound), io::scatter(x, bound, energies.size(0))};
  if (data.defined()) parts.push_back(io::scatter(data, bound, energies.size(0)));
  return io::side_by_side(parts);
}

at::Tensor picture_of(const Model& model, const at::Tensor& x, double extent, const at::Tensor& data) {
  if (model.space().kind == SampleSpace::Kind::image) return io::grid(model.space().to_unit(x));
  return picture_of_plane(*model.energy(zero_condition(model.condition_spec())), model.device(), x, extent, data);
}

}  // namespace igebm::model
