#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// Pictures under options.path as find_pictures (picture_files.h) finds them. Resized to options.size; colour unless
/// options.channels is 1. With options.count so many of them, chosen at random, always the same.
Dataset image_folder(const Options& options, bool test);

}  // namespace igebm::data
