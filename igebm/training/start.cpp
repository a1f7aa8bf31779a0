#include "igebm/training/start.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/model/shipped.h"
#include "igebm/nn/conditions.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

/// For each class of the new network that class of the model's, -1 where it has none.
std::vector<std::int64_t> matches(const model::ConditionSpec& of, const model::ConditionSpec& from) {
  std::vector<std::int64_t> same(static_cast<std::size_t>(of.classes), -1);
  const bool named = !of.class_names.empty() && !from.class_names.empty();
  for (std::size_t i = 0; i < same.size(); ++i) {
    if (!named) {
      if (of.classes == from.classes) same[i] = static_cast<std::int64_t>(i);
      continue;
    }
    const auto found = std::ranges::find(from.class_names, of.class_names[i]);
    if (found != from.class_names.end()) same[i] = found - from.class_names.begin();
  }
  return same;
}

/// A table of rows for classes, then for whatever else the network is conditional on.
at::Tensor table(const at::Tensor& known, const std::vector<std::int64_t>& same, std::int64_t classes) {
  const at::Tensor of_classes = known.slice(0, 0, classes);
  const at::Tensor mean = classes > 0 ? of_classes.mean(0) : at::zeros({known.size(1)}, known.options());
  std::vector<at::Tensor> rows;
  for (const std::int64_t c : same) rows.push_back(c < 0 ? mean : of_classes[c]);
  const at::Tensor rest = known.slice(0, classes);
  return rows.empty() ? rest : at::cat({at::stack(rows), rest});
}

bool is_table(const nn::Node& n) { return n.op == nn::Op::label_bias || n.op == nn::Op::label_gain; }

}  // namespace

void start_from(Learner& learner, const std::string& what) {
  const at::NoGradGuard no_grad;
  const fs::path path = model::find_model(what);
  const model::NetworkFile file = model::load_network(path);
  const model::ConditionSpec from = model::condition_spec(file.graph, file.metadata), of = learner.condition_spec();
  const auto refuse = [&](const std::string& why) {
    throw UserError(
        fmt::format("train.from: {}: {}; expected the network of the recipe, but for its classes", what, why));
  };
  const nn::Graph& graph = learner.network.graph();
  if (file.graph.input_shape != graph.input_shape) refuse("its input is of another shape");
  if (file.graph.nodes.size() != graph.nodes.size()) refuse("of another architecture");
  if (of.values != from.values || of.noise.has_value() != from.noise.has_value() ||
      graph.noise_features != file.graph.noise_features || graph.number_features != file.graph.number_features)
    refuse("conditional on other numbers or noise levels");
  if (of.noise && of.noise->form != from.noise->form)
    refuse(fmt::format("its energy is of form \"{}\"", name_of(from.noise->form)));
  const std::vector<std::int64_t> same = matches(of, from);
  nn::Tensors tables;  // as the new network has them
  for (const nn::Node& n : file.graph.nodes) {
    const std::string name = n.name + ".weight";
    if (is_table(n)) tables[name] = table(file.parameters.at(name), same, from.classes);
  }
  for (auto& [name, t] : learner.network.parameters()) {
    const auto found = tables.contains(name) ? tables.find(name) : file.parameters.find(name);
    if (found == file.parameters.end()) refuse(fmt::format("it has no {}", name));
    if (found->second.sizes() != t.sizes()) refuse(fmt::format("its {} is of another shape", name));
    t.copy_(found->second);
  }
  for (auto& [name, b] : learner.network.buffers()) {
    const auto found = file.buffers.find(name);
    if (found != file.buffers.end() && found->second.sizes() == b.sizes()) b.copy_(found->second);
  }
  learner.average = Average(learner.network.parameters());
  learner.frozen->refresh(learner.network.effective_weights());
  if (from.noise) learner.keep_scale(*from.noise);
  learner.observer.message(fmt::format("starting from the weights of {}", what));
}

}  // namespace igebm::training
