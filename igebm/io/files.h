#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace igebm::io {

/// A whole file. Throws UserError if it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Written under another name in the same folder, synced, renamed: afterwards the file is either the old one or the
/// whole new one. Throws UserError (disk full, no permission) and leaves the old one.
void write_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Makes renames in a folder last through a power cut.
void sync_folder(const std::filesystem::path& folder);

}  // namespace igebm::io
