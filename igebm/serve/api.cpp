#include "igebm/serve/api.h"

#include <array>

#include "igebm/serve/endpoints.h"

namespace igebm::serve {
namespace {

struct Endpoint {
  const char* name;
  std::unique_ptr<Job> (*prepare)(Request&, Models&);
};
constexpr std::array table = {
    Endpoint{"sample", prepare_sample},    //
    Endpoint{"vary", prepare_vary},        //
    Endpoint{"picture", prepare_picture},  //
    Endpoint{"energy", prepare_energy},    //
    Endpoint{"restore", prepare_restore},  //
    Endpoint{"compose", prepare_compose},  //
    Endpoint{"morph", prepare_morph},      //
    Endpoint{"plane", prepare_plane},      //
    Endpoint{"neighbours", prepare_neighbours},
    Endpoint{"train", prepare_train},    //
    Endpoint{"stop", prepare_stop},      //
    Endpoint{"resume", prepare_resume},  //
};

}  // namespace

std::vector<std::string> Api::endpoints() {
  std::vector<std::string> names;
  for (const Endpoint& e : table) names.emplace_back(e.name);
  return names;
}

std::unique_ptr<Job> Api::prepare(const std::string& endpoint, const Json& request) {
  Request read(request);
  for (const Endpoint& e : table) {
    if (endpoint == e.name) return e.prepare(read, models_);
  }
  return nullptr;
}

std::unique_ptr<Job> Api::prepare_first() {
  const Json told = models();
  for (const Json& m : told["models"]) {
    if (m["name"] == told["first"])
      return prepare("sample", {{"model", m["name"]}, {"count", m["kind"] == "image" ? 25 : 2000}, {"seed", 0}});
  }
  return nullptr;
}

}  // namespace igebm::serve
