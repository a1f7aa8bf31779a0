#include "igebm/base/recording.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace igebm {
namespace {

thread_local bool recording = false;

class Mark {
 public:
  Mark() { recording = true; }
  ~Mark() { recording = before_; }
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;

 private:
  bool before_ = recording;
};

class CudaRecording : public Recording {
 public:
  CudaRecording(const std::function<void()>& warm_up, const std::function<void()>& work, const Recording* beside) {
    const Mark mark;
    // On a stream of its own.
    auto current = c10::cuda::getCurrentCUDAStream(), side = c10::cuda::getStreamFromPool();
    current.synchronize();
    const c10::cuda::CUDAStreamGuard on(side);
    for (int i = 0; i < 3; ++i) warm_up();
    side.synchronize();
    const auto* other = static_cast<const CudaRecording*>(beside);
    graph_.capture_begin(other != nullptr ? other->pool_ : at::cuda::MempoolId_t{0, 0},
                         cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      abandon();
      throw;
    }
    graph_.capture_end();
    pool_ = graph_.pool();
  }

  void play() const override { graph_.replay(); }

 private:
  void abandon() {
    try {
      graph_.capture_end();
    } catch (...) {
      return;  // what stopped the recording is what the caller is to hear of
    }
  }

  mutable at::cuda::CUDAGraph graph_;
  at::cuda::MempoolId_t pool_ = {0, 0};
};

}  // namespace

std::unique_ptr<Recording> record(c10::Device device, const std::function<void()>& warm_up,
                                  const std::function<void()>& work, const Recording* beside) {
  if (!device.is_cuda()) return nullptr;
  const c10::cuda::CUDAGuard on(device);
  return std::make_unique<CudaRecording>(warm_up, work, beside);
}

bool is_recording() { return recording; }

}  // namespace igebm
