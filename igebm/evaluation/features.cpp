#include "igebm/evaluation/features.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>

#include "igebm/base/error.h"

namespace igebm::evaluation {
namespace {

class Coordinates : public Features {
 public:
  Extracted extract(const at::Tensor& points) const override { return {points.flatten(1), {}}; }
  std::string description() const override { return "the points' coordinates"; }
};

}  // namespace

FeaturesPtr coordinates() { return std::make_shared<Coordinates>(); }

FeaturesPtr load_features(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  if (path == gradients_name) return gradient_features();
  const std::string expected =
      "expected features in a classifier's run or .safetensors file, a CIFAR ResNet's .npz, a TorchScript .pt, or ";
  if (!fs::exists(path))
    throw UserError(fmt::format("{}: no such features; {}{}", path.string(), expected, gradients_name));
  if (fs::is_directory(path) || path.extension() == ".safetensors") return classifier_features(path);
  if (path.extension() == ".npz") return cifar_resnet(path);
  if (path.extension() == ".pt" || path.extension() == ".pth" || path.extension() == ".ts") return torchscript(path);
  throw UserError(fmt::format("{}: {}{}", path.string(), expected, gradients_name));
}

Extracted extract_all(const Features& features, const at::Tensor& pictures, std::int64_t batch,
                      const Progress& progress) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> values, probabilities;
  for (std::int64_t begin = 0; begin < pictures.size(0); begin += batch) {
    at::Tensor x = pictures.slice(0, begin, std::min(begin + batch, pictures.size(0)));
    if (x.dim() == 4) {
      // floor(256 x) undoes both ways that pictures become numbers: p / 255, and (p + u) / 256 with u in [0, 1).
      if (x.scalar_type() != at::kByte) x = x.mul(256).floor().clamp(0, 255);
      x = x.to(at::kFloat).div_(255);
    }
    const Extracted part = features.extract(x);
    values.push_back(part.features);
    if (part.probabilities.defined()) probabilities.push_back(part.probabilities);
    if (progress) progress(begin + x.size(0), pictures.size(0));
  }
  if (values.empty()) throw UserError("features: no pictures");
  return {at::cat(values), probabilities.empty() ? at::Tensor() : at::cat(probabilities)};
}

}  // namespace igebm::evaluation
