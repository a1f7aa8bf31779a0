#include "igebm/data/fetch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "igebm/base/error.h"
#include "igebm/data/fetch/parts.h"
#include "igebm/io/files.h"
#include "igebm/io/lock.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

bool is_there(const Source& source, const fs::path& folder) {
  const auto there = [&](const std::string& name) { return fs::exists(folder / name); };
  return source.members.empty() ? there(source.file) : std::all_of(source.members.begin(), source.members.end(), there);
}

/// Why the file at `path` is not the source's; empty if it is.
std::string difference(const Source& source, const fs::path& path) {
  const auto size = static_cast<std::int64_t>(fs::file_size(path));
  if (source.bytes > 0 && size != source.bytes) return fmt::format("{} bytes, expected {}", size, source.bytes);
  const std::string got = checksum(path, std::strlen(source.checksum));
  if (*source.checksum == '\0' || got == source.checksum) return {};
  return fmt::format("checksum {}, expected {}", got, source.checksum);
}

}  // namespace

void fetch(const Set& set, const FetchOptions& options, Observer& observer) {
  const std::string variant = find_variant(set, options.variant);
  if (set.sources.empty() && *set.page != '\0')
    throw UserError(fmt::format("{}: can be downloaded only after registering at {}; put {} into {}", set.name,
                                set.page, set.needs, fetch_folder(set).string()));
  if (set.sources.empty())
    throw UserError(fmt::format("{}: nothing to fetch: it {}", set.name,
                                set.given ? fmt::format("is {} of your own", set.needs) : "is made, not downloaded"));
  const fs::path folder = options.folder.empty() ? fetch_folder(set) : options.folder;
  io::make_folder(folder);
  std::optional<io::Lock> lock;
  for (const Source& source : set.sources) {
    if (*source.variant != '\0' && variant != source.variant) continue;
    if (is_there(source, folder)) {
      observer.message(fmt::format("{}: {} is there already", folder.string(), source.file));
      continue;
    }
    if (!lock) lock.emplace(folder);  // two that append to one file would spoil it
    // An archive that was downloaded by other means.
    if (const fs::path own = folder / source.file; fs::exists(own)) {
      if (const std::string what = difference(source, own); !what.empty())
        throw UserError(fmt::format("{}: {}; it is damaged or another file", own.string(), what));
      unpack(own, source.members, folder);
      io::sync_folder(folder);
      observer.message(fmt::format("{}: checksum right, unpacked", own.string()));
      continue;
    }
    const std::string address =
        options.from.empty()
            ? source.address
            : fmt::format("{}/{}", options.from.substr(0, options.from.find_last_not_of('/') + 1), source.file);
    const fs::path part = folder / (std::string(source.file) + ".part");
    const std::int64_t before = fs::exists(part) ? static_cast<std::int64_t>(fs::file_size(part)) : 0;
    if (source.bytes > 0 && before > source.bytes) fs::remove(part);
    const bool whole = source.bytes > 0 && before == source.bytes;
    if (!whole) {
      download(address, part, [&](std::int64_t done, std::int64_t total) {
        observer.progress(source.file, done, std::max(total, source.bytes));
        return options.stop && options.stop();
      });
    }
    if (const std::string what = difference(source, part); !what.empty()) {
      fs::remove(part);
      throw UserError(
          fmt::format("{}: {}; it was damaged on its way or is another file, and is removed", address, what));
    }
    if (source.members.empty()) {
      fs::rename(part, folder / source.file);
    } else {
      unpack(part, source.members, folder);
      fs::remove(part);
    }
    io::sync_folder(folder);
    observer.message(fmt::format("{}: {}", (folder / source.file).string(),
                                 source.members.empty() ? "whole, checksum right" : "checksum right, unpacked"));
  }
}

}  // namespace igebm::data
