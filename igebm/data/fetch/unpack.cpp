#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>

#include "igebm/base/error.h"
#include "igebm/data/fetch/parts.h"

namespace igebm::data {

namespace fs = std::filesystem;

void unpack(const fs::path& path, const std::vector<std::string>& wanted, const fs::path& folder) {
  const std::unique_ptr<archive, int (*)(archive*)> file(archive_read_new(), archive_read_free);
  archive_read_support_filter_all(file.get());
  archive_read_support_format_tar(file.get());
  archive_read_support_format_zip(file.get());
  const auto fail = [&] {
    const char* why = archive_error_string(file.get());
    return UserError(fmt::format("{}: {}", path.string(), why == nullptr ? "damaged" : why));
  };
  if (archive_read_open_filename(file.get(), path.c_str(), 1 << 20) != ARCHIVE_OK) throw fail();
  std::set<std::string> missing(wanted.begin(), wanted.end());
  archive_entry* entry = nullptr;
  int status = ARCHIVE_OK;
  while ((status = archive_read_next_header(file.get(), &entry)) == ARCHIVE_OK) {
    // Only the last part of a member's name is used: nothing can be written outside the folder.
    const char* stored = archive_entry_pathname(entry);
    const std::string name = fs::path(stored == nullptr ? "" : stored).filename().string();
    if (archive_entry_filetype(entry) != AE_IFREG || !missing.contains(name)) continue;
    const fs::path temporary = folder / (name + ".part");
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    std::vector<char> buffer(1 << 20);
    la_ssize_t got = 0;
    while ((got = archive_read_data(file.get(), buffer.data(), buffer.size())) > 0) out.write(buffer.data(), got);
    out.close();
    std::error_code error;
    if (got < 0 || !out) {
      fs::remove(temporary, error);
      throw got < 0 ? fail() : UserError(fmt::format("{}: cannot be written", (folder / name).string()));
    }
    fs::rename(temporary, folder / name, error);
    if (error) throw UserError(fmt::format("{}: cannot be written: {}", (folder / name).string(), error.message()));
    missing.erase(name);
  }
  if (status != ARCHIVE_EOF) throw fail();
  if (!missing.empty()) throw UserError(fmt::format("{}: lacks {}", path.string(), fmt::join(missing, ", ")));
}

}  // namespace igebm::data
