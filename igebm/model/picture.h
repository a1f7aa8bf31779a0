#pragma once

#include "igebm/model/model.h"

namespace igebm::model {

/// Energies on a square grid out to `bound` in the plane, (side, side) on the CPU, of an energy that takes its input on
/// `device`.
at::Tensor energies_in_plane(const energy::Energy& energy, c10::Device device, double bound);
/// A model's, under a condition of zeros.
at::Tensor energies_in_plane(const Model& model, double bound);

/// What picture_of draws of points: the density of `energy`, beside it x, and beside that `data` where it is defined.
at::Tensor picture_of_plane(const energy::Energy& energy, c10::Device device, const at::Tensor& x, double extent,
                            const at::Tensor& data = {});

/// Samples x of the model, in its range, uint8 (H, W, channels) as io::write_png takes it: a grid of pictures, or for
/// points in the plane out to about `extent` the density exp(-E) (under a condition of zeros), beside it samples, and
/// beside them `data` (N, 2) where it is defined. REQUIRES: io::has_picture of the model's shape.
at::Tensor picture_of(const Model& model, const at::Tensor& x, double extent, const at::Tensor& data = {});

}  // namespace igebm::model
