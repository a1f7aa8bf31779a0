#include <curl/curl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "igebm/base/error.h"
#include "igebm/data/fetch/parts.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

struct Progress {
  const OnBytes& on_bytes;
  std::int64_t before;
  bool stopped = false;
};

int on_progress(void* to, curl_off_t total, curl_off_t done, curl_off_t, curl_off_t) {
  auto& p = *static_cast<Progress*>(to);
  p.stopped = p.on_bytes(p.before + done, total > 0 ? p.before + total : 0);
  return p.stopped ? 1 : 0;
}

}  // namespace

void download(const std::string& address, const fs::path& path, const OnBytes& on_bytes) {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  if (!ready) throw UserError("libcurl could not be set up");
  std::int64_t last = -1;
  while (true) {
    std::error_code ignored;
    const std::int64_t before = fs::exists(path) ? static_cast<std::int64_t>(fs::file_size(path, ignored)) : 0;
    std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "ab"), std::fclose);
    if (!file) throw UserError(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
    const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
    char reason[CURL_ERROR_SIZE] = {};
    Progress progress{on_bytes, before};
    curl_easy_setopt(curl.get(), CURLOPT_URL, address.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, file.get());
    curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl.get(), CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https,file");
    curl_easy_setopt(curl.get(), CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, 20L);
    curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "igebm");
    curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &progress);
    curl_easy_setopt(curl.get(), CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(before));
    CURLcode code = curl_easy_perform(curl.get());
    if (code == CURLE_WRITE_ERROR || std::fclose(file.release()) != 0)
      throw UserError(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
    if (code == CURLE_OK) return;
    if (progress.stopped)
      throw UserError(
          fmt::format("{}: interrupted; run it again to go on from byte {}", address, fs::file_size(path, ignored)));
    long status = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    // A server that cannot go on in the middle, or has nothing there: from the start again.
    if (before > 0 && (code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME || status == 416)) {
      fs::remove(path, ignored);
      continue;
    }
    // The connection broke: again, as long as each attempt brings something.
    const auto now = static_cast<std::int64_t>(fs::file_size(path, ignored));
    if ((code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_OPERATION_TIMEDOUT) && now > before &&
        now > last) {
      last = now;
      continue;
    }
    if (now == 0) fs::remove(path, ignored);
    const std::string why = *reason != '\0' ? reason : curl_easy_strerror(code);
    const bool no_network = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY ||
                            code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT;
    throw UserError(fmt::format(
        "{}: {}{}", address, why,
        no_network ? fmt::format(" (is there a network? the file may also be downloaded "
                                 "elsewhere, put into {}, and unpacked by this command if it is an archive)",
                                 path.parent_path().string())
                   : ""));
  }
}

}  // namespace igebm::data
