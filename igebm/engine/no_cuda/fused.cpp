#include "igebm/engine/fused.h"

// A build without a device's kernels.
namespace igebm::engine::fused {

bool epilogue(const Epilogue&, const at::Tensor&, at::Tensor&, at::Tensor&) { return false; }
bool activation_gradient(Activation, double, const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&) {
  return false;
}
bool block_sums(const at::Tensor&, std::int64_t, double, at::Tensor&) { return false; }
bool spread(const at::Tensor&, std::int64_t, double, at::Tensor&) { return false; }
bool group_norm(const GroupNorm&, const at::Tensor&, at::Tensor&, at::Tensor&, at::Tensor&) { return false; }
bool group_norm_gradient(const GroupNorm&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                         const at::Tensor&, at::Tensor&) {
  return false;
}
bool group_norm_tangent(const GroupNorm&, GroupNormTangent&, at::Tensor&) { return false; }
bool group_norm_gradient_tangent(const GroupNorm&, const GroupNormTangent&, const GroupNormPull&, at::Tensor&,
                                 at::Tensor&, at::Tensor&) {
  return false;
}

}  // namespace igebm::engine::fused
