#include "igebm/serve/server.h"

#include "igebm/base/error.h"

namespace igebm::serve {

struct Server::Parts {};

Server::Server(std::vector<Offer> /*offers*/, const ServerOptions& /*options*/) {
  throw UserError("this igebm was built without cpp-httplib, by which it serves; install it and build again");
}
Server::~Server() = default;
std::int64_t Server::port() const { return 0; }
void Server::run(const std::function<bool()>& /*stops*/) {}

}  // namespace igebm::serve
