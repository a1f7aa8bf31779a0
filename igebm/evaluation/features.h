#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/data/data.h"

namespace igebm::evaluation {

struct Extracted {
  at::Tensor features;       ///< (N, D) float
  at::Tensor probabilities;  ///< (N, K) of classes, undefined where the network does not classify

  std::int64_t told_classes() const { return probabilities.defined() ? probabilities.size(1) : 0; }
};

/// What pictures are compared by: a fixed network's values. A new kind is a subclass, and a case in load_features.
class Features {
 public:
  virtual ~Features() = default;
  /// pictures: float (N, C, H, W) in [0, 1]; points: float (N, D). Throws UserError where their shape does not fit.
  virtual Extracted extract(const at::Tensor& pictures) const = 0;
  virtual std::string description() const = 0;
};

using FeaturesPtr = std::shared_ptr<const Features>;

/// A classifier that igebm has trained, from its run's or checkpoint's folder or its .safetensors file: the values that
/// enter its last layer.
FeaturesPtr classifier_features(const std::filesystem::path& path);

/// A residual network for CIFAR-10 (He et al. 2016) from an .npz file in the layout of akamaster/pytorch_resnet_cifar10
/// (conv1.weight (16, 3, 3, 3), bn1.weight, ..., layer3.2.bn2.running_var, linear.weight (10, 64)): the 64 means over
/// space before its last layer. Pictures (3, 32, 32), normalised by ImageNet's means and deviations as in its training.
FeaturesPtr cifar_resnet(const std::filesystem::path& path);

/// A TorchScript module. One whose forward takes `return_features`, as NVIDIA's inception-2015-12-05.pt of published
/// FID figures does, gives features with it, and class probabilities without it (with `no_output_bias` where it takes
/// that, as the published Inception scores have it). Any other gives its value as features. It is called with pictures
/// float (N, C, H, W), 0 ... 255, grey ones in three equal channels.
FeaturesPtr torchscript(const std::filesystem::path& path);

/// Oriented gradients (oriented_gradients.h) of pictures no wider or higher than 32 pixels, larger ones shrunk to that;
/// averaged over squares of 2 x 2 places and multiplied by ten: (N, 144) of 28 x 28 pixels. Nobody trains them, so any
/// pictures can be compared by them; they tell no classes.
/// `note` is said with their description.
FeaturesPtr gradient_features(const std::string& note = {});

/// Points as they are.
FeaturesPtr coordinates();

/// The name by which load_features gives gradient_features.
inline constexpr const char* gradients_name = "gradients";

/// By what `path` holds, or gradients_name. Throws UserError naming the file that is missing, truncated, or of no known
/// kind.
FeaturesPtr load_features(const std::filesystem::path& path);

/// `path`'s features; where it is empty, the usual ones: points' coordinates, for pictures the classifier in
/// runs/classifier-<data>, or where there is none gradient_features.
FeaturesPtr features_or_usual(const std::string& path, const data::Options& data, bool pictures);

/// Features of many pictures, in parts that fit in memory. Pictures are uint8 or, in [0, 1], float; these are taken as
/// 8 bits too, floor(256 x), so that samples meet real pictures as a file would hold them. Points stay as they are.
/// `progress` hears of each part.
Extracted extract_all(const Features& features, const at::Tensor& pictures, std::int64_t batch = 250,
                      const Progress& progress = {});

}  // namespace igebm::evaluation
