#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "igebm/evaluation/features.h"

namespace igebm::evaluation {

FeaturesPtr features_or_usual(const std::string& path, const data::Options& data, bool pictures) {
  namespace fs = std::filesystem;
  if (!path.empty()) return load_features(path);
  if (!pictures) return coordinates();
  const fs::path usual = fs::path("runs") / ("classifier-" + data.name);
  if (fs::exists(usual / "checkpoints")) return load_features(usual);
  std::string set = "--set data.name=" + data.name;
  if (!data.path.empty()) set += " --set data.path=" + data.path;
  if (!data.variant.empty()) set += " --set data.variant=" + data.variant;
  for (const auto& [key, value] : {std::pair("size", data.size), {"channels", data.channels}, {"count", data.count}}) {
    if (value > 0) set += fmt::format(" --set data.{}={}", key, value);
  }
  if (!data.flip && data.name != "fashion-mnist") set += " --set data.flip=false";
  return gradient_features(fmt::format(
      "a classifier's tell more: igebm train recipes/classifier-fashion-mnist.toml {} --out {}", set, usual.string()));
}

}  // namespace igebm::evaluation
