#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace igebm {

/// Work on a CUDA device, recorded once and played again with one launch (a CUDA graph). What it reads and writes stays
/// at the addresses of its recording: its inputs are to be copied there before it is played. For one thread at a time.
class Recording {
 public:
  virtual ~Recording() = default;
  /// On the current stream; does not wait.
  virtual void play() const = 0;
};

/// Records `work`, which never waits for the device, after three runs of `warm_up`, in which libraries choose their
/// algorithms and take their memory. Recordings that are played one after the other share the memory in between: beside
/// is one of them, or null. Null where `device` records nothing: it is no CUDA device.
std::unique_ptr<Recording> record(c10::Device device, const std::function<void()>& warm_up,
                                  const std::function<void()>& work, const Recording* beside = nullptr);

/// Is this thread within record()? What would play a recording of its own then does its work instead, to be recorded.
bool is_recording();

}  // namespace igebm
