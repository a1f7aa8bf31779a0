#include "igebm/io/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <string_view>

#include "igebm/base/error.h"
#include "igebm/io/files.h"

namespace igebm::io {
namespace {

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), masked as TFRecord asks.
std::uint32_t masked_crc(std::string_view bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit) t[i] = (t[i] >> 1) ^ ((t[i] & 1) != 0 ? 0x82f63b78U : 0U);
    }
    return t;
  }();
  std::uint32_t crc = ~0U;
  for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value | 128);
  return bytes += static_cast<char>(value);
}

// Fields of a protocol buffer, by number and wire type: 0 a varint, 1 eight bytes, 2 a length and bytes, 5 four bytes.
std::string integer(int number, std::int64_t value) {
  return varint(static_cast<std::uint64_t>(number) << 3) + varint(static_cast<std::uint64_t>(value));
}
std::string real(int number, double value) { return varint(static_cast<std::uint64_t>(number) << 3 | 1) + raw(value); }
std::string real(int number, float value) { return varint(static_cast<std::uint64_t>(number) << 3 | 5) + raw(value); }
std::string text(int number, std::string_view value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(value.size()) + std::string(value);
}

// Event: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
std::string event(std::int64_t step, const std::string& content) {
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return real(1, now) + integer(2, step) + content;
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder, std::int64_t first_step) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  // TensorBoard reads the files of a folder in the order of their names.
  path_ = folder / fmt::format("events.out.tfevents.{:010}.{}.{:06}.{}", micros / 1000000, host.data(),
                               micros % 1000000, getpid());
  file_.open(path_, std::ios::binary);
  write(event(0, text(3, "brain.Event:2")));
  if (first_step > 0) write(event(first_step + 1, text(7, integer(1, 1))));  // SessionLog, 1 status: START
}

void EventFile::write(const std::string& event) {
  const std::string length = raw(static_cast<std::uint64_t>(event.size()));
  file_ << length << raw(masked_crc(length)) << event << raw(masked_crc(event)) << std::flush;
  if (!file_) throw UserError(fmt::format("{}: cannot be written (is the disk full?)", path_.string()));
}

void EventFile::scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& figures) {
  std::string summary;  // Summary: 1 value; Value: 1 tag, 2 simple_value
  for (const auto& [name, value] : figures) summary += text(1, text(1, name) + real(2, static_cast<float>(value)));
  write(event(step, text(5, summary)));
}

void EventFile::picture(std::int64_t step, const std::filesystem::path& path) {
  const std::string png = read_file(path);
  const auto big_endian = [&png](std::size_t at) {  // PNG's header has width and height at bytes 16 and 20
    std::int64_t n = 0;
    for (std::size_t i = at; i < at + 4 && i < png.size(); ++i) n = n << 8 | static_cast<unsigned char>(png[i]);
    return n;
  };
  // Value: 4 image; Image: 1 height, 2 width, 3 colorspace, 4 encoded_image_string
  const std::string image = integer(1, big_endian(20)) + integer(2, big_endian(16)) + integer(3, 3) + text(4, png);
  write(event(step, text(5, text(1, text(1, "samples") + text(4, image)))));
}

}  // namespace igebm::io
