#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace igebm {

using Metrics = std::vector<std::pair<std::string, double>>;

/// What long work tells whoever cares. The library itself never prints; every member does nothing unless overridden.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void message(std::string_view /*one line*/) {}
  virtual void progress(std::string_view /*stage*/, std::int64_t /*done*/, std::int64_t /*total*/) {}
  virtual void metrics(std::int64_t /*step*/, const Metrics&) {}
  virtual void picture(std::int64_t /*step*/, const std::string& /*path*/) {}
};

}  // namespace igebm
