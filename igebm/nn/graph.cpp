#include "igebm/nn/graph.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "igebm/base/error.h"

namespace igebm::nn {
namespace {

UserError unknown(const char* what, const std::string& text) {
  return UserError(fmt::format("network description: unknown {} \"{}\"; it may come from a newer igebm", what, text));
}

template <NamedEnum Enum>
Enum from_name(const std::string& text, const char* what) {
  if (const auto value = value_of<Enum>(text)) return *value;
  throw unknown(what, text);
}

// One list of fields serves writing and reading.
template <typename Visit>
void for_each_field(Node& n, const Visit& visit) {
  visit("in", n.in, std::int64_t{0});
  visit("out", n.out, std::int64_t{0});
  visit("k", n.k, std::int64_t{0});
  visit("stride", n.stride, std::int64_t{1});
  visit("padding", n.padding, std::int64_t{0});
  visit("padding_end", n.padding_end, std::int64_t{0});
  visit("groups", n.groups, std::int64_t{1});
  visit("classes", n.classes, std::int64_t{0});
  visit("bias", n.bias, false);
  visit("scale", n.scale, 1.0);
  visit("shift", n.shift, 0.0);
  visit("slope", n.slope, 0.2);
  visit("rate", n.rate, 0.0);
}

Op op_from_name(const std::string& text) {
  for (const Operation& known : operations()) {
    if (text == known.name) return known.op;
  }
  throw unknown("operation", text);
}

[[noreturn]] void misfit(const Node& n, std::size_t index, const std::string& what) {
  throw UserError(
      fmt::format("network: node {} ({}{}{}): {}", index, name(n.op), n.name.empty() ? "" : " ", n.name, what));
}

}  // namespace

int Graph::add(Node node) {
  nodes.push_back(std::move(node));
  return static_cast<int>(nodes.size()) - 1;
}

at::Tensor Graph::some_labels(std::int64_t count) const {
  if (conditions > 0) return at::zeros({count, conditions});
  return classes > 0 ? at::zeros({count}, at::kLong) : at::Tensor();
}

void Graph::check_labels(const at::Tensor& labels, std::int64_t count) const {
  if (conditions > 0 && (!labels.defined() || !labels.is_floating_point() || labels.dim() != 2 ||
                         labels.size(0) != count || labels.size(1) != conditions)) {
    throw UserError(fmt::format("network: expected a row of {} conditions for each of {} inputs", conditions, count));
  }
  if (classes > 0 &&
      (!labels.defined() || labels.scalar_type() != at::kLong || labels.dim() != 1 || labels.size(0) != count)) {
    throw UserError(fmt::format("network: expected one label in [0, {}) for each of {} inputs", classes, count));
  }
}

bool is_smooth(const Graph& graph) {
  return std::none_of(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return !operation(n.op).smooth; });
}

std::vector<Shape> input_shapes(const Node& node, const std::vector<Shape>& shapes) {
  std::vector<Shape> all;
  for (const int input : node.inputs) all.push_back(shapes[static_cast<std::size_t>(input)]);
  return all;
}

std::string to_json(const Graph& graph) {
  nlohmann::ordered_json json;
  json["input_shape"] = graph.input_shape;
  json["classes"] = graph.classes;
  if (graph.outputs > 0) json["outputs"] = graph.outputs;
  if (graph.conditions > 0) json["conditions"] = graph.conditions;
  if (graph.condition_classes > 0) json["condition_classes"] = graph.condition_classes;
  if (graph.noise_features > 0) json["noise_features"] = graph.noise_features;
  if (graph.number_features > 0) json["number_features"] = graph.number_features;
  if (graph.optional_condition) json[graph.condition_classes > 0 ? "optional_class" : "optional_numbers"] = true;
  json["nodes"] = nlohmann::ordered_json::array();
  for (Node n : graph.nodes) {
    nlohmann::ordered_json j;
    j["op"] = name(n.op);
    j["inputs"] = n.inputs;
    if (!n.name.empty()) j["name"] = n.name;
    for_each_field(n, [&](const char* key, const auto& value, const auto& usual) {
      if (value != usual) j[key] = value;
    });
    if (n.norm != Norm::none) j["norm"] = name_of(n.norm);
    if (n.init != Init::he) j["init"] = name_of(n.init);
    json["nodes"].push_back(std::move(j));
  }
  return json.dump();
}

Graph graph_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    Graph graph;
    graph.input_shape = json.at("input_shape").get<std::vector<std::int64_t>>();
    graph.classes = json.at("classes").get<std::int64_t>();
    graph.outputs = json.value("outputs", std::int64_t{0});
    graph.conditions = json.value("conditions", std::int64_t{0});
    graph.condition_classes = json.value("condition_classes", std::int64_t{0});
    graph.noise_features = json.value("noise_features", std::int64_t{0});
    graph.number_features = json.value("number_features", std::int64_t{0});
    graph.optional_condition = json.value(graph.condition_classes > 0 ? "optional_class" : "optional_numbers", false);
    for (auto j : json.at("nodes")) {
      Node n;
      n.op = op_from_name(j.at("op").get<std::string>());
      n.inputs = j.at("inputs").get<std::vector<int>>();
      n.name = j.value("name", "");
      n.norm = from_name<Norm>(j.value("norm", "none"), "normalisation");
      n.init = from_name<Init>(j.value("init", "he"), "initialisation");
      for (const char* key : {"op", "inputs", "name", "norm", "init"}) j.erase(key);
      for_each_field(n, [&](const char* key, auto& value, const auto& usual) {
        value = j.value(key, usual);
        j.erase(key);
      });
      if (!j.empty()) {
        throw UserError(
            fmt::format("network description: unknown field \"{}\" of operation {}", j.begin().key(), name(n.op)));
      }
      graph.nodes.push_back(std::move(n));
    }
    shapes(graph);
    return graph;
  } catch (const nlohmann::json::exception& e) {
    throw UserError(fmt::format("network description: not the JSON of a network ({})", e.what()));
  }
}

std::vector<Shape> shapes(const Graph& graph) {
  if (graph.nodes.empty()) throw UserError("network: no nodes");
  if (graph.classes > 0 && graph.conditions > 0)
    throw UserError("network: conditional on a class and on numbers; expected one of them");
  if (graph.condition_classes < 0 || graph.noise_features < 0 || graph.noise_features % 2 != 0 ||
      graph.condition_classes + graph.noise_features > graph.conditions) {
    throw UserError(fmt::format("network: {} classes and {} noise features (an even number) among {} conditions",
                                graph.condition_classes, graph.noise_features, graph.conditions));
  }
  const std::int64_t numbers =
      graph.conditions - graph.condition_classes - graph.number_features - graph.noise_features;
  if (graph.number_features < 0 || graph.number_features % 2 != 0 ||
      (graph.number_features > 0 &&
       (graph.condition_classes > 0 || graph.noise_features == 0 || numbers < (graph.optional_condition ? 2 : 1))))
    throw UserError(fmt::format("network: {} features of numbers (an even number) of {}, beside {} noise features",
                                graph.number_features, numbers, graph.noise_features));
  if (graph.optional_condition && (graph.noise_features == 0 || (graph.condition_classes == 0 && numbers < 2)))
    throw UserError(
        "network: optional_class or optional_numbers: expected a class or numbers, and noise_features, beside it");
  std::vector<Shape> all;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& n = graph.nodes[i];
    const Operation& op = operation(n.op);
    if (n.inputs.size() != op.inputs)
      misfit(n, i, fmt::format("expected {} inputs, got {}", op.inputs, n.inputs.size()));
    for (const int input : n.inputs) {
      if (input < 0 || static_cast<std::size_t>(input) >= i) misfit(n, i, "an input that is not an earlier node");
    }
    try {
      all.push_back(op.shape(n, graph, input_shapes(n, all)));
    } catch (const UserError& e) {
      misfit(n, i, e.what());
    }
  }
  const Shape result = graph.outputs > 0 ? Shape{graph.outputs} : Shape{};
  if (all.back() != result) {
    misfit(graph.nodes.back(), graph.nodes.size() - 1,
           graph.outputs > 0 ? fmt::format("the last node must be {} logits", graph.outputs)
                             : "the last node must be an energy, one number");
  }
  return all;
}

}  // namespace igebm::nn
