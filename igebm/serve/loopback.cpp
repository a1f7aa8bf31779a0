#include "igebm/serve/server.h"

namespace igebm::serve {

bool is_loopback(const std::string& host) { return host == "127.0.0.1" || host == "::1" || host == "localhost"; }

}  // namespace igebm::serve
