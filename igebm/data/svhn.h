#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// The house numbers of Netzer et al. 2011, cropped to 32 x 32: train_32x32.mat and test_32x32.mat in options.path.
/// Variant "extra": training also has the 531,131 easier pictures of extra_32x32.mat. Label 10 of the files is digit 0.
Dataset svhn(const Options& options, bool test);

/// The numeric arrays `wanted` of a MATLAB 5 .mat file, in MATLAB's order of dimensions reversed (so X (32, 32, 3, N)
/// is (N, 3, 32, 32) here, rows and columns swapped). Throws UserError with file and offset where it is truncated,
/// damaged, of another version, or lacks one of them.
std::vector<at::Tensor> read_mat(const std::filesystem::path& path, const std::vector<std::string>& wanted);

}  // namespace igebm::data
