#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

/// Where tensors live. base/cuda/ is compiled where there is a CUDA compiler and a LibTorch with CUDA, else
/// base/no_cuda/.
namespace igebm {

/// Was this program built with CUDA? It may still find no device.
bool built_with_cuda();

/// Devices that can be used now; 0 without CUDA.
int cuda_devices();

/// "cpu", "cuda" (the first device), "cuda:1", …, or "auto": the first CUDA device if there is one, else the CPU.
/// Throws UserError for any other name, for a device that is not there, and for CUDA in a build without it.
c10::Device find_device(const std::string& name);

/// "cpu", or "cuda:0 (the card's name)".
std::string device_name(c10::Device device);

/// This machine, in words: "Intel(R) Xeon(R) Processor, 2 threads".
std::string machine();

/// Bytes at most until now: resident ones of this process, or on a CUDA device what LibTorch has reserved.
std::int64_t peak_memory(c10::Device device);

/// Bytes that this process may have at most: the machine's memory and swap, or less where a limit is set (ulimit -v).
std::int64_t memory_limit();

}  // namespace igebm
