#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "igebm/model/model.h"

/// What the viewer asks for, without HTTP (docs/viewer.md). JSON in, JSON out.
namespace igebm::serve {

using Json = nlohmann::ordered_json;

/// A model that may be asked for: those that come with igebm, and the runs that the server was given.
struct Offer {
  std::string name, path, about;
};
/// Throws UserError where a run cannot be opened or two have one name.
std::vector<Offer> offers(const std::vector<std::string>& runs);

/// Told what happens; false: nobody listens any more, so that the work stops.
using Tell = std::function<bool(const std::string& event, const Json& data)>;

/// A sampling that can begin: its request was right.
class Job {
 public:
  virtual ~Job() = default;
  /// Events: "frame" {step, total, energy, gradient_norm, image}, at most twenty a second, image a data URL; "done"
  /// {seconds, gradients, energies, image, command}. Jobs run one at a time.
  virtual void run(const Tell& tell) const = 0;
  /// The samples alone, as a PNG file: pictures as `igebm sample --out x.png` makes them; points in their density.
  virtual std::string png() const = 0;
};

/// For several threads.
class Api {
 public:
  explicit Api(std::vector<Offer> offers) : offers_(std::move(offers)) {}

  /// {"models": [{"name", "about", "kind": "image" or "points", "shape", "classes": [...], "none", "numbers": [...],
  /// "noise_levels", "gradients"}]}.
  Json models();

  /// Samples as `igebm sample` draws them. Of `request` the keys: model, label, condition (as --label and --condition
  /// have them), count (1 to 400, of points 10000), budget (1 to 2000), guidance (0 to 20), seed. Throws UserError for
  /// what is wrong with it.
  std::unique_ptr<Job> prepare(const Json& request);

 private:
  struct Opened {
    std::string key;
    std::shared_ptr<const model::Model> model;
  };
  const Offer& offer(const std::string& name) const;
  std::shared_ptr<const model::Model> open(const Offer& offer, const std::vector<std::string>& set);

  const std::vector<Offer> offers_;
  std::mutex mutex_;          // of what follows
  std::list<Opened> opened_;  // the latest first
  Json models_;               // told once: null before that
};

}  // namespace igebm::serve
