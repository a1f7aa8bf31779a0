#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// The downsampled ImageNet (Chrabaszcz et al. 2017) of any side in options.path: train_data_batch_1..10 and val_data,
/// pickled or .npz, with "data" uint8 (N, 3 * side * side) and "labels" from 1 to 1000. Its validation set is the test
/// split.
Dataset imagenet_batches(const Options& options, bool test);

}  // namespace igebm::data
