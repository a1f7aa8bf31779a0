#pragma once

#include "igebm/evaluation/features.h"
#include "igebm/training/judge.h"

namespace igebm::evaluation {

/// `path`'s features; where it is empty, the usual ones: points' coordinates, for pictures the classifier in
/// runs/classifier-<data>. Throws UserError saying how to train that, or to give others as `option`.
FeaturesPtr features_or_usual(const std::string& path, const std::string& option, const data::Options& data,
                              bool pictures);

/// The recipe's metric of samples against up to 10,000 training pictures (test pictures are kept for the report).
training::Judge judge(const training::Recipe& recipe);

}  // namespace igebm::evaluation
