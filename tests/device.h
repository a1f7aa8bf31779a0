#pragma once

#include <barrier>
#include <memory>
#include <thread>
#include <vector>

/// An imitation of a CUDA device that runs kernels (igebm/*/cuda/*.inl) on the host: one block after the other, a
/// block's threads as threads that meet at __syncthreads. It shows that a kernel computes what it should and reads and
/// writes where it should; not how fast, nor what a real device's memory order would allow.
#define __device__
#define __global__
#define __shared__ static

namespace igebm::imitation {

struct Dim {
  unsigned x = 1;
};

inline thread_local Dim threadIdx, blockIdx;
inline Dim blockDim, gridDim;
inline std::unique_ptr<std::barrier<>> meeting;

inline void __syncthreads() { meeting->arrive_and_wait(); }

/// kernel<<<blocks, threads>>>(arguments)
template <typename Arguments>
void launch(void (*kernel)(Arguments), unsigned blocks, unsigned threads, const Arguments& arguments) {
  blockDim = {threads};
  gridDim = {blocks};
  meeting = std::make_unique<std::barrier<>>(threads);
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      threadIdx = {t};
      for (unsigned b = 0; b < blocks; ++b) {
        blockIdx = {b};
        kernel(arguments);
        meeting->arrive_and_wait();
      }
    });
  }
  for (auto& thread : all) thread.join();
}

}  // namespace igebm::imitation
