#include "igebm/sampling/on_device.h"

#include "igebm/base/error.h"

namespace igebm::sampling {

StepInfo langevin_on_device(const DeviceLangevin&, const energy::Energy&, Chains&) {
  throw UserError("langevin: chains on a CUDA device, and this igebm was built without CUDA");
}

}  // namespace igebm::sampling
