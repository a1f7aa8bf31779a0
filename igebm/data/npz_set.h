#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// Arrays in the file options.path. Pictures or points: "x_train" and "x_test" as in Keras' files, or one split,
/// training, in "images", "x", "data", "points" or "arr_0"; labels (N), where there are any, in "y_train" and "y_test",
/// or "labels" or "y"; conditions (N, F) in "conditions". Pictures: (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or
/// 3; bytes, or floats in [0, 1], which are rounded to bytes. Points: floats (N, D).
Dataset npz_arrays(const Options& options, bool test);

}  // namespace igebm::data
