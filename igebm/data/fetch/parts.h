#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace igebm::data {

/// Told the bytes there so far and in all (0: unknown); returns true to stop.
using OnBytes = std::function<bool(std::int64_t done, std::int64_t total)>;

/// `address` into `path`, after what is there of it already. Throws UserError with address and reason; what has come
/// stays.
void download(const std::string& address, const std::filesystem::path& path, const OnBytes& on_bytes);

/// Hexadecimal; SHA-256 for 64 digits expected, MD5 for 32.
std::string checksum(const std::filesystem::path& path, std::size_t digits);

/// The members whose last name is one of `wanted`, from a tar or zip in any compression into `folder`, each whole or
/// not at all. Throws UserError where the archive is damaged or lacks one.
void unpack(const std::filesystem::path& archive, const std::vector<std::string>& wanted,
            const std::filesystem::path& folder);

}  // namespace igebm::data
