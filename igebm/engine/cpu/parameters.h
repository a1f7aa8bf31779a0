#pragma once

#include <vector>

#include "igebm/engine/cpu/worker.h"

namespace igebm::engine::cpu {

/// The parameters' gradient of a prepared network: sum_i c_i dE(x_i)/d(weight), or by a plan made for tangents that of
/// sum_i <v_i, dE/dx(x_i)>, or of what match (engine.h) takes; or by one made for them Hessians times v_i. The samples
/// are parted among the threads in a fixed way and the threads' sums added in order: equal bit for bit for the same
/// number of threads. For one caller at a time.
class ParameterPass {
 public:
  /// sampling: the plan whose packed weights and algorithms serve here too.
  ParameterPass(Plan plan, const Plan& sampling, const Kernels& kernels);

  /// New weights; of `weights` those packed for the sampling plan are shared.
  void take(const Weights& weights, const nn::Tensors& tensors, const Choices& choices);

  /// `count` inputs; their energies are filled. What is added to the sums goes by coefficients and slopes (null: none)
  /// of each. By tangents: gradients are filled with dE/dx, and v_i is given, or with a target c_i (dE/dx(x_i) -
  /// target_i). By joint ones, with a target and Motion's second term (engine.h): residuals are filled.
  struct Batch {
    const float* x = nullptr;
    Labels labels = {};
    std::int64_t count = 0;
    const float *coefficients = nullptr, *slopes = nullptr;
    float* energies = nullptr;
    float* gradients = nullptr;
    const float *v = nullptr, *target = nullptr;
    const float *x_dot = nullptr, *offsets = nullptr, *weights = nullptr;
    Labels labels_dot = {};
    float energy_rate = 0;
    float* residuals = nullptr;
    float* products = nullptr;  ///< filled with the Hessian at x_i times v_i; nothing is added to the sums
  };
  /// The fastest size of a sub-batch, by measuring.
  int best_samples(const Batch& batch, int threads);
  /// samples: of a sub-batch.
  void run(int samples, const Batch& batch, int threads, nn::Tensors& into);

 private:
  void make_sums(int threads);
  /// Inputs `begin` to `end` of the batch, a sub-batch at most.
  void pass(const Batch& batch, std::int64_t begin, std::int64_t end, Worker& worker, Gradients& into) const;
  /// The tangent's direction and the pull along it, after the worker's run.
  void pull(const Batch& batch, std::int64_t begin, std::int64_t end, Worker& worker, Gradients& into) const;
  /// Of the batch's first `count` inputs. Returns its seconds.
  double pass(const Batch& batch, std::int64_t count, int threads, int samples);
  void collect(int threads, nn::Tensors& into) const;

  Plan plan_;
  const Kernels& kernels_;
  std::vector<int> shared_;  // of each convolution: the sampling plan's, -1 for none
  Weights weights_;
  Choices choices_;
  nn::Tensors tensors_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Gradients>> sums_;  // of each thread
};

}  // namespace igebm::engine::cpu
