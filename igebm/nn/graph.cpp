#include "igebm/nn/graph.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "igebm/base/error.h"

namespace igebm::nn {
namespace {

template <typename Enum>
using Names = std::vector<std::pair<Enum, const char*>>;

const Names<Op> op_names = {
    {Op::input, "input"},
    {Op::affine, "affine"},
    {Op::conv2d, "conv2d"},
    {Op::linear, "linear"},
    {Op::group_norm, "group_norm"},
    {Op::leaky_relu, "leaky_relu"},
    {Op::silu, "silu"},
    {Op::avg_pool, "avg_pool"},
    {Op::upsample, "upsample"},
    {Op::unshuffle, "unshuffle"},
    {Op::add, "add"},
    {Op::concat, "concat"},
    {Op::sum_pool, "sum_pool"},
    {Op::mean_pool, "mean_pool"},
    {Op::flatten, "flatten"},
    {Op::inner, "inner"},
    {Op::half_square, "half_square"},
    {Op::squeeze, "squeeze"},
    {Op::label_bias, "label_bias"},
    {Op::label_gain, "label_gain"},
    {Op::label_planes, "label_planes"},
    {Op::attention, "attention"},
    {Op::dropout, "dropout"},
};
const Names<Norm> norm_names = {
    {Norm::none, "none"}, {Norm::spectral, "spectral"}, {Norm::spectral_capped, "spectral_capped"}};
const Names<Init> init_names = {{Init::he, "he"}, {Init::zero, "zero"}, {Init::tiny, "tiny"}};

template <typename Enum>
const char* to_name(const Names<Enum>& names, Enum value) {
  for (const auto& [known, text] : names) {
    if (known == value) return text;
  }
  return "?";
}

template <typename Enum>
Enum from_name(const Names<Enum>& names, const std::string& text, const char* what) {
  for (const auto& [known, name] : names) {
    if (text == name) return known;
  }
  throw UserError(fmt::format("network description: unknown {} \"{}\"; it may come from a newer igebm", what, text));
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
  return std::none_of(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return n.op == Op::leaky_relu; });
}

const char* name(Op op) { return to_name(op_names, op); }

std::string to_json(const Graph& graph) {
  nlohmann::ordered_json json;
  json["input_shape"] = graph.input_shape;
  json["classes"] = graph.classes;
  if (graph.outputs > 0) json["outputs"] = graph.outputs;
  if (graph.conditions > 0) json["conditions"] = graph.conditions;
  if (graph.condition_classes > 0) json["condition_classes"] = graph.condition_classes;
  if (graph.noise_features > 0) json["noise_features"] = graph.noise_features;
  json["nodes"] = nlohmann::ordered_json::array();
  for (Node n : graph.nodes) {
    nlohmann::ordered_json j;
    j["op"] = name(n.op);
    j["inputs"] = n.inputs;
    if (!n.name.empty()) j["name"] = n.name;
    for_each_field(n, [&](const char* key, const auto& value, const auto& usual) {
      if (value != usual) j[key] = value;
    });
    if (n.norm != Norm::none) j["norm"] = to_name(norm_names, n.norm);
    if (n.init != Init::he) j["init"] = to_name(init_names, n.init);
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
    for (auto j : json.at("nodes")) {
      Node n;
      n.op = from_name(op_names, j.at("op").get<std::string>(), "operation");
      n.inputs = j.at("inputs").get<std::vector<int>>();
      n.name = j.value("name", "");
      n.norm = from_name(norm_names, j.value("norm", "none"), "normalisation");
      n.init = from_name(init_names, j.value("init", "he"), "initialisation");
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

std::vector<std::vector<std::int64_t>> shapes(const Graph& graph) {
  using Shape = std::vector<std::int64_t>;
  std::vector<Shape> all;
  if (graph.nodes.empty()) throw UserError("network: no nodes");
  if (graph.classes > 0 && graph.conditions > 0)
    throw UserError("network: conditional on a class and on numbers; expected one of them");
  if (graph.condition_classes < 0 || graph.noise_features < 0 || graph.noise_features % 2 != 0 ||
      graph.condition_classes + graph.noise_features > graph.conditions) {
    throw UserError(fmt::format("network: {} classes and {} noise features (an even number) among {} conditions",
                                graph.condition_classes, graph.noise_features, graph.conditions));
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& n = graph.nodes[i];
    const std::size_t arity = n.op == Op::input                                              ? 0
                              : (n.op == Op::add || n.op == Op::concat || n.op == Op::inner) ? 2
                              : n.op == Op::attention                                        ? 3
                                                                                             : 1;
    if (n.inputs.size() != arity) misfit(n, i, fmt::format("expected {} inputs, got {}", arity, n.inputs.size()));
    for (const int input : n.inputs) {
      if (input < 0 || static_cast<std::size_t>(input) >= i) misfit(n, i, "an input that is not an earlier node");
    }
    const Shape a = arity > 0 ? all[static_cast<std::size_t>(n.inputs[0])] : graph.input_shape;
    const Shape b = arity > 1 ? all[static_cast<std::size_t>(n.inputs[1])] : Shape{};
    const Shape c = arity > 2 ? all[static_cast<std::size_t>(n.inputs[2])] : Shape{};
    const auto text = [](const Shape& s) { return fmt::format("({})", fmt::join(s, ", ")); };
    const auto image = [&] {
      if (a.size() != 3) misfit(n, i, "expected an image (C, H, W), got " + text(a));
    };
    const auto channels = [&] {
      if (a.empty() || a[0] != n.in) misfit(n, i, fmt::format("expected {} channels, got {}", n.in, text(a)));
    };
    const auto divisible = [&] {
      if (n.k < 1 || a[1] % n.k != 0 || a[2] % n.k != 0)
        misfit(n, i, fmt::format("{} does not divide by {}", text(a), n.k));
    };
    Shape out = a;
    switch (n.op) {
      case Op::conv2d: {
        image(), channels();
        const std::int64_t more = 2 * n.padding + n.padding_end - n.k, h = a[1] + more, w = a[2] + more;
        if (n.k < 1 || n.stride < 1 || n.padding < 0 || n.padding_end < 0 || h < 0 || w < 0)
          misfit(n, i, "kernel larger than the image " + text(a));
        out = {n.out, h / n.stride + 1, w / n.stride + 1};
        break;
      }
      case Op::linear:
        channels();
        if (a.size() != 1) misfit(n, i, "expected features (D), got " + text(a));
        out = {n.out};
        break;
      case Op::group_norm:
        image(), channels();
        if (n.groups < 1 || n.in % n.groups != 0) misfit(n, i, fmt::format("{} channels in {} groups", n.in, n.groups));
        break;
      case Op::avg_pool:
        image(), divisible();
        out = {a[0], a[1] / n.k, a[2] / n.k};
        break;
      case Op::upsample:
        image();
        out = {a[0], a[1] * n.k, a[2] * n.k};
        break;
      case Op::unshuffle:
        image(), divisible();
        out = {a[0] * n.k * n.k, a[1] / n.k, a[2] / n.k};
        break;
      case Op::add:
      case Op::inner:
        if (a != b) misfit(n, i, "shapes " + text(a) + " and " + text(b) + " differ");
        if (n.op == Op::inner) out = {};
        break;
      case Op::concat:
        image();
        if (b.size() != 3 || a[1] != b[1] || a[2] != b[2]) misfit(n, i, "cannot join " + text(a) + " and " + text(b));
        out[0] += b[0];
        break;
      case Op::sum_pool:
      case Op::mean_pool:
        image();
        out = {a[0]};
        break;
      case Op::flatten:
        out = {1};
        for (const auto d : a) out[0] *= d;
        break;
      case Op::half_square:
        out = {};
        break;
      case Op::squeeze:
        if (a != Shape{1}) misfit(n, i, "expected (1), got " + text(a));
        out = {};
        break;
      case Op::label_bias:
      case Op::label_gain:
      case Op::label_planes:
        channels();
        if (n.classes != graph.classes + graph.conditions || n.classes < 1)
          misfit(n, i, "labels of another number of classes or conditions than the network's");
        if (n.op == Op::label_planes) image(), out[0] += n.classes;
        break;
      case Op::attention:
        image();
        if (b.size() != 3 || c.size() != 3 || a[0] != b[0] || b[1] != c[1] || b[2] != c[2])
          misfit(n, i, "queries " + text(a) + ", keys " + text(b) + " and values " + text(c) + " do not fit together");
        out = {c[0], a[1], a[2]};
        break;
      case Op::dropout:
        if (!(n.rate >= 0 && n.rate < 1)) misfit(n, i, fmt::format("expected a rate in [0, 1), got {}", n.rate));
        break;
      case Op::input:
      case Op::affine:
      case Op::leaky_relu:
      case Op::silu:
        break;
    }
    all.push_back(std::move(out));
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
