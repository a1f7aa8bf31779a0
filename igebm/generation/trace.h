#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "igebm/io/plot.h"
#include "igebm/model/model.h"

namespace igebm::generation {

/// What chains went through, step by step: told by a model's sampling, SampleRequest::on_step and on_round.
class Trace {
 public:
  /// Of `count` chains, in the order in which they are begun, with their pictures after so many steps. `sigmas`: of
  /// each step, of chains that all take the same (sampling::noise_levels); empty: none, or told by on_round.
  Trace(std::int64_t count, std::vector<std::int64_t> pictures_after, std::vector<double> sigmas = {});

  void record(const sampling::StepInfo& info, const sampling::Chains& chains, const at::Tensor& sigma = {});

  /// energy, gradient_norm and moved (N, S) float, of N chains and S steps, the first two where a step took its
  /// gradient, and moved |x - x'| from the step before, not known of the first; NaN after a chain's end. sigma (N, S),
  /// of models of noise levels. pictures (P, N, ...), in the model's range, after picture_steps (P) int64, of those
  /// that the longest chain has taken: of chains that had ended, as they ended.
  std::map<std::string, at::Tensor> arrays() const;

  /// Curves of the first chains and of the mean over all, and the first chains' pictures where records are pictures;
  /// uint8 (H, W, 3).
  at::Tensor picture(const model::SampleSpace& space) const;

 private:
  struct One {
    std::vector<float> energy, gradient, moved, sigma;
    at::Tensor x;  // after its last step
    std::map<std::int64_t, at::Tensor> pictures;
  };
  std::vector<io::Curve> curves(const std::vector<float> One::*figure) const;

  std::map<std::int64_t, std::size_t> places_;  // by stream
  std::vector<std::int64_t> pictures_after_;
  std::vector<double> sigmas_;
  std::vector<One> chains_;
};

}  // namespace igebm::generation
