#include "igebm/engine/cpu/parameters.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <tuple>

#include "igebm/base/clock.h"
#include "igebm/engine/autotuner.h"

namespace igebm::engine::cpu {

ParameterPass::ParameterPass(Plan plan, const Plan& sampling, const Kernels& kernels)
    : plan_(std::move(plan)), kernels_(kernels) {
  std::map<std::tuple<std::string, int, int, std::size_t>, int> at;
  const auto key = [](const Convolution& c) { return std::tuple(c.key(), c.out_y, c.out_x, c.lane_of_input.size()); };
  for (std::size_t i = 0; i < sampling.convolutions.size(); ++i)
    at[key(sampling.convolutions[i])] = static_cast<int>(i);
  for (const Convolution& c : plan_.convolutions) {
    const auto found = at.find(key(c));
    shared_.push_back(found == at.end() ? -1 : found->second);
  }
}

void ParameterPass::take(const Weights& weights, const nn::Tensors& tensors, const Choices& choices) {
  tensors_ = tensors;
  weights_.packed.assign(plan_.convolutions.size(), nullptr);
  choices_.algorithms.assign(plan_.convolutions.size(), Algorithm::direct);
  for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
    const Convolution& c = plan_.convolutions[i];
    const Algorithm same =
        shared_[i] < 0 ? Algorithm::direct : choices.algorithms[static_cast<std::size_t>(shared_[i])];
    // Differences of gradients are for float32.
    const bool widened = same == Algorithm::winograd_bf16 && plan_.tangent.empty();
    choices_.algorithms[i] = c.tiles ? Algorithm::tiles : widened ? Algorithm::winograd : same;
    if (shared_[i] >= 0 && same == choices_.algorithms[i]) {
      weights_.packed[i] = weights.packed[static_cast<std::size_t>(shared_[i])];
    } else {
      weights_.packed[i] = pack(kernels_, c, tensors_.at(c.name + ".weight"), choices_.algorithms[i]);
    }
  }
  weights_.take_vectors(plan_, tensors_);
}

int ParameterPass::best_samples(const Batch& batch, int threads) {
  threads = static_cast<int>(std::min<std::int64_t>(threads, batch.count));
  make_sums(threads);
  // One sub-batch for each thread.
  const auto most = static_cast<int>(std::min<std::int64_t>(batch.count / threads, 64));
  const auto seconds_a_sample = [&](int tried) {
    return least_time([&] { return pass(batch, std::int64_t{threads} * tried, threads, tried); }) / tried;
  };
  return best_size(most, seconds_a_sample).first;
}

void ParameterPass::run(int samples, const Batch& batch, int threads, nn::Tensors& into) {
  threads = static_cast<int>(std::min<std::int64_t>(threads, batch.count));
  make_sums(threads);
  for (int t = 0; t < threads; ++t) sums_[static_cast<std::size_t>(t)]->clear(plan_);
  pass(batch, batch.count, threads, samples);
  if (batch.products == nullptr) collect(threads, into);
}

void ParameterPass::make_sums(int threads) {
  while (static_cast<int>(sums_.size()) < threads) sums_.push_back(std::make_unique<Gradients>(plan_));
}

double ParameterPass::pass(const Batch& batch, std::int64_t count, int threads, int samples) {
  if (!workers_.empty() && workers_[0]->samples() != samples) workers_.clear();
  while (static_cast<int>(workers_.size()) < threads) workers_.push_back(std::make_unique<Worker>(plan_, samples));
  choices_.samples = samples;
  const double start = now();
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int t = 0; t < threads; ++t) {
    const auto thread = static_cast<std::size_t>(t);
    const std::int64_t end = count * (t + 1) / threads;
    for (std::int64_t i = count * t / threads; i < end; i += samples)
      pass(batch, i, std::min<std::int64_t>(i + samples, end), *workers_[thread], *sums_[thread]);
  }
  return now() - start;
}

void ParameterPass::pass(const Batch& batch, std::int64_t begin, std::int64_t end, Worker& worker,
                         Gradients& into) const {
  const auto count = static_cast<int>(end - begin);
  const std::int64_t first = begin * plan_.elements;
  const bool by_tangents = batch.gradients != nullptr;
  const auto from = [&](const float* each) { return each == nullptr ? nullptr : each + begin; };
  const Worker::Pull pull{from(batch.coefficients), from(batch.slopes), &into};
  worker.run(kernels_, weights_, choices_, batch.x + first, batch.labels.from(begin), count, batch.energies + begin,
             by_tangents ? batch.gradients + first : nullptr, {}, by_tangents ? nullptr : &pull,
             batch.labels_dot.from(begin));
  if (by_tangents) this->pull(batch, begin, end, worker, into);
}

void ParameterPass::pull(const Batch& batch, std::int64_t begin, std::int64_t end, Worker& worker,
                         Gradients& into) const {
  const auto count = static_cast<int>(end - begin);
  const std::int64_t size = plan_.elements, first = begin * size;
  if (batch.target == nullptr) {
    float* product = batch.products == nullptr ? nullptr : batch.products + first;
    worker.pull(kernels_, weights_, choices_, {.v = batch.v + first, .product = product}, count, into);
    return;
  }
  std::vector<float> v, along_labels, scale;
  v.reserve(static_cast<std::size_t>(count * size));
  for (std::int64_t sample = begin, at = first; sample < end; ++sample) {
    for (std::int64_t i = 0; i < size; ++i, ++at)
      v.push_back(batch.coefficients[sample] * (batch.gradients[at] - batch.target[at]));
  }
  if (batch.x_dot == nullptr) {
    worker.pull(kernels_, weights_, choices_, {v.data()}, count, into);
    return;
  }
  for (std::int64_t sample = begin; sample < end; ++sample) {
    const float *slope = batch.gradients + sample * size, *x_dot = batch.x_dot + sample * size;
    double r = static_cast<double>(batch.offsets[sample]) + batch.energy_rate * batch.energies[sample] +
               worker.label_slopes()[sample - begin];
    for (std::int64_t i = 0; i < size; ++i) r += static_cast<double>(slope[i]) * x_dot[i];
    batch.residuals[sample] = static_cast<float>(r);
    const float q = batch.weights[sample] * batch.residuals[sample];
    for (std::int64_t i = 0; i < size; ++i) v[static_cast<std::size_t>(sample * size - first + i)] += q * x_dot[i];
    along_labels.push_back(q);
    scale.push_back(q * batch.energy_rate);
  }
  worker.pull(kernels_, weights_, choices_, {v.data(), along_labels.data(), scale.data()}, count, into);
}

void ParameterPass::collect(int threads, nn::Tensors& into) const {
  const auto total = [&](const auto& of, std::ptrdiff_t place) {
    float sum = 0;
    for (int t = 0; t < threads; ++t) sum += of(*sums_[static_cast<std::size_t>(t)])[place];
    return sum;
  };
  for (std::size_t i = 0; i < plan_.convolutions.size(); ++i) {
    const Convolution& c = plan_.convolutions[i];
    if (c.gradient) continue;
    const std::string name = c.name + ".weight";
    at::Tensor gradient = at::zeros(tensors_.at(name).sizes());  // of what reads zeros alone
    float* to = gradient.data_ptr<float>();
    const auto sums = [i](const Gradients& g) { return g.convolutions[i].get(); };
    for (std::size_t t = 0; t < c.taps.size(); ++t) {
      for (int in = 0; in < c.layer_inputs; ++in) {
        const std::ptrdiff_t row =
            (std::ptrdiff_t{1} * static_cast<int>(t) * c.read + c.lane_of_input[static_cast<std::size_t>(in)]) *
            c.lanes;
        for (int out = 0; out < c.layer_outputs; ++out) to[c.weight(out, in, c.taps[t])] = total(sums, row + out);
      }
    }
    nn::add_to(into, name, gradient);
  }
  for (std::size_t i = 0; i < plan_.sinks.size(); ++i) {
    const Sink& s = plan_.sinks[i];
    at::Tensor gradient = at::empty(tensors_.at(s.name).sizes());
    float* to = gradient.data_ptr<float>();
    const auto sums = [i](const Gradients& g) { return g.vectors[i].get(); };
    const std::size_t channels = s.lane_of_channel.size();
    for (int row = 0; row < s.rows; ++row) {
      for (std::size_t c = 0; c < channels; ++c)
        to[static_cast<std::size_t>(row) * channels + c] =
            total(sums, std::ptrdiff_t{1} * row * s.lanes + s.lane_of_channel[c]);
    }
    nn::add_to(into, s.name, gradient);
  }
}

}  // namespace igebm::engine::cpu
