#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "igebm/serve/job.h"
#include "igebm/serve/models.h"

/// What the viewer asks for, without HTTP (docs/viewer.md). JSON in, JSON out.
namespace igebm::serve {

/// For several threads.
class Api {
 public:
  explicit Api(std::vector<Offer> offers, Resume resume = {}) : models_(std::move(offers), std::move(resume)) {}

  /// {"models": [{"name", "about", "own", "kind": "image" or "points", "shape", "classes": [...], "none", "numbers":
  /// [...], "noise_levels", "gradients", "noise"}], "first": the one that the page begins with, or null}.
  Json models() { return models_.told(); }

  /// The names of what can be asked for: "sample", …
  static std::vector<std::string> endpoints();
  /// One of them. Throws UserError for what is wrong with the request. The job must not outlive this.
  std::unique_ptr<Job> prepare(const std::string& endpoint, const Json& request);
  /// What the page asks for when it is opened; null: nothing.
  std::unique_ptr<Job> prepare_first();

 private:
  Models models_;
};

}  // namespace igebm::serve
