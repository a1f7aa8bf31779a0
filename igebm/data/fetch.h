#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "igebm/base/observer.h"
#include "igebm/data/data.h"

namespace igebm::data {

struct FetchOptions {
  std::filesystem::path folder;  ///< where to; empty: fetch_folder()
  std::string from;              ///< of a mirror that has the same file names; empty: the publisher's addresses
  std::string variant;           ///< also what only this variant needs
  std::function<bool()> stop =
      nullptr;  ///< asked now and then; true ends it, and what has come stays for the next time
};

/// The first place where load() looks.
std::filesystem::path fetch_folder(const Set& set);

/// Downloads what is not there yet of a set's sources, compares size and checksum, takes archives apart, and puts whole
/// files under their names; an interrupted download goes on where it stopped. Progress in bytes.
/// Throws UserError: an unknown variant, a set that has no addresses (with what to do instead), no network, a wrong
/// checksum (the file is removed), a full disk; everywhere where igebm was built without libcurl, OpenSSL and
/// libarchive.
void fetch(const Set& set, const FetchOptions& options, Observer& observer);

}  // namespace igebm::data
