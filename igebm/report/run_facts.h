#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "igebm/report/evaluations.h"

/// What a run's folder tells (docs/run.md), for people to read.
namespace igebm::report {

/// A figure over training steps.
struct Series {
  std::string name;  ///< "energy/data"
  std::vector<std::pair<std::int64_t, double>> points;
  std::int64_t each = 1;  ///< points are means of so many figures, of a long run
};

/// A key of the recipe that is not as it is by default.
struct Difference {
  std::string key, value, usual, doc;
};

/// Something that happened at a training step.
struct Event {
  std::int64_t step = 0;
  std::string what;
};

struct RunFacts {
  std::filesystem::path folder;
  std::string name;  ///< the folder's
  bool in_training = false;
  std::int64_t step = 0, steps = 0;                        ///< trained by the newest checkpoint, and in all
  std::vector<std::pair<std::string, std::string>> facts;  ///< what: how it is; in the order of reading
  std::vector<Difference> differences;
  std::string recipe;  ///< recipe.toml as it is
  std::vector<Series> series;
  std::vector<Event> phases, events;                           ///< where phases begin; what the watchdog did
  std::vector<std::pair<std::int64_t, std::string>> pictures;  ///< PNG, samples of a step
  std::string last_picture;                                    ///< PNG, samples at the end; empty: none yet
  std::string caption;                                         ///< of the pictures: what is where
  std::vector<std::string> columns;                            ///< the classes of last_picture's columns, where it has
  std::vector<Series> trace;  ///< what the chains of last_picture went through, by their steps
  std::vector<Evaluation> evaluations;
  std::string card;  ///< README.md of a model that is kept with one
};

struct ReadOptions {
  std::int64_t points = 2000;  ///< of a series, at most
  std::int64_t picture_bytes =
      3000000;  ///< of samples of steps, in all; the first, the last and what lies evenly between
};

/// Of a run, also one that is being trained, or a model as models/ keeps them. Throws UserError where it is neither.
RunFacts read_run(const std::filesystem::path& run, const ReadOptions& options = {});

}  // namespace igebm::report
