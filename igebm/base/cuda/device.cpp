#include "igebm/base/device.h"

#include <cuda_runtime_api.h>

namespace igebm {

bool built_with_cuda() { return true; }

int cuda_devices() {
  int count = 0;
  // Without a driver this is an error, which is not kept for the next call.
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  (void)cudaGetLastError();
  return 0;
}

std::string device_name(c10::Device device) {
  cudaDeviceProp properties{};
  if (!device.is_cuda() || cudaGetDeviceProperties(&properties, device.index()) != cudaSuccess) return device.str();
  return device.str() + " (" + static_cast<const char*>(properties.name) + ")";
}

}  // namespace igebm
