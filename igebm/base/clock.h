#pragma once

#include <chrono>

namespace igebm {

/// Seconds of a clock that never goes back, from some moment on.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace igebm
