#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace igebm::io {

/// An event file that TensorBoard reads: records of TFRecord's framing (length, masked CRC-32C, bytes, masked CRC-32C)
/// that hold protocol buffers of tensorflow/core/util/event.proto. Figures are float32 there, by its format.
class EventFile {
 public:
  /// Opens `folder`/events.out.tfevents.<time>.<host>, a new file each time; the folder is made. `first_step` > 0 says
  /// that a run goes on from there: TensorBoard then drops what other files in the folder have of later steps.
  /// Throws UserError if it cannot be written.
  EventFile(const std::filesystem::path& folder, std::int64_t first_step);

  void scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& figures);
  /// The PNG file at `png`, under the tag "samples".
  void picture(std::int64_t step, const std::filesystem::path& png);

 private:
  void write(const std::string& event);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace igebm::io
