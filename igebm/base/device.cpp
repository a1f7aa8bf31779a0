#include "igebm/base/device.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <thread>

#include "igebm/base/error.h"

namespace igebm {

c10::Device find_device(const std::string& name) {
  if (name == "cpu" || (name == "auto" && cuda_devices() == 0)) return c10::Device(c10::DeviceType::CPU);
  if (name == "cuda" || name == "auto") return find_device("cuda:0");
  const std::string number = name.starts_with("cuda:") ? name.substr(5) : "";
  if (number.empty() || number.size() > 2 || number.find_first_not_of("0123456789") != std::string::npos)
    throw UserError(fmt::format("device: expected \"cpu\", \"cuda\", \"cuda:1\" or \"auto\", got \"{}\"", name));
  if (!built_with_cuda())
    throw UserError("device: this igebm was built without CUDA; use \"cpu\", or see docs/cuda.md");
  const int index = std::stoi(number), count = cuda_devices();
  if (count == 0) throw UserError("device: no CUDA device found; use \"cpu\" or \"auto\"");
  if (index >= count)
    throw UserError(fmt::format("device: no \"{}\": {} CUDA devices here, from cuda:0 on", name, count));
  return {c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)};
}

std::string machine() {
  std::ifstream file("/proc/cpuinfo");
  std::string name = "processor";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) {
      name = line.substr(line.find(": ") + 2);
      break;
    }
  }
  return fmt::format("{}, {} threads", name, std::thread::hardware_concurrency());
}

std::int64_t peak_memory(c10::Device device) {
  if (!device.is_cpu()) {
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    return stats.reserved_bytes[0].peak;  // of all pools together
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

std::int64_t memory_limit() {
  struct sysinfo machine {};
  rlimit limit{};
  auto bytes = std::numeric_limits<std::int64_t>::max();
  if (sysinfo(&machine) == 0)
    bytes = static_cast<std::int64_t>((machine.totalram + machine.totalswap) * machine.mem_unit);
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    bytes = static_cast<std::int64_t>(std::min<std::uint64_t>(limit.rlim_cur, static_cast<std::uint64_t>(bytes)));
  return bytes;
}

}  // namespace igebm
