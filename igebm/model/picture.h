#pragma once

#include <filesystem>

#include "igebm/model/model.h"

namespace igebm::model {

/// Energies on a square grid out to `bound` in the plane, (side, side) on the CPU, under a condition of zeros: a
/// density's.
at::Tensor energies_in_plane(const Model& model, double bound);

/// `request`'s samples as a PNG file at `path`: a grid of pictures, or for points in the plane the density exp(-E) out
/// to about `extent` with samples on it (under a condition of zeros). REQUIRES: io::has_picture of the model's shape.
void write_picture(const std::filesystem::path& path, const Model& model, const SampleRequest& request, double extent);

}  // namespace igebm::model
