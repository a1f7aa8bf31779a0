#include "igebm/engine/cpu/worker.h"

#include <ATen/ATen.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "igebm/base/clock.h"

namespace igebm::engine::cpu {
namespace {

/// One pixel of many samples is for a convolution one row of pixels.
bool of_features(const Step& s) { return s.convolution >= 0 && s.height * s.width == 1; }
View row_of_samples(const View& v) { return {v.data, 0, 0, v.sample, v.bf16}; }

std::size_t weights_of(const Convolution& c) {
  return c.taps.size() * static_cast<std::size_t>(c.read) * static_cast<std::size_t>(c.lanes);
}

/// Of a step that matrix tiles may take (Kernels::weight_gradient).
std::size_t gradient_work(const Plan& plan, const Step& s) {
  const Buffer &in = plan.buffers[static_cast<std::size_t>(s.in.buffer)],
               &g = plan.buffers[static_cast<std::size_t>(s.other.buffer)];
  const Convolution& c = plan.convolutions[static_cast<std::size_t>(s.convolution)];
  if (!in.bf16 || !g.bf16) return 0;
  const int pitch = c.step == 1 ? in.columns() : s.width;
  int low = 0, high = 0;
  for (const auto& tap : c.taps) {
    low = std::min(low, tap.dy * pitch + tap.dx);
    high = std::max(high, tap.dy * pitch + tap.dx);
  }
  return weight_gradient_work(s.height * pitch, high - low, c.read, s.lanes);
}

}  // namespace

void Free::operator()(float* p) const { std::free(p); }

Memory allocate(std::size_t floats) {
  // Large pages where there is enough to fill some: weights and pictures are walked through by far strides.
  constexpr std::size_t line = 64, large_page = std::size_t{2} << 20;
  const std::size_t unit = floats * sizeof(float) >= large_page ? large_page : line;
  const std::size_t bytes = std::max(unit, (floats * sizeof(float) + unit - 1) / unit * unit);
  auto* p = static_cast<float*>(std::aligned_alloc(unit, bytes));
  if (p == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (unit == large_page) madvise(p, bytes, MADV_HUGEPAGE);  // a wish: nothing is lost where it is not granted
#endif
  std::fill_n(p, floats, 0.0F);
  return Memory(p);
}

Gradients::Gradients(const Plan& plan) {
  for (const Convolution& c : plan.convolutions) convolutions.push_back(c.gradient ? nullptr : allocate(weights_of(c)));
  for (const Sink& s : plan.sinks)
    vectors.push_back(allocate(static_cast<std::size_t>(s.rows) * static_cast<std::size_t>(s.lanes)));
}

void Gradients::clear(const Plan& plan) {
  for (std::size_t i = 0; i < convolutions.size(); ++i) {
    if (convolutions[i]) std::fill_n(convolutions[i].get(), weights_of(plan.convolutions[i]), 0.0F);
  }
  for (std::size_t i = 0; i < vectors.size(); ++i)
    std::fill_n(vectors[i].get(), plan.sinks[i].rows * plan.sinks[i].lanes, 0.0F);
}

Worker::Worker(const Plan& plan, int samples) : plan_(plan), samples_(samples) {
  std::size_t size = 0;
  int beyond = 0;  // lanes of a pixel that tiles may read after the last buffer
  for (const Buffer& slot : plan.slots) {
    starts_.push_back(size);
    // A few lines between the buffers keep equal places of different buffers out of one set of the cache.
    size += static_cast<std::size_t>(padded(slot.floats(samples))) + 16 * (starts_.size() % 8 * 5 + 3);
    beyond = std::max(beyond, slot.lanes);
  }
  memory_ = allocate(size + static_cast<std::size_t>(2 * tile_pixels * beyond));
  std::size_t work = 0, vectors = 0;
  for (const Convolution& c : plan.convolutions) {
    if (c.can_winograd) work = std::max(work, winograd_work(c.read, c.lanes));
  }
  for (const auto* steps : plan.lists()) {
    for (const Step& s : *steps) {
      if (s.kind == Step::Kind::weight_gradient) work = std::max(work, gradient_work(plan, s));
    }
  }
  for (const AttentionRefs& a : plan.attentions)
    work = std::max(work, attention_work(a.tokens, a.height * a.width, a.depth, a.lanes) * (a.queries_dot ? 2 : 1));
  work_ = allocate(work);
  for (const Vector& v : plan.vectors) {
    vector_starts_.push_back(vectors);
    if (v.by_sample()) vectors += static_cast<std::size_t>(v.lanes * samples);
  }
  vectors_ = allocate(vectors);
  float* ones = at({plan.ones, 0});
  for (int n = 0; n < samples; ++n) ones[n * lane_block] = 1;
  for (const Convolution& c : plan.convolutions) {
    std::vector<std::ptrdiff_t> offsets(c.taps.size());
    offsets_.push_back(std::move(offsets));
  }
}

void Worker::take_labels(const Weights& w, int count) {
  for (std::size_t v = 0; v < plan_.vectors.size(); ++v) {
    const Vector::Along along = plan_.vectors[v].along;
    if (!plan_.vectors[v].by_sample() || along == Vector::Along::energy) continue;
    const Labels& labels = along == Vector::Along::labels ? labels_dot_ : labels_;
    const int lanes = plan_.vectors[v].lanes;
    const float *fixed = w.vectors[v].get(), *rows = w.labels[v].get();
    for (int n = 0; n < count; ++n) {
      float* to = vector_at(v) + n * lanes;
      const auto add = [&](std::int64_t row, float factor, const float* before) {
        for (int c = 0; c < lanes; ++c) to[c] = before[c] + factor * rows[row * lanes + c];
      };
      if (labels.classes != nullptr) add(labels.classes[n], 1, fixed);
      for (int i = 0; labels.classes == nullptr && i < labels.count; ++i)
        add(i, labels.numbers[n * labels.count + i], i == 0 ? fixed : to);
    }
  }
}

void Worker::take_direction(const Direction& along, int count) {
  for (std::size_t v = 0; v < plan_.vectors.size(); ++v) {
    const int lanes = plan_.vectors[v].lanes;
    for (int n = 0; n < count; ++n) {
      float* to = vector_at(v) + n * lanes;
      if (plan_.vectors[v].along == Vector::Along::energy) std::fill_n(to, lanes, along.scale[n]);
      for (int c = 0; plan_.vectors[v].along == Vector::Along::labels && c < lanes; ++c) to[c] *= along.along_labels[n];
    }
  }
}

void Worker::run(const Kernels& k, const Weights& w, const Choices& choices, const float* x, const Labels& labels,
                 int count, float* energies, float* gradient, const std::function<void(const Step&, double)>& timed,
                 const Pull* pull, const Labels& labels_dot) {
  x_ = x;
  gradient_ = gradient;
  labels_ = labels;
  labels_dot_ = labels_dot;
  label_slopes_.assign(static_cast<std::size_t>(count), 0);
  take_labels(w, count);
  goes_back_ = gradient != nullptr || pull != nullptr;
  take(plan_.forward, k, w, choices, count, timed);
  const float* e = at({plan_.energy, 0});
  for (int n = 0; n < count; ++n) energies[n] = e[n * lane_block];
  if (pull != nullptr) {
    coefficients_.resize(static_cast<std::size_t>(count));
    for (int n = 0; n < count; ++n)
      coefficients_[static_cast<std::size_t>(n)] =
          pull->coefficients[n] + (pull->slopes == nullptr ? 0.0F : pull->slopes[n] * energies[n]);
    into_ = pull->into;
  }
  if (goes_back_) take(plan_.backward, k, w, choices, count, timed);
}

void Worker::pull(const Kernels& k, const Weights& w, const Choices& choices, const Direction& along, int count,
                  Gradients& into) {
  v_ = along.v;
  product_ = along.product;
  if (along.along_labels != nullptr) along_labels_.assign(along.along_labels, along.along_labels + count);
  take_direction(along, count);
  coefficients_.assign(static_cast<std::size_t>(count), 1);
  into_ = &into;
  take(plan_.tangent, k, w, choices, count, {});
}

void Worker::take(const std::vector<Step>& steps, const Kernels& k, const Weights& w, const Choices& choices, int count,
                  const std::function<void(const Step&, double)>& timed) {
  if (timed) {
    for (const Step& s : steps) {
      const double start = now();
      for (int n = 0; n < count; n += choices.chunk(s)) run(s, k, w, choices, n, std::min(choices.chunk(s), count - n));
      timed(s, now() - start);
    }
    return;
  }
  // Steps of one chunk size follow one another for a few samples, whose values are then still in the cache.
  for (std::size_t begin = 0, end = 0; begin < steps.size(); begin = end) {
    const int chunk = choices.chunk(steps[begin]);
    while (end < steps.size() && choices.chunk(steps[end]) == chunk) ++end;
    for (int n = 0; n < count; n += chunk) {
      for (std::size_t i = begin; i < end; ++i) run(steps[i], k, w, choices, n, std::min(chunk, count - n));
    }
  }
}

View Worker::result(const Step& s, Ref r, int first) {
  View v = view(r, first);
  if (s.convolution < 0 || !r) return v;
  const Convolution& c = plan_.convolutions[static_cast<std::size_t>(s.convolution)];
  v = moved(v, c.out_y * v.row + c.out_x * v.pixel);
  v.row *= c.out_step;
  v.pixel *= c.out_step;
  return of_features(s) ? row_of_samples(v) : v;
}

Epilogue Worker::epilogue(const Step& s, const Weights& w, int first) {
  Epilogue e;
  const auto vector = [&](int index, const float*& data, std::ptrdiff_t& by_sample, std::ptrdiff_t& by_pixel) {
    if (index < 0) return;
    const auto i = static_cast<std::size_t>(index);
    const bool each = plan_.vectors[i].by_sample();
    data = each ? vector_at(i) : w.vectors[i].get();
    if (!each) return;
    (of_features(s) ? by_pixel : by_sample) = plan_.vectors[i].lanes;
    data += std::ptrdiff_t{1} * first * plan_.vectors[i].lanes;
  };
  vector(s.bias, e.bias, e.bias_sample, e.bias_pixel);
  vector(s.gain, e.gain, e.gain_sample, e.gain_pixel);
  e.add = result(s, s.add, first);
  e.multiply = s.factor >= 0 ? view_of_vector(s.factor, first) : result(s, s.multiply, first);
  e.out = result(s, s.out, first);
  e.activated = result(s, s.activated, first);
  if (goes_back_) e.derivative = result(s, s.derivative, first);  // for energies alone nothing reads it
  e.bend = result(s, s.bend, first);
  for (std::size_t i = 0; i < s.bent.size(); ++i) e.bent[i] = result(s, s.bent[i], first);
  e.activation = s.activation;
  e.slope = s.slope;
  e.multiply_slope = s.multiply_slope;
  return e;
}

DirectConvolution Worker::direct(const Step& s, const View& in, const float* weights) {
  const Convolution& c = plan_.convolutions[static_cast<std::size_t>(s.convolution)];
  auto& offsets = offsets_[static_cast<std::size_t>(s.convolution)];
  for (std::size_t t = 0; t < c.taps.size(); ++t) offsets[t] = c.taps[t].dy * in.row + c.taps[t].dx * in.pixel;
  return {of_features(s) ? row_of_samples(in) : View{in.data, in.sample, in.row * c.step, in.pixel * c.step, in.bf16},
          static_cast<int>(c.taps.size()),
          c.read,
          offsets.data(),
          weights,
          c.step};
}

void Worker::convolve(const Step& s, const Kernels& k, const Weights& w, const Choices& choices, int first,
                      const Extent& extent, const Epilogue& e) {
  const auto index = static_cast<std::size_t>(s.convolution);
  const Convolution& c = plan_.convolutions[index];
  const View in = view(s.in, first);
  const Algorithm algorithm = choices.algorithms[index];
  if (algorithm == Algorithm::winograd || algorithm == Algorithm::winograd_bf16) {
    (algorithm == Algorithm::winograd ? k.winograd : k.winograd_bf16)({in, c.read, w.packed[index].get(), work_.get()},
                                                                      extent, e);
    return;
  }
  const DirectConvolution conv = direct(s, in, w.packed[index].get());
  if (c.few > 0) {
    k.direct_few(conv, c.few, extent, e);
  } else if (algorithm == Algorithm::tiles) {
    k.tiles(conv, extent, e);
  } else {
    k.direct(conv, extent, e);
  }
}

void Worker::attend(const Step& s, const Kernels& k, int first, const Extent& extent, const Epilogue& e) {
  const AttentionRefs& refs = plan_.attentions[static_cast<std::size_t>(s.attention)];
  const auto view = [&](Ref r) { return this->view(r, first); };
  Attention a{view(refs.queries), view(refs.keys),     view(refs.values), refs.height,         refs.width,
              refs.depth,         refs.scale,          work_.get(),       view(refs.gradient), view(refs.to_queries),
              view(refs.to_keys), view(refs.to_values)};
  a.queries_dot = view(refs.queries_dot);
  a.keys_dot = view(refs.keys_dot);
  a.values_dot = view(refs.values_dot);
  a.gradient_dot = view(refs.gradient_dot);
  const Kernels& able = k.attention != nullptr ? k : kernels();
  if (s.kind == Step::Kind::attention) {
    able.attention(a, extent, e);
  } else if (s.kind == Step::Kind::attention_gradient) {
    able.attention_gradient(a, extent);
  } else if (s.kind == Step::Kind::attention_tangent) {
    able.attention_tangent(a, extent, e);
  } else {
    able.attention_gradient_tangent(a, extent);
  }
}

void Worker::normalise(const Step& s, const Kernels& k, const Weights& w, int first, const Extent& extent,
                       const Epilogue& e) {
  const Norm& norm = plan_.norms[static_cast<std::size_t>(s.norm)];
  const float* parameters = w.norms[static_cast<std::size_t>(s.norm)].get();
  float* statistics = at({norm.statistics, 0}) + std::ptrdiff_t{1} * first * s.lanes;
  GroupNorm g{view(s.in, first),    norm.groups,   norm.group.data(), parameters,
              parameters + s.lanes, norm.elements, statistics,        statistics + std::ptrdiff_t{samples_} * s.lanes};
  if (s.sink >= 0) {
    g.coefficients = coefficients_.data() + first;
    g.weight_sums = sink(s.sink);
    g.bias_sums = sink(s.sink + 1);
  }
  if (s.in_dot) {
    g.dot = view(s.in_dot, first);
    g.mean_dot = at({norm.tangents, 0}) + std::ptrdiff_t{1} * first * s.lanes;
    g.product = g.mean_dot + std::ptrdiff_t{samples_} * s.lanes;
  }
  if (s.kind == Step::Kind::group_norm) {
    k.group_norm(g, extent, e);
  } else if (s.kind == Step::Kind::group_norm_gradient) {
    k.group_norm_gradient(g, view(s.other, first), extent, e);
  } else if (s.kind == Step::Kind::group_norm_tangent) {
    k.group_norm_tangent(g, extent, e);
  } else {
    k.group_norm_gradient_tangent(g, view(s.other, first), view(s.other_dot, first), extent, e);
  }
}

void Worker::run(const Step& s, const Kernels& k, const Weights& w, const Choices& choices, int first, int count) {
  Extent extent{count, s.height, s.width, s.lanes};
  if (of_features(s)) extent = {1, 1, count, s.lanes};
  const auto view = [&](Ref r) { return this->view(r, first); };
  const Epilogue e = epilogue(s, w, first);
  switch (s.kind) {
    case Step::Kind::load:
      k.load(x_ + first * plan_.elements, plan_.input_channels, plan_.input_zoom, plan_.input_scale, plan_.input_shift,
             extent, e.out);
      break;
    case Step::Kind::load_tangent:
      k.load(v_ + first * plan_.elements, plan_.input_channels, plan_.input_zoom, plan_.input_scale, 0, extent, e.out);
      break;
    case Step::Kind::store:
      k.store(view(s.in), plan_.input_channels, plan_.input_zoom, plan_.input_scale, extent,
              gradient_ + first * plan_.elements);
      break;
    case Step::Kind::store_tangent:
      k.store(view(s.in), plan_.input_channels, plan_.input_zoom, plan_.input_scale, extent,
              product_ + first * plan_.elements);
      break;
    case Step::Kind::convolution:
      convolve(s, k, w, choices, first, extent, e);
      break;
    case Step::Kind::weight_gradient: {
      const bool features = of_features(s);
      DirectConvolution conv = direct(s, view(s.in), nullptr);
      conv.work = work_.get();
      k.weight_gradient(conv, features ? row_of_samples(view(s.other)) : view(s.other), extent,
                        coefficients_.data() + first, features,
                        into_->convolutions[static_cast<std::size_t>(s.convolution)].get());
      break;
    }
    case Step::Kind::lane_sums: {
      const bool by_label = plan_.sinks[static_cast<std::size_t>(s.sink)].by_label;
      const Labels& labels = s.along_labels ? labels_dot_ : labels_;
      k.lane_sums(view(s.in), view(s.other), extent, (s.along_labels ? along_labels_ : coefficients_).data() + first,
                  by_label ? labels.from(first) : Labels{}, sink(s.sink));
      break;
    }
    case Step::Kind::label_slope: {
      std::vector<float> more(static_cast<std::size_t>(count));
      k.inner(view(s.in), s.other ? view(s.other) : view_of_vector(s.factor, first), 1, extent, {more.data(), 1});
      for (int n = 0; n < count; ++n)
        label_slopes_[static_cast<std::size_t>(first + n)] += more[static_cast<std::size_t>(n)];
      break;
    }
    case Step::Kind::attention:
    case Step::Kind::attention_gradient:
    case Step::Kind::attention_tangent:
    case Step::Kind::attention_gradient_tangent:
      attend(s, k, first, extent, e);
      break;
    case Step::Kind::pointwise:
      k.pointwise(view(s.in), s.scale, s.zoom_y, extent, e);
      break;
    case Step::Kind::pool:
      k.pool(view(s.in), s.scale, s.zoom_y, s.zoom_x, extent, e);
      break;
    case Step::Kind::inner:
      k.inner(view(s.in), view(s.other), s.scale, extent, e.out);
      break;
    case Step::Kind::group_norm:
    case Step::Kind::group_norm_gradient:
    case Step::Kind::group_norm_tangent:
    case Step::Kind::group_norm_gradient_tangent:
      normalise(s, k, w, first, extent, e);
      break;
  }
}

float* Worker::at(Ref r) {
  const bool bf16 = plan_.buffers[static_cast<std::size_t>(r.buffer)].bf16;
  return memory_.get() + starts_[static_cast<std::size_t>(plan_.slot[static_cast<std::size_t>(r.buffer)])] +
         (bf16 ? r.lane / 2 : r.lane);
}

View Worker::view_of_vector(int index, int first) const {
  const auto i = static_cast<std::size_t>(index);
  const std::ptrdiff_t lanes = plan_.vectors[i].lanes;
  return {vector_at(i) + first * lanes, lanes, 0, 0};
}

View Worker::view(Ref r, int first) {
  if (!r) return {};
  const Buffer& b = plan_.buffers[static_cast<std::size_t>(r.buffer)];
  float* start = at(r) + b.floats(first);
  if (b.single()) return {start, b.lanes, 0, 0};
  const std::ptrdiff_t row = std::ptrdiff_t{1} * b.columns() * b.lanes;
  return moved({start, b.size(), row, b.lanes, b.bf16}, b.border ? row + b.lanes : 0);
}

void Weights::take_vectors(const Plan& plan, const nn::Tensors& tensors) {
  vectors.clear();
  labels.clear();
  norms.clear();
  for (const Vector& v : plan.vectors) {
    vectors.push_back(v.fixed.empty() ? allocate(static_cast<std::size_t>(v.lanes))
                                      : spread(tensors.at(v.fixed), v.lanes, v.lane_of_channel));
    if (v.first_label >= 0) {
      const auto count = static_cast<std::int64_t>(v.lane_of_channel.size());
      labels.push_back(
          spread(at::eye(plan.labels).narrow(1, v.first_label, count), v.lanes, v.lane_of_channel));  // themselves
    } else {
      labels.push_back(v.by_label.empty() ? nullptr : spread(tensors.at(v.by_label), v.lanes, v.lane_of_channel));
    }
  }
  for (const Norm& n : plan.norms) {
    const at::Tensor both = at::stack({tensors.at(n.name + ".weight"), tensors.at(n.name + ".bias")});
    norms.push_back(spread(both, static_cast<int>(n.group.size()), n.lane_of_channel));
  }
}

Memory pack(const Kernels& k, const Convolution& c, const at::Tensor& weight, Algorithm algorithm) {
  const at::Tensor w = weight.to(at::kFloat).contiguous();
  const float* from = w.const_data_ptr<float>();
  const auto tap_count = static_cast<int>(c.taps.size());
  const auto size = static_cast<std::size_t>(tap_count) * static_cast<std::size_t>(c.read) *
                    static_cast<std::size_t>(c.few > 0 ? c.few : c.lanes);
  Memory plain = allocate(size);
  for (int t = 0; t < tap_count; ++t) {
    const Convolution::Tap& tap = c.taps[static_cast<std::size_t>(t)];
    for (int o = 0; o < c.layer_outputs; ++o) {
      for (int i = 0; i < static_cast<int>(c.lane_of_input.size()); ++i) {
        const float value = from[c.weight(o, i, tap)];
        const int lane = c.lane_of_input[static_cast<std::size_t>(i)];
        const int read = c.gradient ? o : lane, written = c.gradient ? lane : o;
        const std::ptrdiff_t to = c.few > 0 ? (std::ptrdiff_t{1} * written * tap_count + t) * c.read + read
                                            : (std::ptrdiff_t{1} * t * c.read + read) * c.lanes + written;
        plain[static_cast<std::size_t>(to)] = value;
        if (c.low > 0) plain[static_cast<std::size_t>(to + std::ptrdiff_t{1} * c.low * c.lanes)] = value;
      }
    }
  }
  if (c.few > 0) return plain;
  Memory packed;
  switch (algorithm) {
    case Algorithm::direct:
      packed = allocate(size);
      k.pack_direct(plain.get(), tap_count, c.read, c.lanes, packed.get());
      break;
    case Algorithm::winograd:
      packed = allocate(size * 4);
      k.pack_winograd(plain.get(), c.read, c.lanes, packed.get());
      break;
    case Algorithm::winograd_bf16:
      packed = allocate(size * 6 + 1);
      k.pack_winograd_bf16(plain.get(), c.read, c.lanes, packed.get());
      break;
    case Algorithm::tiles:
      packed = allocate(tile_weights(tap_count, c.read, c.lanes));
      k.pack_tiles(plain.get(), tap_count, c.read, c.lanes, packed.get());
      break;
  }
  return packed;
}

/// A vector of lanes from a parameter (channels), or rows of lanes from (rows, channels).
Memory spread(const at::Tensor& values, int lanes, const std::vector<int>& lane_of_channel) {
  const at::Tensor v = values.to(at::kFloat).contiguous();
  const auto channels = static_cast<std::int64_t>(lane_of_channel.size());
  const std::int64_t rows = v.numel() / channels;
  Memory out = allocate(static_cast<std::size_t>(rows * lanes));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < channels; ++c)
      out[static_cast<std::size_t>(r * lanes + lane_of_channel[static_cast<std::size_t>(c)])] =
          v.const_data_ptr<float>()[r * channels + c];
  }
  return out;
}

}  // namespace igebm::engine::cpu
