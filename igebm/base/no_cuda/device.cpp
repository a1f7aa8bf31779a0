#include "igebm/base/device.h"

namespace igebm {

bool built_with_cuda() { return false; }
int cuda_devices() { return 0; }
std::string device_name(c10::Device device) { return device.str(); }

}  // namespace igebm
