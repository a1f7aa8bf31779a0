#include "igebm/base/philox.h"
#include "igebm/sampling/cuda/update.h"

namespace igebm::sampling::cuda {
namespace {

#include "igebm/sampling/cuda/update.inl"

/// A thread for four elements, as far as a block goes; whole warps.
unsigned threads(std::uint32_t elements) {
  unsigned count = 32;
  while (count < update_threads && count * 4 < elements) count *= 2;
  return count;
}

}  // namespace

void update(const UpdateArguments& u, void* stream) {
  update_kernel<<<u.chains, threads(u.elements), 0, static_cast<cudaStream_t>(stream)>>>(u);
}

void add_noise(const UpdateArguments& u, void* stream) {
  add_noise_kernel<<<u.chains, threads(u.elements), 0, static_cast<cudaStream_t>(stream)>>>(u);
}

}  // namespace igebm::sampling::cuda
