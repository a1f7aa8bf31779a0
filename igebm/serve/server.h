#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "igebm/serve/api.h"

/// The viewer: a page for the browser and the API behind it (docs/viewer.md), over HTTP.
namespace igebm::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";  ///< anything but this machine itself asks for `token` in every request
  std::int64_t port = 8080;        ///< 0: any that is free
  std::string token = {};          ///< REQUIRED where the host is not this machine
  std::size_t queue = 32;          ///< of samplings that wait or run; more are refused
  Resume resume = {};              ///< null: trainings are not resumed
};

/// Is it a name of this machine alone? 127.0.0.1, ::1 or localhost.
inline bool is_loopback(const std::string& host) { return host == "127.0.0.1" || host == "::1" || host == "localhost"; }

/// Refused are requests under another host's name (DNS rebinding), from other sites' pages, and bodies above 64 kB.
class Server {
 public:
  /// Listens from here on. Throws UserError where it cannot, or igebm was built without cpp-httplib.
  Server(std::vector<Offer> offers, const ServerOptions& options);
  ~Server();
  std::int64_t port() const;
  /// Answers until `stops`, which is asked ten times a second.
  void run(const std::function<bool()>& stops);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace igebm::serve
