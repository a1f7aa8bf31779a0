#include "igebm/evaluation/judge.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/evaluation/quality.h"

namespace igebm::evaluation {

FeaturesPtr features_or_usual(const std::string& path, const std::string& option, const data::Options& data,
                              bool pictures) {
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
  throw UserError(
      fmt::format("{}: no features given, and no {}; a classifier is trained as: "
                  "igebm train recipes/classifier-fashion-mnist.toml {} --out {}",
                  option, usual.string(), set, usual.string()));
}

training::Judge judge(const training::Recipe& recipe) {
  const auto seed = static_cast<std::uint64_t>(recipe.seed);
  const auto training = data::load(recipe.data, data::Split::train, seed);
  const QualityOptions options = {.metrics = {recipe.evaluate.metric}, .seed = seed};
  check_count(options, recipe.evaluate.count, "evaluate.count");
  const auto features =
      features_or_usual(recipe.evaluate.features, "evaluate.features", recipe.data, training.shape().size() == 3);
  const std::int64_t total = training.size();
  const at::Tensor rows = choose(total, std::min<std::int64_t>(total, 10000), seed, ~std::uint64_t{0});
  const Extracted against = extract_all(*features, training.take(rows));
  return [features, against, options](const at::Tensor& samples) {
    const Quality q = measure(extract_all(*features, samples), against, options);
    return q.frechet ? *q.frechet : (q.kid ? q.kid : q.inception)->mean;
  };
}

}  // namespace igebm::evaluation
