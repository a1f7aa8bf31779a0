#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "igebm/base/clock.h"
#include "igebm/serve/request.h"

namespace igebm::serve {

/// Who is told what happens.
struct Tell {
  std::function<bool()> listens = {};  ///< false: nobody listens any more, so that the work stops; null: somebody does
  /// False likewise; null: the answer alone is wanted.
  std::function<bool(const std::string& event, const Json& data)> event = {};
};

/// Thrown through the work where nobody listens any more.
struct Gone {};

struct Result {
  Json data;
  std::string png = {};                           ///< a PNG file; empty: the answer is no picture
  std::map<std::string, at::Tensor> arrays = {};  ///< as an npz file has them; empty: the answer has none
};

/// A work that can begin: its request was right. Those that compute run one at a time.
class Job {
 public:
  virtual ~Job() = default;
  /// Tells of "frame"s on the way. Throws Gone, and UserError for what is seen late.
  virtual Result run(const Tell& tell) const = 0;
  /// Whether it has to wait for its turn: does it compute energies?
  virtual bool computes() const { return true; }
};

/// Tells of steps, but of no more than twenty a second; of the first and the last always. Looks as often whether
/// anybody listens.
class Frames {
 public:
  explicit Frames(const Tell& tell, std::int64_t total = 0) : tell_(tell), total_(total) {}
  /// `data` is asked for what to tell, beside "step" and "total", where it is time to. Throws Gone.
  void step(const std::function<Json()>& data) { step(done_ + 1, total_, data); }
  void step(std::int64_t done, std::int64_t total, const std::function<Json()>& data) {
    done_ = done;
    const double at = now();
    if (done > 1 && done < total && at - shown_ < seconds) return;
    shown_ = at;
    if (tell_.listens && !tell_.listens()) throw Gone{};
    if (!tell_.event) return;
    Json frame = {{"step", done}, {"total", total}};
    frame.update(data());
    if (!tell_.event("frame", frame)) throw Gone{};
  }

 private:
  static constexpr double seconds = 0.05;
  const Tell& tell_;
  std::int64_t total_, done_ = 0;
  double shown_ = 0;
};

}  // namespace igebm::serve
