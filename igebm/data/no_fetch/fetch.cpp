#include "igebm/data/fetch.h"

#include <fmt/format.h>

#include "igebm/base/error.h"

namespace igebm::data {

void fetch(const Set& set, const FetchOptions& options, Observer&) {
  find_variant(set, options.variant);
  const auto folder = options.folder.empty() ? fetch_folder(set) : options.folder;
  throw UserError(fmt::format(
      "{}: this igebm was built without libcurl, OpenSSL and libarchive; download it from {} and put {} into {}",
      set.name, *set.page == '\0' ? "its publisher" : set.page, set.needs, folder.string()));
}

}  // namespace igebm::data
