#include <algorithm>
#include <set>
#include <utility>

#include "igebm/engine/cpu/planner.h"

/// The gradient in the weights of <v, dE/dx> = dE(x + s v)/ds at s = 0, by forward mode over the steps forwards and
/// backwards: most are linear, and do to a derivative what they do to a value. A joint tangent is that of
/// (1 + s a) E(x + s v, labels + s l): labels move where steps add or multiply by what they give, and a is what
/// dE/dE = 1 moves by. Or dE/dx(x + s v)'s own derivative, the Hessian times v.
namespace igebm::engine::cpu {

void Planner::add_tangents() {
  std::vector<Step> all = plan_.forward;
  all.insert(all.end(), plan_.backward.begin(), plan_.backward.end());
  // Not wanted: the gradient of E itself.
  std::erase_if(plan_.backward,
                [](const Step& s) { return s.kind == Step::Kind::weight_gradient || s.kind == Step::Kind::lane_sums; });
  for (Step& s : plan_.backward) s.sink = -1;
  if (joint_) {
    Step seed;
    seed.lanes = lane_block;
    seed.in = seed.out = {plan_.ones, 0};
    seed.scaled = true;
    linear_tangent(seed);
  }
  for (const Step& s : all) add_tangent(s);
  drop_unread_tangents();
}

Ref Planner::dot(Ref r) const {
  const auto found = dots_.find(r.buffer);
  return found == dots_.end() ? Ref{} : Ref{found->second, r.lane};
}

Ref Planner::new_dot(Ref r) {
  if (!dots_.contains(r.buffer)) {
    const Buffer like = plan_.buffers[static_cast<std::size_t>(r.buffer)];
    dots_[r.buffer] = new_buffer(like.height, like.width, like.lanes, like.kept);
  }
  return dot(r);
}

std::array<Ref, 3> Planner::bent(const Step& s) const {
  const auto found = bends_.find(s.multiply.buffer);
  if (found == bends_.end() || !dot(found->second.activated)) return {};
  return {s.out, dot(found->second.activated), found->second.bend};
}

void Planner::add_tangent(const Step& s) {
  Step t = s;
  switch (s.kind) {
    case Step::Kind::load:
      t.kind = Step::Kind::load_tangent;
      t.out = new_dot(s.out);
      plan_.tangent.push_back(t);
      return;
    case Step::Kind::store:
      if (!hessian_) return;
      t.kind = Step::Kind::store_tangent;
      t.in = dot(s.in);
      if (!t.in) throw Unknown{"a gradient that does not depend on the input"};
      plan_.tangent.push_back(t);
      return;
    case Step::Kind::inner:
    case Step::Kind::label_slope:
      return;  // nothing needs it
    case Step::Kind::weight_gradient:
    case Step::Kind::lane_sums:
      if (hessian_) return;
      for (Ref Step::*factor : {&Step::in, &Step::other}) {
        t = s;
        if (t.*factor) t.*factor = dot(s.*factor);
        if (t.*factor) plan_.tangent.push_back(t);
      }
      if (joint_ && s.sink >= 0 && plan_.sinks[static_cast<std::size_t>(s.sink)].by_label && graph_.conditions > 0) {
        t = s;
        t.along_labels = true;
        plan_.tangent.push_back(t);
      }
      return;
    case Step::Kind::group_norm:
      if (!dot(s.in)) throw Unknown{"group norm of a constant"};
      [[fallthrough]];
    case Step::Kind::convolution:
    case Step::Kind::pointwise:
    case Step::Kind::pool:
    case Step::Kind::attention:
      if (s.factor >= 0) return;  // for a label's slope alone
      linear_tangent(s);
      return;
    case Step::Kind::group_norm_gradient:
      norm_gradient_tangent(s);
      return;
    case Step::Kind::attention_gradient:
      attention_gradient_tangent(s);
      return;
    case Step::Kind::load_tangent:
    case Step::Kind::store_tangent:
    case Step::Kind::group_norm_tangent:
    case Step::Kind::group_norm_gradient_tangent:
    case Step::Kind::attention_tangent:
    case Step::Kind::attention_gradient_tangent:
      break;
  }
  throw Unknown{"a tangent's tangent"};
}

int Planner::vector_dot(int vector) {
  if (!joint_ || vector < 0 || graph_.conditions == 0) return -1;
  Vector v = plan_.vectors[static_cast<std::size_t>(vector)];
  if (!v.by_sample()) return -1;
  v.fixed.clear();
  v.along = Vector::Along::labels;
  plan_.vectors.push_back(std::move(v));
  return static_cast<int>(plan_.vectors.size()) - 1;
}

Ref Planner::gain_dot(const Step& s, Ref add) {
  const int gain = vector_dot(s.gain);
  if (gain < 0 && !s.scaled) return {};
  Step u;
  u.height = s.height;
  u.width = s.width;
  u.lanes = s.lanes;
  u.in = s.in;
  u.factor = gain;
  if (s.scaled) {
    u.factor = static_cast<int>(plan_.vectors.size());
    plan_.vectors.push_back({"", "", s.lanes, {}, -1, Vector::Along::energy});
  }
  u.out = {new_buffer(s.height, s.width, s.lanes), 0};
  plan_.tangent.push_back(u);
  if (!add) return u.out;
  u.factor = -1;
  u.in = u.out;
  u.add = add;
  u.out = {new_buffer(s.height, s.width, s.lanes), 0};
  plan_.tangent.push_back(u);
  return u.out;
}

void Planner::linear_tangent(const Step& s) {
  Step t = s;
  t.bias = vector_dot(s.bias);
  t.scaled = false;
  t.activation = Activation::none;
  t.activated = t.derivative = t.bend = {};
  t.add = dot(s.add);
  if (const Ref moved = gain_dot(s, t.add)) t.add = moved;
  if (s.kind == Step::Kind::group_norm) {
    t.kind = Step::Kind::group_norm_tangent;
    t.in_dot = dot(s.in);
  } else if (s.kind == Step::Kind::attention) {
    t.kind = Step::Kind::attention_tangent;
    t.attention = attention_dot(s.attention);
  } else {
    t.in = dot(s.in);
  }
  t.bent = bent(s);
  const Ref result = s.out ? s.out : s.activated;
  const Buffer whole = plan_.buffers[static_cast<std::size_t>(result.buffer)];
  if (!t.in && t.attention < 0) {  // of a constant
    const bool part = s.lanes < whole.lanes;
    if (!t.add && !t.bent[0] && t.bias < 0 && !part) return;
    if (!part && dot(result)) return;  // all residues of a stride at once
    t.kind = Step::Kind::pointwise;
    t.convolution = -1;
    t.in = zeros(s.lanes);
    t.scale = 1;
    t.zoom_y = t.zoom_x = 1;
    if (!part) t.height = whole.height, t.width = whole.width;
  }
  const auto multiply = [&](Step& by) {
    by.multiply = s.derivative ? s.derivative : s.activated;
    if (!s.derivative) by.multiply_slope = s.slope;
  };
  if (s.activation == Activation::none || s.out) {
    t.out = new_dot(s.out);
  } else {
    multiply(t);
    t.out = new_dot(s.activated);
  }
  plan_.tangent.push_back(t);
  if (s.activation == Activation::none || !s.out) return;
  Step u;
  u.height = s.height;
  u.width = s.width;
  u.lanes = s.lanes;
  u.in = t.out;
  multiply(u);
  u.out = new_dot(s.activated);
  plan_.tangent.push_back(u);
}

void Planner::norm_gradient_tangent(const Step& s) {
  Step t = s;
  t.kind = Step::Kind::group_norm_gradient_tangent;
  t.in_dot = dot(s.in);
  t.other_dot = dot_or_zeros(s.other, s.lanes);
  t.add = dot(s.add);
  t.bent = bent(s);
  if (hessian_) t.sink = -1;
  if (s.out) t.out = new_dot(s.out);
  plan_.tangent.push_back(t);
}

int Planner::attention_dot(int attention) {
  AttentionRefs a = plan_.attentions[static_cast<std::size_t>(attention)];
  a.queries_dot = dot_or_zeros(a.queries, a.depth);
  a.keys_dot = dot_or_zeros(a.keys, a.depth);
  a.values_dot = dot_or_zeros(a.values, a.lanes);
  if (a.gradient) a.gradient_dot = dot_or_zeros(a.gradient, a.lanes);
  for (Ref* to : {&a.to_queries, &a.to_keys, &a.to_values}) {
    if (*to) *to = new_dot(*to);
  }
  plan_.attentions.push_back(a);
  return static_cast<int>(plan_.attentions.size()) - 1;
}

void Planner::attention_gradient_tangent(const Step& s) {
  Step t = s;
  t.kind = Step::Kind::attention_gradient_tangent;
  t.attention = attention_dot(s.attention);
  plan_.tangent.push_back(t);
}

void Planner::drop_unread_tangents() {
  std::set<int> read;
  std::vector<Step> kept;
  for (auto s = plan_.tangent.rbegin(); s != plan_.tangent.rend(); ++s) {
    const bool result = s->sink >= 0 || s->kind == Step::Kind::weight_gradient || s->kind == Step::Kind::store_tangent;
    const bool several = s->kind == Step::Kind::attention_gradient_tangent;
    if (!result && !several && !read.contains(s->out.buffer)) continue;
    for (const Ref r : refs(plan_, *s)) {
      if (r && r.buffer != s->out.buffer) read.insert(r.buffer);
    }
    kept.push_back(*s);
  }
  std::reverse(kept.begin(), kept.end());
  plan_.tangent = std::move(kept);
}

}  // namespace igebm::engine::cpu
