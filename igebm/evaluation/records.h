#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "igebm/data/data.h"
#include "igebm/model/model.h"

namespace igebm::evaluation {

/// Samples, or real records in their place.
struct Records {
  at::Tensor x;                  ///< pictures (N, C, H, W), float in [0, 1] or uint8; points (N, D), float
  at::Tensor labels = {};        ///< the classes that they were asked to be, or are: (N) int64; undefined: not known
  at::Tensor conditions = {};    ///< the numbers that they were asked to have, or have: (N, F); undefined: none
  std::string name = "samples";  ///< what messages call them

  std::int64_t size() const { return x.size(0); }
  std::vector<std::int64_t> shape() const { return x.sizes().slice(1).vec(); }  ///< of one
};

/// A set's records `rows` (int64; undefined: all), with those columns of their conditions; no columns: without.
Records records_of(const data::Dataset& set, const at::Tensor& rows, const std::vector<std::int64_t>& columns);

/// Samples in a file, .npz or .npy: the array "images", "points", "x", "data" or "arr_0", and their classes in
/// "labels", "y" or "arr_1" where it has them. Pictures are (N, C, H, W), (N, H, W, C) or (N, H, W), float in [0, 1] or
/// uint8; they become float (N, C, H, W). Throws UserError that names the file and the array.
Records read_records(const std::filesystem::path& file);

/// Bytes as numbers in [0, 1], anything else as it is: float.
at::Tensor in_unit(const at::Tensor& x);

/// Bytes of pictures (N, C, H, W) in a model's range, whatever they come from: the middle of their level's bin where
/// its data were dequantised, else pixel / 255. Points are float (N, D) and stay. Throws UserError for another shape.
at::Tensor into_model(const at::Tensor& inputs, const model::SampleSpace& space, bool dequantised);

}  // namespace igebm::evaluation
