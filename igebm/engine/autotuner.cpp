#include "igebm/engine/autotuner.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace igebm::engine {
namespace {

using Json = nlohmann::ordered_json;

void write(const Tuned& tuned, Json& to) {
  to["samples"] = tuned.samples;
  auto& chunks = to["chunks"] = Json::object();
  for (const auto& [height, chunk] : tuned.chunks) chunks[std::to_string(height)] = chunk;
  auto& algorithms = to["algorithms"] = Json::object();
  for (const auto& [layer, algorithm] : tuned.algorithms) algorithms[layer] = algorithm;
}

Tuned read(const Json& from) {
  Tuned tuned{.samples = from.at("samples").get<int>()};
  if (tuned.samples < 1 || tuned.samples > 4096) throw std::invalid_argument("samples: expected 1 to 4096");
  for (const auto& [height, chunk] : from.at("chunks").items())
    tuned.chunks[std::stoi(height)] = std::max(1, chunk.get<int>());
  for (const auto& [layer, algorithm] : from.at("algorithms").items())
    tuned.algorithms.emplace_back(layer, algorithm.get<std::string>());
  return tuned;
}

}  // namespace

std::string to_json(const NetworkChoices& choices) {
  Json json = {{"kernels", choices.kernels}, {"precision", name_of(choices.precision)}};
  if (choices.f32) write(choices.f32, json);
  json["training_samples"] = choices.training_samples;
  if (choices.tangent_samples > 0) json["tangent_samples"] = choices.tangent_samples;
  if (choices.tiles) write(choices.tiles, json["tiles"]);
  if (!choices.chosen.empty()) json["chosen"] = choices.chosen;
  return json.dump();
}

NetworkChoices network_choices(const std::string& text) {
  const auto json = Json::parse(text);
  const auto precision = value_of<Precision>(json.at("precision").get<std::string>());
  if (!precision) throw std::invalid_argument("precision: of another version");
  NetworkChoices choices{.kernels = json.at("kernels").get<std::string>(),
                         .precision = *precision,
                         .training_samples = std::clamp(json.value("training_samples", 0), 0, 4096),
                         .tangent_samples = std::clamp(json.value("tangent_samples", 0), 0, 4096),
                         .chosen = json.value("chosen", "")};
  if (json.contains("samples")) choices.f32 = read(json);
  if (json.contains("tiles")) choices.tiles = read(json.at("tiles"));
  return choices;
}

Tuned Autotuner::choose(const std::string& key, const std::function<Tuned()>& measure) {
  {
    const std::scoped_lock lock(mutex_);
    const auto found = kept_.find(key);
    if (found != kept_.end()) return found->second;
  }
  Tuned measured = measure();
  const std::scoped_lock lock(mutex_);
  return kept_.emplace(key, std::move(measured)).first->second;
}

}  // namespace igebm::engine
