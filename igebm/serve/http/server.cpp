#include "igebm/serve/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <httplib.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "igebm/base/error.h"
#include "igebm/io/base64.h"
#include "igebm/io/npz.h"
#include "igebm/report/assets.h"
#include "igebm/serve/turns.h"

namespace igebm::serve {

// Of web/viewer/ (cmake/Embed.cmake).
extern const char page[], style[], main_script[], common_script[], drag_script[], sample_script[], compose_script[],
    restore_script[], morph_script[], plane_script[], train_script[];
extern const unsigned long page_size, style_size, main_script_size, common_script_size, drag_script_size,
    sample_script_size, compose_script_size, restore_script_size, morph_script_size, plane_script_size,
    train_script_size;

namespace {

constexpr std::size_t most_bytes = 64 * 1024;  // of a request's body
constexpr std::size_t connections = 128;       // that are answered at a time
constexpr int patience = 3;                    // seconds without a byte of a request
constexpr int waiting_connections = 1024;      // to be taken
constexpr const char* npz_type = "application/x-npz";
constexpr const char* ending = "this viewer ends";
constexpr const char* busy = "too many are waiting; try again later";
constexpr const char* policy =
    "default-src 'none'; connect-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; script-src "
    "'self'";

void answer(httplib::Response& response, int status, const Json& json) {
  response.status = status;
  response.set_content(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n", "application/json");
}

void refuse(httplib::Response& response, int status, const std::string& why) {
  answer(response, status, {{"error", why}});
}

/// Without its port.
std::string host_of(const std::string& header) {
  if (header.starts_with("[")) return header.substr(1, header.find(']') - 1);
  return header.substr(0, header.rfind(':'));
}

std::string event(const std::string& name, const Json& data) {
  return fmt::format("event: {}\ndata: {}\n\n", name, data.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// The connection that a request came by, which the library does not tell: whose other end is the request's.
int socket_of(const httplib::Request& request) {
  for (int socket = 0; socket < 4096; ++socket) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    std::array<char, INET6_ADDRSTRLEN> address{};
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&peer);
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&peer);
    const bool is_v6 = peer.ss_family == AF_INET6;
    if (!is_v6 && peer.ss_family != AF_INET) continue;
    if (ntohs(is_v6 ? v6->sin6_port : v4->sin_port) != request.remote_port) continue;
    inet_ntop(peer.ss_family, is_v6 ? static_cast<const void*>(&v6->sin6_addr) : &v4->sin_addr, address.data(),
              address.size());
    if (request.remote_addr == address.data()) return socket;
  }
  return -1;
}

bool is_closed(int socket) {
  pollfd asked{.fd = socket, .events = POLLRDHUP, .revents = 0};
  return socket >= 0 && poll(&asked, 1, 0) > 0;
}

Json with_image(Result result) {
  if (!result.png.empty()) result.data["image"] = io::png_url(result.png);
  return std::move(result.data);
}

}  // namespace

struct Server::Parts {
  /// The library lets five connections wait to be taken and resets some of the others, where hundreds come at once.
  class Listener : public httplib::Server {
   public:
    /// After it is bound.
    void let_wait(int count) { (void)::listen(svr_sock_, count); }
  };

  Parts(std::vector<Offer> offers, const ServerOptions& given)
      : options(given), api(std::move(offers), given.resume), turns(given.queue) {}

  ServerOptions options;
  Api api;
  Turns turns;
  Listener http;
  std::int64_t port = 0;
  std::atomic<bool> stopping = false;

  /// Whether a request may be answered; if not, the response says why not.
  bool allows(const httplib::Request& request, httplib::Response& response) const {
    const std::string host = request.get_header_value("Host");
    if (is_loopback(options.host)) {
      if (!is_loopback(host_of(host))) return refuse(response, 403, "asked for under another host's name"), false;
    } else if ((request.path == "/" || request.path.starts_with("/api/")) &&  // the page's other files hold no secret
               request.get_param_value("token") != options.token &&
               request.get_header_value("X-Token") != options.token) {
      return refuse(response, 403, "expected the token that igebm serve printed, as ?token=…"), false;
    }
    if (request.method != "POST") return true;
    if (request.has_header("Origin") && request.get_header_value("Origin") != "http://" + host)
      return refuse(response, 403, "asked for by another site's page"), false;
    if (!request.get_header_value("Content-Type").starts_with("application/json"))
      return refuse(response, 415, "expected Content-Type: application/json"), false;
    return true;
  }

  void file(const char* path, std::string text, const char* type) {
    http.Get(path, [text = std::move(text), type](const httplib::Request&, httplib::Response& response) {
      response.set_header("Content-Security-Policy", policy);
      response.set_content(text, type);
    });
  }

  /// As the request's Accept has it: the result's PNG, its npz file or its JSON alone, or a stream of events.
  void ask(const std::string& endpoint, const httplib::Request& request, httplib::Response& response) {
    const Json asked = Json::parse(request.body, nullptr, /*allow_exceptions=*/false);
    if (asked.is_discarded()) return refuse(response, 400, "the body is no JSON");
    std::shared_ptr<Job> job;
    try {
      job = api.prepare(endpoint, asked);
    } catch (const UserError& e) {
      return refuse(response, 400, e.what());
    }
    if (job->computes() && turns.full()) return refuse(response, 503, busy);
    const std::string accept = request.get_header_value("Accept");
    response.set_header("Cache-Control", "no-store");
    if (accept == "image/png" || accept == "application/json" || accept == npz_type) {
      Result result;
      const int socket = socket_of(request);
      const auto listens = [&] { return !stopping && !is_closed(socket); };
      const auto work = [&] { result = job->run({.listens = listens}); };
      try {
        if (!job->computes()) {
          work();
        } else if (!turns.take([&](std::size_t) { return listens(); }, work)) {
          return refuse(response, 503, stopping ? ending : busy);
        }
      } catch (const Gone&) {
        return refuse(response, 503, ending);  // which nobody reads where it was the client that left
      }
      if (accept == "application/json") return answer(response, 200, with_image(std::move(result)));
      if (accept == npz_type) {
        if (result.arrays.empty()) return refuse(response, 406, "this answer has no arrays");
        return response.set_content(io::encode_npz(result.arrays), npz_type);
      }
      if (result.png.empty()) return refuse(response, 406, "this answer is no picture");
      return response.set_content(result.png, "image/png");
    }
    response.set_chunked_content_provider("text/event-stream", [this, job](std::size_t, httplib::DataSink& sink) {
      stream(*job, {.listens = [&] { return !stopping && sink.is_writable(); },
                    .event =
                        [&](const std::string& name, const Json& data) {
                          const std::string text = event(name, data);
                          return !stopping && sink.is_writable() && sink.write(text.data(), text.size());
                        }});
      sink.done();
      return true;
    });
  }

  void stream(const Job& job, const Tell& tell) {
    const auto waiting = [&](std::size_t before) { return tell.event("waiting", {{"before", before}}); };
    try {
      const auto work = [&] { tell.event("done", with_image(job.run(tell))); };
      if (!job.computes()) {
        work();
      } else if (!turns.take(waiting, work)) {
        tell.event("error", {{"error", busy}});
      }
    } catch (const Gone&) {
      return;
    } catch (const std::exception& e) {
      tell.event("error", {{"error", e.what()}});
    }
  }

  /// The first step of what the page begins with, so that its model is open and the fastest algorithms are known when
  /// somebody comes.
  void warm_up() {
    try {
      const std::unique_ptr<Job> job = api.prepare_first();
      if (!job) return;
      const auto until_a_frame = [](const std::string& name, const Json&) { return name != "frame"; };
      turns.take([](std::size_t) { return false; },
                 [&] { job->run({.listens = [this] { return !stopping; }, .event = until_a_frame}); });
    } catch (const Gone&) {
      return;
    } catch (const std::exception&) {
      return;  // who asks for it is told
    }
  }

  void set_up() {
    http.new_task_queue = [] { return new httplib::ThreadPool(connections); };
    http.set_payload_max_length(most_bytes);
    http.set_read_timeout(patience);
    http.set_socket_options([](socket_t socket) {  // a port that another program listens at is refused
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    http.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      response.set_header("X-Content-Type-Options", "nosniff");
      return allows(request, response) ? httplib::Server::HandlerResponse::Unhandled
                                       : httplib::Server::HandlerResponse::Handled;
    });
    http.set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, const std::exception_ptr& thrown) {
          try {
            std::rethrow_exception(thrown);
          } catch (const UserError& e) {
            refuse(response, 400, e.what());
          } catch (const std::exception& e) {
            refuse(response, 500, e.what());
          }
        });
    http.set_error_handler([](const httplib::Request& request, httplib::Response& response) {
      if (!response.body.empty()) return;
      refuse(response, response.status,
             response.status == 413   ? fmt::format("the body has more than {} bytes", most_bytes)
             : response.status == 404 ? fmt::format("there is no {}", request.path)
                                      : "not understood");
    });
    file("/", std::string(page, page_size), "text/html; charset=utf-8");
    file("/viewer.css",
         std::string(report::dygraphs_style, report::dygraphs_style_size) + std::string(style, style_size), "text/css");
    const auto module = [&](const char* path, const char* text, unsigned long size) {
      file(path, std::string(text, size), "text/javascript");
    };
    module("/dygraphs.js", report::dygraphs_script, report::dygraphs_script_size);
    module("/main.js", main_script, main_script_size);
    module("/common.js", common_script, common_script_size);
    module("/figures.js", report::figures_script, report::figures_script_size);
    module("/drag.js", drag_script, drag_script_size);
    module("/sample.js", sample_script, sample_script_size);
    module("/compose.js", compose_script, compose_script_size);
    module("/restore.js", restore_script, restore_script_size);
    module("/morph.js", morph_script, morph_script_size);
    module("/plane.js", plane_script, plane_script_size);
    module("/train.js", train_script, train_script_size);
    http.Get("/api/models",
             [this](const httplib::Request&, httplib::Response& response) { answer(response, 200, api.models()); });
    for (const std::string& name : Api::endpoints())
      http.Post("/api/" + name, [this, name](const httplib::Request& request, httplib::Response& response) {
        ask(name, request, response);
      });
  }
};

Server::Server(std::vector<Offer> offers, const ServerOptions& options)
    : parts_(std::make_unique<Parts>(std::move(offers), options)) {
  if (!is_loopback(options.host) && options.token.empty())
    throw UserError(fmt::format("serve: {} is not this machine alone: expected a token", options.host));
  parts_->set_up();
  const bool listens = options.port == 0 ? (parts_->port = parts_->http.bind_to_any_port(options.host)) > 0
                                         : parts_->http.bind_to_port(options.host, static_cast<int>(options.port));
  if (!listens)
    throw UserError(
        options.port == 0
            ? fmt::format("serve: {}: cannot be listened to; expected an address of this machine", options.host)
            : fmt::format("serve: port {} of {}: cannot be listened to; another program may have it, or "
                          "this machine has no such address",
                          options.port, options.host));
  parts_->http.let_wait(waiting_connections);
  if (options.port > 0) parts_->port = options.port;
}

Server::~Server() = default;

std::int64_t Server::port() const { return parts_->port; }

void Server::run(const std::function<bool()>& stops) {
  std::jthread listener([this] { parts_->http.listen_after_bind(); });
  std::jthread warming([this] { parts_->warm_up(); });
  while (!stops()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  parts_->stopping = true;
  parts_->http.stop();
}

}  // namespace igebm::serve
