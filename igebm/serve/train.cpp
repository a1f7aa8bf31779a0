#include <fmt/format.h>

#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/lock.h"
#include "igebm/report/run_facts.h"
#include "igebm/serve/endpoints.h"

namespace igebm::serve {
namespace {

/// Key "run": one that the server was given.
const Offer& run_of_request(Request& request, const Models& models) {
  const std::string name = request.text("run");
  std::string names;
  for (const Offer& offer : models.all()) {
    if (offer.own && (offer.name == name || name.empty())) return offer;
    if (offer.own) names += (names.empty() ? "" : ", ") + offer.name;
  }
  throw UserError(names.empty() ? "run: igebm serve was given none, as in igebm serve runs/mine"
                                : fmt::format("run: expected one of {}, got \"{}\"", names, name));
}

class Training : public Job {
 public:
  explicit Training(std::string path) : path_(std::move(path)) {}
  bool computes() const override { return false; }

  Result run(const Tell&) const override {
    report::RunFacts facts = report::read_run(path_, {.points = 600, .picture_bytes = 1});
    Json series = Json::array(), events = Json::array();
    for (const report::Series& s : facts.series) series.push_back({{"name", s.name}, {"points", s.points}});
    for (const report::Event& e : facts.events) events.push_back({{"step", e.step}, {"what", e.what}});
    Json data = {{"run", facts.name},
                 {"in_training", facts.in_training},
                 {"finished", facts.steps > 0 && facts.step >= facts.steps},
                 {"series", std::move(series)},
                 {"events", std::move(events)},
                 {"command", "igebm train --resume " + io::in_shell(path_)}};
    if (facts.pictures.empty()) return {std::move(data), facts.last_picture};
    data["picture_step"] = facts.pictures.back().first;
    return {std::move(data), std::move(facts.pictures.back().second)};
  }

 private:
  std::string path_;
};

class Stopping : public Job {
 public:
  explicit Stopping(std::string path) : path_(std::move(path)) {}
  bool computes() const override { return false; }
  Result run(const Tell&) const override {
    if (!io::Lock::ask_to_stop(path_)) throw UserError("this run is not in training here");
    return {{{"asked", true}}};
  }

 private:
  std::string path_;
};

class Resuming : public Job {
 public:
  Resuming(const Resume& resume, std::string path) : resume_(resume), path_(std::move(path)) {}
  bool computes() const override { return false; }
  Result run(const Tell&) const override {
    if (io::Lock::is_held(path_)) throw UserError("this run is in training");
    resume_(path_);
    return {{{"in_training", true}}};
  }

 private:
  const Resume& resume_;
  std::string path_;
};

}  // namespace

std::unique_ptr<Job> prepare_train(Request& request, Models& models) {
  const Offer& run = run_of_request(request, models);
  request.done();
  return std::make_unique<Training>(run.path);
}

std::unique_ptr<Job> prepare_stop(Request& request, Models& models) {
  const Offer& run = run_of_request(request, models);
  request.done();
  return std::make_unique<Stopping>(run.path);
}

std::unique_ptr<Job> prepare_resume(Request& request, Models& models) {
  const Offer& run = run_of_request(request, models);
  request.done();
  if (!models.resume()) throw UserError("this server resumes no trainings");
  return std::make_unique<Resuming>(models.resume(), run.path);
}

}  // namespace igebm::serve
