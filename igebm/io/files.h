#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace igebm::io {

/// What a file says beside its content, by names: of printable ASCII both, names up to 79 characters.
using Texts = std::map<std::string, std::string>;

/// A whole file. Throws UserError if it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Written under another name in the same folder, synced, renamed: afterwards the file is either the old one or the
/// whole new one. Throws UserError (disk full, no permission) and leaves the old one. A link stays one, and what it
/// leads to is written; into a device or a pipe the bytes go as they are.
void write_atomically(const std::filesystem::path& path, std::string_view bytes);

/// For before long work whose result write_atomically is to keep at `path`: whether it could. Throws the same
/// UserError, and leaves nothing behind; folders that are missing count as made by then.
void check_writable(const std::filesystem::path& path);

/// With those above it, where they are missing. Throws UserError.
void make_folder(const std::filesystem::path& folder);

/// For before long work: whether `folder` could be made and files in it. Throws UserError, and leaves nothing behind.
void check_folder(const std::filesystem::path& folder);

/// Makes what was written to a file last through a power cut. Throws UserError where the disk failed.
void sync_file(const std::filesystem::path& path);

/// The same of renames in a folder.
void sync_folder(const std::filesystem::path& folder);

/// As it stands in a command that a shell reads: in quotes where it has to be.
std::string in_shell(const std::filesystem::path& path);

}  // namespace igebm::io
