#include "igebm/engine/cpu/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "igebm/engine/cpu/planner.h"
#include "igebm/engine/graphs.h"

namespace igebm::engine::cpu {
namespace {

bool has_parameters(const nn::Node& n) { return !nn::operation(n.op).parameters(n).empty(); }

}  // namespace

std::vector<Ref> refs(const Plan& plan, const Step& s) {
  std::vector<Ref> all = {s.in,        s.other,      s.in_dot, s.other_dot, s.add,     s.multiply, s.out,
                          s.activated, s.derivative, s.bend,   s.bent[0],   s.bent[1], s.bent[2]};
  if (s.norm >= 0) {
    const Norm& n = plan.norms[static_cast<std::size_t>(s.norm)];
    all.push_back({n.statistics, 0});
    if (s.in_dot || s.other_dot) all.push_back({n.tangents, 0});
  }
  if (s.attention >= 0) {
    const AttentionRefs& a = plan.attentions[static_cast<std::size_t>(s.attention)];
    all.insert(all.end(), {a.queries, a.keys, a.values, a.gradient, a.to_queries, a.to_keys, a.to_values, a.queries_dot,
                           a.keys_dot, a.values_dot, a.gradient_dot});
  }
  return all;
}

Planner::Planner(const nn::Graph& graph, Wanted wanted, Storage storage)
    : graph_(graph),
      shapes_(nn::shapes(graph)),
      values_(graph.nodes.size()),
      consumers_(graph.nodes.size()),
      contributions_(graph.nodes.size()),
      for_parameters_(wanted != Wanted::input_gradient),
      for_tangent_(wanted == Wanted::tangent || wanted == Wanted::joint_tangent || wanted == Wanted::hessian_product),
      joint_(wanted == Wanted::joint_tangent),
      hessian_(wanted == Wanted::hessian_product),
      storage_(storage) {
  plan_.labels = static_cast<int>(graph.classes + graph.conditions);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& n = graph.nodes[i];
    wanted_.push_back(!for_parameters_ || for_tangent_ || has_parameters(n) ||
                      std::any_of(n.inputs.begin(), n.inputs.end(), [&](int input) { return this->wanted(input); }));
    for (const int input : n.inputs) consumers_[static_cast<std::size_t>(input)].push_back(static_cast<int>(i));
  }
}

Plan Planner::make() {
  plan_.ones = new_buffer(1, 1, lane_block, true);
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) forward(static_cast<int>(i));
  const int last = static_cast<int>(graph_.nodes.size()) - 1;
  plan_.energy = value(last).at.buffer;
  plan_.buffers[static_cast<std::size_t>(plan_.energy)].kept = true;
  contributions_[static_cast<std::size_t>(last)].refs.push_back({plan_.ones, 0});
  for (int i = last; i >= 0; --i) backward(i);
  require_parameters();
  if (!stored_ && (!for_parameters_ || for_tangent_)) throw Unknown{"an energy that does not depend on its input"};
  if (for_tangent_) add_tangents();
  if (storage_ == Storage::bf16) choose_storage();
  add_borders();
  share_memory();
  return std::move(plan_);
}

void Planner::unknown(const Node& n, const std::string& what) const {
  throw Unknown{fmt::format("{} {}", nn::name(n.op), what)};
}

int Planner::new_buffer(int height, int width, int lanes, bool kept) {
  plan_.buffers.push_back({height, width, lanes, kept});
  return static_cast<int>(plan_.buffers.size()) - 1;
}

Planner::Value Planner::shaped(int i) const {
  const auto& s = shapes_[static_cast<std::size_t>(i)];
  Value v;
  const std::int64_t channels = s.empty() ? 1 : s[0];
  if (s.size() == 3) v.height = static_cast<int>(s[1]), v.width = static_cast<int>(s[2]);
  v.lanes = padded(channels);
  v.lane_of_channel.resize(static_cast<std::size_t>(channels));
  std::iota(v.lane_of_channel.begin(), v.lane_of_channel.end(), 0);
  return v;
}

Planner::Value Planner::shaped_like_input(int i) {
  Value v = shaped(i);
  v.lanes = input(node(i)).lanes;
  v.lane_of_channel = input(node(i)).lane_of_channel;
  return v;
}

Step Planner::step(Step::Kind kind, const Value& v) const {
  Step s;
  s.kind = kind;
  s.height = v.height;
  s.width = v.width;
  s.lanes = v.lanes;
  return s;
}

int Planner::new_vector(const std::string& fixed, const std::string& by_label, const Value& v) {
  plan_.vectors.push_back({fixed, by_label, v.lanes, v.lane_of_channel});
  return static_cast<int>(plan_.vectors.size()) - 1;
}

Ref Planner::stored(const Node& n, int i) {
  const Ref at = input(n, i).at;
  if (!at) throw Unknown{fmt::format("{} of a value that was folded away", nn::name(n.op))};
  return at;
}

void Planner::require_channels(const Node& n, const Value& v) const {
  if (n.in != static_cast<std::int64_t>(v.lane_of_channel.size())) unknown(n, "of a flattened picture");
}

void Planner::choose_storage() {
  const auto buffer = [&](Ref r) -> Buffer& { return plan_.buffers[static_cast<std::size_t>(r.buffer)]; };
  for (Buffer& b : plan_.buffers) {
    b.tight = true;
    b.bf16 = !b.single();
  }
  // What only float32 is read or written by.
  for (const auto* steps : plan_.lists()) {
    for (const Step& s : *steps) {
      if ((s.kind == Step::Kind::load || s.kind == Step::Kind::load_tangent) && low_ == 0) buffer(s.out).bf16 = false;
      if (s.kind == Step::Kind::store || s.kind == Step::Kind::store_tangent) buffer(s.in).bf16 = false;
      if (s.attention >= 0) {
        for (const Ref r : refs(plan_, s)) {
          if (r) buffer(r).bf16 = false;
        }
      }
      if (s.convolution < 0) continue;
      const Convolution& c = plan_.convolutions[static_cast<std::size_t>(s.convolution)];
      if (c.few == 0 && (c.read % tile_depth != 0 || s.height * s.width == 1)) buffer(s.in).bf16 = false;
    }
  }
  for (const auto& [value, dot] : dots_) {  // one convolution reads both
    bool &a = plan_.buffers[static_cast<std::size_t>(value)].bf16,
         &b = plan_.buffers[static_cast<std::size_t>(dot)].bf16;
    a = b = a && b;
  }
  for (const auto* steps : plan_.lists()) {
    for (const Step& s : *steps) {
      if (s.convolution < 0) continue;
      Convolution& c = plan_.convolutions[static_cast<std::size_t>(s.convolution)];
      c.tiles = c.few == 0 && buffer(s.in).bf16;
      c.can_winograd = false;
    }
  }
}

void Planner::add_borders() {
  for (const auto* steps : plan_.lists()) {
    for (const Step& s : *steps) {
      if (s.convolution < 0) continue;
      const Convolution& c = plan_.convolutions[static_cast<std::size_t>(s.convolution)];
      Buffer& in = plan_.buffers[static_cast<std::size_t>(s.in.buffer)];
      for (const auto& tap : c.taps) {
        const int bottom = c.step * (s.height - 1) + tap.dy, right = c.step * (s.width - 1) + tap.dx;
        if (tap.dy >= 0 && tap.dx >= 0 && bottom < in.height && right < in.width) continue;
        in.border = true;
        if (in.tight) in.beyond = std::max({in.beyond, bottom - in.height, right - in.width});
        // What lies beyond the border is not there to be read: one pixel, and what fills the last tile.
        const int last_column = in.columns() - (in.tight ? 1 : 2);
        if (tap.dy < -1 || tap.dx < -1 || bottom > in.rows() - 2 || right > last_column)
          throw Unknown{"conv2d of this size (" + c.name + ")"};
      }
    }
  }
}

void Planner::share_memory() {
  const std::size_t count = plan_.buffers.size();
  std::vector<int> first(count, -1), last(count, -1);
  int time = 0;
  for (const auto* steps : plan_.lists()) {
    for (const Step& s : *steps) {
      for (const Ref r : refs(plan_, s)) {
        if (!r) continue;
        const auto b = static_cast<std::size_t>(r.buffer);
        if (first[b] < 0) first[b] = time;
        last[b] = time;
      }
      ++time;
    }
  }
  plan_.slot.assign(count, -1);
  std::vector<int> free_from;  // of each slot
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return first[a] < first[b]; });
  for (const std::size_t b : order) {
    const Buffer& buffer = plan_.buffers[b];
    int best = -1;
    for (std::size_t s = 0; !buffer.kept && s < plan_.slots.size(); ++s) {
      const Buffer& slot = plan_.slots[s];
      if (!slot.kept && slot.same_shape(buffer) && free_from[s] < first[b] &&
          (best < 0 || free_from[s] > free_from[static_cast<std::size_t>(best)])) {
        best = static_cast<int>(s);  // the one used last: the likeliest to be in the cache still
      }
    }
    if (best < 0) {
      best = static_cast<int>(plan_.slots.size());
      plan_.slots.push_back(buffer);
      free_from.push_back(-1);
    }
    plan_.slot[b] = best;
    free_from[static_cast<std::size_t>(best)] = last[b];
  }
}

std::optional<Plan> make_plan(const nn::Graph& graph, Wanted wanted, std::string& why, Storage storage) {
  try {
    const nn::Graph sampled = without_dropout(graph);
    return Planner(sampled, wanted, storage).make();
  } catch (const Unknown& unknown) {
    why = unknown.why;
    return std::nullopt;
  }
}

}  // namespace igebm::engine::cpu
