#pragma once

#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "igebm/data/data.h"
#include "igebm/generation/composite.h"
#include "igebm/model/model.h"
#include "igebm/serve/request.h"

namespace igebm::serve {

/// A model that may be asked for: those that come with igebm, and the runs that the server was given.
struct Offer {
  std::string name, path, about;
  bool own = false;  ///< a run that the server was given
};
/// Throws UserError where a run cannot be opened or two have one name.
std::vector<Offer> offers(const std::vector<std::string>& runs);

/// A model that was chosen, and what it is in a command.
struct Chosen {
  std::string path;
  std::shared_ptr<const model::Model> model;
};

/// A composition that is asked for.
struct Composed {
  std::string text;  ///< that `expression` was read from
  generation::Expression expression;
  generation::CompositeOptions options;
  std::uint64_t seed = 0;  ///< of its normalisers
};

/// Goes on with the training of a run, in a process of its own; returns when it is under way. Throws UserError.
using Resume = std::function<void(const std::filesystem::path& run)>;

/// What is offered, opened as it is asked for. For several threads.
class Models {
 public:
  explicit Models(std::vector<Offer> offers, Resume resume = {})
      : offers_(std::move(offers)), resume_(std::move(resume)) {}

  const std::vector<Offer>& all() const { return offers_; }
  /// Of that name; the first where it is empty. Throws UserError.
  const Offer& offer(const std::string& name) const;
  /// With such settings of its recipe ("section.key=value"). The latest stay open.
  Chosen open(const Offer& offer, const std::vector<std::string>& set = {});
  /// Key "model" of a request, of pictures.
  Chosen of_pictures(Request& request);

  /// An expression over what is offered and densities in the plane. `compares`: in single precision, as energies that
  /// are compared have to be. The latest are kept, with the normalisers that were found for them. Throws UserError that
  /// says the column.
  generation::Composite compose(const Composed& asked, bool compares);
  /// Where its names are of runs: " --model NAME=RUN" of each.
  std::string definitions(const Composed& asked) const;

  /// The model's own data; the latest stay in memory. Throws UserError where they are not there.
  std::shared_ptr<const data::Dataset> test_data(const Chosen& chosen) { return data(chosen, data::Split::test); }
  std::shared_ptr<const data::Dataset> training_data(const Chosen& chosen) { return data(chosen, data::Split::train); }

  const Resume& resume() const { return resume_; }  ///< null: not by this server

  /// What /api/models answers.
  Json told();

 private:
  struct Opened {
    std::string key;
    std::shared_ptr<const model::Model> model;
  };
  std::shared_ptr<const data::Dataset> data(const Chosen& chosen, data::Split split);

  const std::vector<Offer> offers_;
  const Resume resume_;
  std::mutex mutex_;                                                              // of what follows
  std::list<Opened> opened_;                                                      // the latest first
  std::map<bool, generation::Vocabulary> vocabularies_;                           // by whether they compare
  std::list<std::pair<std::string, generation::Composite>> composed_;             // the latest first
  std::list<std::pair<std::string, std::shared_ptr<const data::Dataset>>> data_;  // the latest first
  Json told_;                                                                     // told once: null before that
};

/// Keys "label" and "condition", as --label and --condition have them, of `count` samples; `command` gets them. Empty
/// where there is neither. Throws UserError.
nn::Condition condition_of(Request& request, const model::ConditionSpec& spec, std::int64_t count,
                           std::string& command);

/// The same of what is not drawn from nothing: where there is neither, of a model that knows that, none in particular.
nn::Condition condition_or_none(Request& request, const model::ConditionSpec& spec, std::int64_t count,
                                std::string& command);

}  // namespace igebm::serve
