#include "igebm/nn/operations.h"

#include <c10/util/accumulate.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <stdexcept>

#include "igebm/base/error.h"
#include "igebm/nn/graph.h"

namespace igebm::nn {
namespace {

using InputShapes = std::vector<Shape>;

[[noreturn]] void misfit(const std::string& what) { throw UserError(what); }

std::string text(const Shape& s) { return fmt::format("({})", fmt::join(s, ", ")); }

double elements(const Shape& s) {
  double count = 1;
  for (const auto d : s) count *= static_cast<double>(d);
  return count;
}

void require_image(const Shape& a) {
  if (a.size() != 3) misfit("expected an image (C, H, W), got " + text(a));
}

void require_channels(const Node& n, const Shape& a) {
  if (a.empty() || a[0] != n.in) misfit(fmt::format("expected {} channels, got {}", n.in, text(a)));
}

void require_divisible(const Node& n, const Shape& a) {
  if (n.k < 1 || a[1] % n.k != 0 || a[2] % n.k != 0) misfit(fmt::format("{} does not divide by {}", text(a), n.k));
}

// Shapes.

Shape input_shape(const Node&, const Graph& graph, const InputShapes&) { return graph.input_shape; }

Shape same(const Node&, const Graph&, const InputShapes& in) { return in[0]; }

Shape convolved(const Node& n, const Graph&, const InputShapes& in) {
  const Shape& a = in[0];
  require_image(a);
  require_channels(n, a);
  const std::int64_t more = 2 * n.padding + n.padding_end - n.k, h = a[1] + more, w = a[2] + more;
  if (n.k < 1 || n.stride < 1 || n.padding < 0 || n.padding_end < 0 || h < 0 || w < 0)
    misfit("kernel larger than the image " + text(a));
  return {n.out, h / n.stride + 1, w / n.stride + 1};
}

Shape layer(const Node& n, const Graph&, const InputShapes& in) {
  require_channels(n, in[0]);
  if (in[0].size() != 1) misfit("expected features (D), got " + text(in[0]));
  return {n.out};
}

Shape normalised(const Node& n, const Graph&, const InputShapes& in) {
  require_image(in[0]);
  require_channels(n, in[0]);
  if (n.groups < 1 || n.in % n.groups != 0) misfit(fmt::format("{} channels in {} groups", n.in, n.groups));
  return in[0];
}

Shape pooled(const Node& n, const Graph&, const InputShapes& in) {
  require_image(in[0]);
  require_divisible(n, in[0]);
  return {in[0][0], in[0][1] / n.k, in[0][2] / n.k};
}

Shape enlarged(const Node& n, const Graph&, const InputShapes& in) {
  require_image(in[0]);
  return {in[0][0], in[0][1] * n.k, in[0][2] * n.k};
}

Shape unshuffled(const Node& n, const Graph&, const InputShapes& in) {
  require_image(in[0]);
  require_divisible(n, in[0]);
  return {in[0][0] * n.k * n.k, in[0][1] / n.k, in[0][2] / n.k};
}

Shape of_equal(const Node&, const Graph&, const InputShapes& in) {
  if (in[0] != in[1]) misfit("shapes " + text(in[0]) + " and " + text(in[1]) + " differ");
  return in[0];
}

Shape joined(const Node&, const Graph&, const InputShapes& in) {
  const Shape &a = in[0], &b = in[1];
  require_image(a);
  if (b.size() != 3 || a[1] != b[1] || a[2] != b[2]) misfit("cannot join " + text(a) + " and " + text(b));
  return {a[0] + b[0], a[1], a[2]};
}

Shape channels(const Node&, const Graph&, const InputShapes& in) {
  require_image(in[0]);
  return {in[0][0]};
}

Shape flattened(const Node&, const Graph&, const InputShapes& in) { return {c10::multiply_integers(in[0])}; }

Shape product(const Node& n, const Graph& graph, const InputShapes& in) {
  of_equal(n, graph, in);
  return {};
}

Shape number(const Node&, const Graph&, const InputShapes&) { return {}; }

Shape squeezed(const Node&, const Graph&, const InputShapes& in) {
  if (in[0] != Shape{1}) misfit("expected (1), got " + text(in[0]));
  return {};
}

Shape labelled(const Node& n, const Graph& graph, const InputShapes& in) {
  require_channels(n, in[0]);
  if (n.classes != graph.classes + graph.conditions || n.classes < 1)
    misfit("labels of another number of classes or conditions than the network's");
  return in[0];
}

Shape planes(const Node& n, const Graph& graph, const InputShapes& in) {
  Shape out = labelled(n, graph, in);
  require_image(out);
  out[0] += n.classes;
  return out;
}

Shape attended(const Node&, const Graph&, const InputShapes& in) {
  const Shape &a = in[0], &b = in[1], &c = in[2];
  require_image(a);
  if (b.size() != 3 || c.size() != 3 || a[0] != b[0] || b[1] != c[1] || b[2] != c[2])
    misfit("queries " + text(a) + ", keys " + text(b) + " and values " + text(c) + " do not fit together");
  return {c[0], a[1], a[2]};
}

Shape dropped(const Node& n, const Graph&, const InputShapes& in) {
  if (!(n.rate >= 0 && n.rate < 1)) misfit(fmt::format("expected a rate in [0, 1), got {}", n.rate));
  return in[0];
}

// Parameters.

using Parameters = std::vector<Parameter>;

Parameters none(const Node&) { return {}; }

Parameters with_bias(const Node& n, Shape weight) {
  Parameters all = {{"weight", std::move(weight), Start::init}};
  if (n.bias) all.push_back({"bias", {n.out}, Start::zeros});
  return all;
}

Parameters of_convolution(const Node& n) { return with_bias(n, {n.out, n.in, n.k, n.k}); }
Parameters of_layer(const Node& n) { return with_bias(n, {n.out, n.in}); }
Parameters of_norm(const Node& n) { return {{"weight", {n.in}, Start::ones}, {"bias", {n.in}, Start::zeros}}; }
Parameters of_labels(const Node& n) { return {{"weight", {n.classes, n.in}, Start::zeros}}; }

// Costs: forwards 2 for each multiplication, and as many to the gradient of each factor that depends on the input.

double nothing(const Node&, const InputShapes&, const Shape&) { return 0; }

double convolution_cost(const Node& n, const InputShapes&, const Shape& value) {
  return 4 * elements(value) * static_cast<double>(n.in * n.k * n.k);
}

double layer_cost(const Node& n, const InputShapes&, const Shape& value) {
  return 4 * elements(value) * static_cast<double>(n.in);
}

double attention_cost(const Node&, const InputShapes& in, const Shape& value) {
  return 6 * (elements(in[0]) + elements(value)) * static_cast<double>(in[1][1] * in[1][2]);
}

constexpr std::array table = {
#define IGEBM_LINE(op, inputs, smooth, shape, parameters, cost, value) \
  Operation{Op::op, #op, inputs, smooth, shape, parameters, cost, value},
    IGEBM_OPERATIONS(IGEBM_LINE)
#undef IGEBM_LINE
};

}  // namespace

std::span<const Operation> operations() { return table; }

const Operation& operation(Op op) {
  const auto i = static_cast<std::size_t>(op);
  if (i >= table.size()) throw std::logic_error(fmt::format("operation number {}: not in the table", i));
  return table[i];
}

const char* name(Op op) { return operation(op).name; }

void unhandled(Op op, const std::string& backend, const char* what) {
  throw std::logic_error(fmt::format("{}: has no {}operation {}", backend, what, name(op)));
}

}  // namespace igebm::nn
