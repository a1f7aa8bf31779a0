#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace igebm::io {

/// One member of a zip file, inflated as it is read: a member of any size costs no memory.
class ZipMember {
 public:
  ZipMember(ZipMember&&) noexcept;
  ZipMember& operator=(ZipMember&&) noexcept;
  ~ZipMember();

  std::uint64_t size() const;  ///< of its content
  std::uint64_t left() const;  ///< of it not yet read
  /// The next `bytes` of the content. Throws UserError where the file is truncated or damaged, at the end also where
  /// the checksum is wrong.
  void read(void* to, std::uint64_t bytes);
  void skip(std::uint64_t bytes);

 private:
  friend class ZipFile;
  struct State;
  friend ZipMember whole_file(const std::filesystem::path& path);
  explicit ZipMember(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A file that is in no zip, read in the same way; nothing checks it.
ZipMember whole_file(const std::filesystem::path& path);

/// A zip file's directory (with zip64, so of any size); members are stored or deflated.
/// Throw UserError with file and place.
class ZipFile {
 public:
  explicit ZipFile(const std::filesystem::path& path);
  std::vector<std::string> names() const;
  bool has(const std::string& name) const;
  ZipMember open(const std::string& name) const;

 private:
  struct Entry {
    std::string name;
    std::uint64_t packed, size, local;
    std::uint32_t checksum;
    std::uint16_t method;
  };
  std::filesystem::path path_;
  std::uint64_t file_size_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace igebm::io
