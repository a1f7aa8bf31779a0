#include "igebm/serve/models.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>

#include "igebm/base/error.h"
#include "igebm/generation/plane.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe.h"
#include "igebm/model/shipped.h"
#include "igebm/sampling/budget.h"
#include "igebm/training/recipe.h"

namespace igebm::serve {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_opened = 4;
constexpr std::size_t most_terms = 24;  // of an expression
constexpr std::size_t most_data = 3;
constexpr std::size_t most_composed = 8;

Json described(const Offer& offer, const model::Model& model) {
  const model::ConditionSpec& spec = model.condition_spec();
  const Json classes = spec.names_of_classes();
  Json numbers = Json::array();
  for (std::size_t i = 0; i < spec.numbers.names.size(); ++i) {
    const at::Tensor column = spec.numbers.rows.select(1, static_cast<std::int64_t>(i));
    numbers.push_back(
        {{"name", spec.numbers.names[i]}, {"low", column.min().item<double>()}, {"high", column.max().item<double>()}});
  }
  const bool noise = spec.noise.has_value();
  Json told = {{"name", offer.name},
               {"about", offer.about},
               {"own", offer.own},
               {"kind", model.space().kind == model::SampleSpace::Kind::image ? "image" : "points"},
               {"shape", model.space().shape},
               {"classes", classes},
               {"none", spec.optional_condition},
               {"numbers", numbers},
               {"noise_levels", noise},
               {"gradients", sampling::gradient_count(model.settings().sampling, noise)}};
  if (noise)
    told["noise"] = {
        {"least", spec.noise->sigma_min}, {"greatest", spec.noise->sigma_max}, {"data", spec.noise->sigma_data}};
  return told;
}

void each_term(const generation::Expression& e, const std::function<void(const generation::Expression&)>& visit) {
  for (const generation::Expression& part : e.parts) each_term(part, visit);
  if (e.kind == generation::Expression::Kind::term) visit(e);
}

/// What all parts share, where it is a term, goes to `take`; what that throws names its option.
void each_shared(const generation::CompositeOptions& options,
                 const std::function<void(const generation::Expression&)>& take) {
  for (const auto& [option, text] : {std::pair("given", options.given), {"base", options.base}}) {
    if (text.empty() || text == generation::own_given) continue;
    try {
      take(generation::parse(text));
    } catch (const UserError& error) {
      throw UserError(fmt::format("{}: {}", option, error.what()));
    }
  }
}

/// Throws UserError where a name in it is none that is offered: files are not looked for by what a request says.
void check_terms(const generation::Expression& expression, const std::vector<Offer>& offers) {
  std::vector<std::string> known;
  for (const Offer& o : offers) known.push_back(o.name);
  for (const auto& density : generation::plane_densities()) known.push_back(density.name);
  std::size_t count = 0;
  each_term(expression, [&](const generation::Expression& e) {
    if (++count > most_terms)
      throw UserError(fmt::format("column {}: expected at most {} terms", e.column, most_terms));
    if (std::ranges::find(known, e.name) == known.end())
      throw UserError(fmt::format("column {}: \"{}\": expected one of {}{}", e.column, e.name, fmt::join(known, ", "),
                                  io::did_you_mean(e.name, known)));
  });
}

}  // namespace

std::vector<Offer> offers(const std::vector<std::string>& runs) {
  std::vector<Offer> found;
  const auto add = [&](Offer offer) {
    if (std::ranges::any_of(found, [&](const Offer& o) { return o.name == offer.name; }))
      throw UserError(fmt::format("{}: two runs have this name", offer.name));
    found.push_back(std::move(offer));
  };
  for (const std::string& run : runs) {
    const fs::path path = model::find_model(run);
    (void)model::Model::open(path);
    const fs::path folder = fs::absolute(path).lexically_normal();
    add({folder.has_filename() ? folder.filename() : folder.parent_path().filename(), folder, "your run", true});
  }
  for (const model::Shipped& shipped : model::shipped_models()) {
    if (std::ranges::none_of(found, [&](const Offer& o) { return o.name == shipped.name; }))
      add({shipped.name, shipped.name, shipped.about});
  }
  return found;
}

const Offer& Models::offer(const std::string& name) const {
  const auto found = name.empty() ? offers_.begin() : std::ranges::find(offers_, name, &Offer::name);
  if (found != offers_.end()) return *found;
  std::vector<std::string> names;
  for (const Offer& o : offers_) names.push_back(o.name);
  throw UserError(fmt::format("model: there is no \"{}\"{}", name, io::did_you_mean(name, names)));
}

Chosen Models::open(const Offer& offer, const std::vector<std::string>& set) {
  const std::string key = fmt::format("{}\n{}", offer.path, fmt::join(set, "\n"));
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find_if(opened_, [&](const Opened& o) { return o.key == key; });
  if (found != opened_.end()) {
    opened_.splice(opened_.begin(), opened_, found);
  } else {
    const fs::path path = model::find_model(offer.path);
    const auto recipe = training::read_recipe((model::run_of(path) / "recipe.toml").string(), set);
    opened_.push_front({key, std::make_shared<model::Model>(model::Model::open(path, {}, recipe))});
    while (opened_.size() > most_opened) opened_.pop_back();
  }
  return {offer.path, opened_.front().model};
}

Chosen Models::of_pictures(Request& request) {
  const Offer& named = offer(request.text("model"));
  Chosen chosen = open(named);
  if (chosen.model->space().kind != model::SampleSpace::Kind::image || !io::has_picture(chosen.model->space().shape))
    throw UserError(fmt::format("model: the records of {} are no pictures", named.name));
  return chosen;
}

generation::Composite Models::compose(const Composed& asked, bool compares) {
  check_terms(asked.expression, offers_);
  each_shared(asked.options, [&](const generation::Expression& term) { check_terms(term, offers_); });
  const std::string key = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", asked.text, asked.options.given, asked.options.base,
                                      asked.options.negation, asked.seed, compares);
  const std::scoped_lock lock(mutex_);
  if (const auto found = std::ranges::find(composed_, key, [](const auto& c) { return c.first; });
      found != composed_.end()) {
    composed_.splice(composed_.begin(), composed_, found);
    return found->second;
  }
  auto words = vocabularies_.find(compares);
  if (words == vocabularies_.end()) {
    model::OpenOptions opened{.exact_points = true};
    if (compares) opened.precision = engine::Precision::f32;
    words = vocabularies_.emplace(compares, generation::Vocabulary(opened)).first;
    for (const Offer& o : offers_) {
      if (generation::is_name(o.name)) words->second.define(o.name, model::find_model(o.path));
    }
  }
  composed_.emplace_front(key, generation::Composite(asked.expression, words->second, asked.options));
  while (composed_.size() > most_composed) composed_.pop_back();
  return composed_.front().second;
}

std::string Models::definitions(const Composed& asked) const {
  std::string all;
  std::set<std::string> names;
  const auto insert = [&](const generation::Expression& term) { names.insert(term.name); };
  each_term(asked.expression, insert);
  each_shared(asked.options, [&](const generation::Expression& term) { each_term(term, insert); });
  for (const Offer& o : offers_) {
    if (o.path != o.name && names.contains(o.name)) all += " --model " + io::in_shell(o.name + "=" + o.path);
  }
  return all;
}

std::shared_ptr<const data::Dataset> Models::data(const Chosen& chosen, data::Split split) {
  const std::string key = fmt::format("{}\n{}", chosen.path, name_of(split));
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(data_, key, [](const auto& d) { return d.first; });
  if (found != data_.end()) {
    data_.splice(data_.begin(), data_, found);
  } else {
    const model::Settings& settings = chosen.model->settings();
    data::Options options = settings.data;
    if (split == data::Split::test) options.count = 0;  // which is of training data
    data_.emplace_front(
        key, std::make_shared<data::Dataset>(data::load(options, split, static_cast<std::uint64_t>(settings.seed))));
    while (data_.size() > most_data) data_.pop_back();
  }
  return data_.front().second;
}

Json Models::told() {
  const std::scoped_lock lock(mutex_);
  if (told_.is_null()) {  // beside those that are kept open for sampling, which have measured their algorithms
    told_ = {{"models", Json::array()}};
    for (const Offer& o : offers_) {
      const model::Model model = model::Model::open(model::find_model(o.path));
      if (io::has_picture(model.space().shape)) told_["models"].push_back(described(o, model));
    }
    const Json& all = told_["models"];
    auto first = std::ranges::find_if(all, [](const Json& m) { return m["own"] == true; });
    if (first == all.end())
      first = std::ranges::find_if(all, [](const Json& m) { return m["name"] == "fashion-mnist"; });
    if (first == all.end()) first = all.begin();
    const Json name = first == all.end() ? Json() : (*first)["name"];
    told_["first"] = name;
  }
  return told_;
}

nn::Condition condition_of(Request& request, const model::ConditionSpec& spec, std::int64_t count,
                           std::string& command) {
  nn::Condition condition;
  if (const std::string label = request.text("label"); !label.empty()) {
    condition = model::condition_of_class(spec, label);
    command += " --label " + io::in_shell(label);
  }
  if (const std::string numbers = request.text("condition"); !numbers.empty()) {
    if (spec.values == 0 || spec.numbers.names.empty()) throw UserError("condition: this model takes no numbers");
    condition = model::condition_with(spec, numbers, count);
    command += " --condition " + io::in_shell(numbers);
  }
  return condition;
}

nn::Condition condition_or_none(Request& request, const model::ConditionSpec& spec, std::int64_t count,
                                std::string& command) {
  nn::Condition condition = condition_of(request, spec, count, command);
  if (condition.rows() > 0 || (spec.classes == 0 && spec.values == 0)) return condition;
  if (!spec.optional_condition)
    throw UserError(spec.values > 0 ? "this model needs its numbers; say condition"
                                    : "this model needs a class; say label");
  return nn::Condition::of_none(spec.values);
}

}  // namespace igebm::serve
