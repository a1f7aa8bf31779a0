#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "igebm/data/data.h"
#include "igebm/io/npz.h"

namespace igebm::data {

/// The first of `names` that the file has; empty if it has none.
std::string first_array(const io::NpzFile& file, const std::vector<std::string>& names);

/// Pictures (N, H, W), (N, C, H, W) or, where C is 1 or 3 there and not in its place, (N, H, W, C) as (N, C, H, W).
at::Tensor channels_first(const at::Tensor& pictures);

/// Arrays in the file options.path, .npz or a single one in a .npy. Pictures or points: "x_train" and "x_test" as in
/// Keras' files, or one split, training, in "images", "x", "data", "points" or "arr_0"; labels (N), where there are
/// any, in "y_train" and "y_test", or "labels" or "y"; conditions (N, F) in "conditions". Pictures: (N, H, W), (N, C,
/// H, W) or (N, H, W, C) with C 1 or 3; bytes, or floats in [0, 1], which are rounded to bytes. Points: floats (N, D).
Dataset npz_arrays(const Options& options, bool test);

}  // namespace igebm::data
