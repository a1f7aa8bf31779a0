#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// The four IDX files of MNIST (LeCun et al. 1998) and of what is published in its form, such as Fashion-MNIST (Xiao
/// et al. 2017), in options.path or else in the folder `usual`: {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz].
/// Throws UserError: `hint` where files are missing; images and labels that do not belong together; labels that have
/// no name.
Dataset mnist_files(const Options& options, bool test, const char* usual, const char* hint,
                    std::vector<std::string> class_names);

/// Pictures of any size (N, H, W) or (N, C, H, W) in files named like MNIST's in options.path. Labels are optional;
/// there are as many classes as the training labels' greatest says.
Dataset idx_files(const Options& options, bool test);

}  // namespace igebm::data
