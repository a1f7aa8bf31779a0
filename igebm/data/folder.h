#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// Pictures in class folders under options.path: train/CLASS/*.png and test/CLASS/*.png (or val/, or validation/, where
/// there is no test/), or CLASS/*.png alone, which then has no test split. PNG and JPEG (.png, .jpg, .jpeg in any
/// case), sub-folders of a class too. Classes are numbered in alphabetical order of the training folder. Resized to
/// options.size; colour unless options.channels is 1. Records are in alphabetical order, class by class; with
/// options.count so many of them, chosen at random, always the same.
Dataset image_folder(const Options& options, bool test);

}  // namespace igebm::data
