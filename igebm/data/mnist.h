#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// The four IDX files of MNIST (LeCun et al. 1998) and of what is published in its form, such as Fashion-MNIST (Xiao
/// et al. 2017), in options.path: {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz].
/// Throws UserError: missing files; images and labels that do not belong together; labels that have no name.
Dataset mnist_files(const Options& options, bool test, std::vector<std::string> class_names);

/// EMNIST (Cohen et al. 2017), one of options.variant's six sets of digits and letters, in options.path:
/// emnist-VARIANT-{train,test}-{images-idx3,labels-idx1}-ubyte[.gz]. Its files hold pictures by columns; here they are
/// upright.
Dataset emnist(const Options& options, bool test);

/// Pictures of any size (N, H, W) or (N, C, H, W) in files named like MNIST's in options.path. Labels are optional;
/// there are as many classes as the training labels' greatest says.
Dataset idx_files(const Options& options, bool test);

}  // namespace igebm::data
