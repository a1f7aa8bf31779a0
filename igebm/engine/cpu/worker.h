#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "igebm/engine/cpu/plan.h"
#include "igebm/nn/network.h"

/// A plan carried out by one thread.
namespace igebm::engine::cpu {

struct Free {
  void operator()(float* p) const;
};
using Memory = std::unique_ptr<float[], Free>;

/// Aligned, zero.
Memory allocate(std::size_t floats);

enum class Algorithm : std::uint8_t { direct, winograd, winograd_bf16, tiles };
using Algorithms = std::vector<Algorithm>;

/// How the plan is carried out: measured once, then kept (Prepared::choices).
struct Choices {
  int samples = 0;            ///< in a sub-batch
  Algorithms algorithms;      ///< of each convolution
  std::map<int, int> chunks;  ///< by a picture's height: as many samples go through the steps at that height together

  int chunk(const Step& s) const {
    const auto found = s.height * s.width == 1 ? chunks.end() : chunks.find(s.height);
    return found == chunks.end() ? samples : std::min(samples, found->second);
  }
};

/// Everything made of the weights.
struct Weights {
  std::vector<std::shared_ptr<float[]>> packed;  ///< of each convolution, for its algorithm
  std::vector<Memory> vectors;                   ///< of each Vector: the fixed part
  std::vector<Memory> labels;                    ///< of each Vector by labels: (classes or conditions, lanes)
  std::vector<Memory> norms;                     ///< of each Norm: weight and bias

  /// Everything but `packed`.
  void take_vectors(const Plan& plan, const nn::Tensors& tensors);
};

/// What a parameter gradient is added to, one for each thread: sum_i c_i dE(x_i)/d(weight).
struct Gradients {
  std::vector<Memory> convolutions;  ///< of each Convolution: (taps, lanes read, lanes written)
  std::vector<Memory> vectors;       ///< of each Sink: (rows, lanes)
  explicit Gradients(const Plan& plan);
  void clear(const Plan& plan);
};

/// A thread's memory and its run through the plan.
class Worker {
 public:
  Worker(const Plan& plan, int samples);
  int samples() const { return samples_; }

  /// What the parameters' gradient needs beside the input's.
  struct Pull {
    const float* coefficients = nullptr;  ///< c_i = coefficients[i] + slopes[i] E(x_i)
    const float* slopes = nullptr;
    Gradients* into = nullptr;
  };

  /// Energies of `count` <= samples inputs, and gradients unless null; with `pull`, of a plan made for it, also the
  /// parameters' gradient. timed, if given, is told of every step and its seconds. By a plan made for joint tangents
  /// label_slopes() are <dE/dlabels, labels_dot>.
  void run(const Kernels& k, const Weights& w, const Choices& choices, const float* x, const Labels& labels, int count,
           float* energies, float* gradient, const std::function<void(const Step&, double)>& timed = {},
           const Pull* pull = nullptr, const Labels& labels_dot = {});
  const float* label_slopes() const { return label_slopes_.data(); }

  /// What a tangent is along: v_i in x; of a joint one also along_labels[i] times labels_dot, and scale[i] of E.
  struct Direction {
    const float *v = nullptr, *along_labels = nullptr, *scale = nullptr;
    float* product = nullptr;  ///< by a plan made for it: filled with the Hessian times v, and nothing is added
  };
  /// After a run of a plan made for tangents: adds the gradient in the weights of sum_i [<v_i, dE/dx(x_i)> +
  /// along_labels[i] <dE/dlabels, labels_dot_i> + scale[i] E(x_i)] to `into`. Once.
  void pull(const Kernels& k, const Weights& w, const Choices& choices, const Direction& along, int count,
            Gradients& into);

  /// A step for `count` samples from `first` on.
  void run(const Step& s, const Kernels& k, const Weights& w, const Choices& choices, int first, int count);

 private:
  void take(const std::vector<Step>& steps, const Kernels& k, const Weights& w, const Choices& choices, int count,
            const std::function<void(const Step&, double)>& timed);
  float* at(Ref r);
  /// Pictures from sample `first` on.
  View view(Ref r, int first);
  /// One of each sample, for the whole picture.
  View view_of_vector(int index, int first) const;
  /// Where a step writes, or reads beside its input, from sample `first` on.
  View result(const Step& s, Ref r, int first);
  Epilogue epilogue(const Step& s, const Weights& w, int first);
  DirectConvolution direct(const Step& s, const View& in, const float* weights);
  void convolve(const Step& s, const Kernels& k, const Weights& w, const Choices& choices, int first,
                const Extent& extent, const Epilogue& e);
  void attend(const Step& s, const Kernels& k, int first, const Extent& extent, const Epilogue& e);
  void normalise(const Step& s, const Kernels& k, const Weights& w, int first, const Extent& extent, const Epilogue& e);
  float* sink(int index) const { return into_->vectors[static_cast<std::size_t>(index)].get(); }
  /// Sums of vectors by labels for `count` samples.
  void take_labels(const Weights& w, int count);
  /// The derivatives of vectors for `count` samples.
  void take_direction(const Direction& along, int count);
  float* vector_at(std::size_t i) const { return vectors_.get() + vector_starts_[i]; }

  const Plan& plan_;
  int samples_;
  std::vector<std::size_t> starts_, vector_starts_;
  std::vector<std::vector<std::ptrdiff_t>> offsets_;
  Memory memory_, work_, vectors_;
  std::vector<float> coefficients_;  // c_i of this run
  std::vector<float> along_labels_, label_slopes_;
  const float *x_ = nullptr, *v_ = nullptr;
  Labels labels_, labels_dot_;
  float *gradient_ = nullptr, *product_ = nullptr;
  Gradients* into_ = nullptr;
  bool goes_back_ = true;  // is the run of this forward pass to be differentiated?
};

/// A layer's weights as its algorithm reads them.
Memory pack(const Kernels& k, const Convolution& c, const at::Tensor& weight, Algorithm algorithm);

/// A vector of lanes from a parameter (channels), or rows of lanes from (rows, channels).
Memory spread(const at::Tensor& values, int lanes, const std::vector<int>& lane_of_channel);

}  // namespace igebm::engine::cpu
