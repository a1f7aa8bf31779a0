#include "igebm/serve/api.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/io/base64.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe.h"
#include "igebm/model/picture.h"
#include "igebm/model/shipped.h"
#include "igebm/sampling/budget.h"
#include "igebm/training/recipe.h"

namespace igebm::serve {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_opened = 4;
constexpr double frame_seconds = 0.05;

/// Thrown through the sampler where nobody listens any more.
struct Gone {};

/// A request's values, each asked for by its name; what nobody asked for is refused.
class Fields {
 public:
  explicit Fields(const Json& request) : request_(request) {
    if (!request.is_object()) throw UserError("expected a JSON object");
  }
  std::string text(const char* name, const std::string& otherwise = "") {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_string()) throw UserError(fmt::format("{}: expected a text", name));
    return value->get<std::string>();
  }
  std::int64_t whole(const char* name, std::int64_t otherwise, std::int64_t low, std::int64_t high) {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_number_integer() || value->get<double>() < static_cast<double>(low) ||
        value->get<double>() > static_cast<double>(high))
      throw UserError(fmt::format("{}: expected a whole number from {} to {}", name, low, high));
    return value->get<std::int64_t>();
  }
  double number(const char* name, double otherwise, double low, double high) {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high))
      throw UserError(fmt::format("{}: expected a number from {} to {}", name, low, high));
    return value->get<double>();
  }
  bool has(const char* name) const { return request_.contains(name) && !request_[name].is_null(); }
  void done() const {
    for (const auto& [name, _] : request_.items()) {
      if (!asked_.contains(name))
        throw UserError(
            fmt::format("unknown key \"{}\"{}", name, io::did_you_mean(name, {asked_.begin(), asked_.end()})));
    }
  }

 private:
  const Json* find(const char* name) {
    asked_.insert(name);
    return has(name) ? &request_[name] : nullptr;
  }
  const Json& request_;
  std::set<std::string> asked_;
};

/// The square that samples in the plane are shown in.
double bound_of(const model::Model& model) {
  const auto& noise = model.condition_spec().noise;
  return noise && noise->sigma_data > 0 ? std::ceil(26 * noise->sigma_data) / 10 : 3;
}

std::string frame_of(const model::Model& model, const at::Tensor& x) {
  const model::SampleSpace& space = model.space();
  return io::encode_png(space.kind == model::SampleSpace::Kind::image ? io::grid(space.to_unit(x))
                                                                      : io::scatter(x, bound_of(model), 400));
}

std::string last_frame_of(const model::Model& model, const at::Tensor& x) {
  if (model.space().kind == model::SampleSpace::Kind::image) return frame_of(model, x);
  const double bound = bound_of(model);
  return io::encode_png(io::density(model::energies_in_plane(model, bound), x, bound));
}

Json described(const Offer& offer, const model::Model& model) {
  const model::ConditionSpec& spec = model.condition_spec();
  Json classes = Json::array();
  for (std::int64_t c = 0; c < spec.classes; ++c)
    classes.push_back(spec.class_names.empty() ? std::to_string(c) : spec.class_names[static_cast<std::size_t>(c)]);
  Json numbers = Json::array();
  for (std::size_t i = 0; i < spec.numbers.names.size(); ++i) {
    const at::Tensor column = spec.numbers.rows.select(1, static_cast<std::int64_t>(i));
    numbers.push_back(
        {{"name", spec.numbers.names[i]}, {"low", column.min().item<double>()}, {"high", column.max().item<double>()}});
  }
  const bool noise = spec.noise.has_value();
  return {{"name", offer.name},
          {"about", offer.about},
          {"kind", model.space().kind == model::SampleSpace::Kind::image ? "image" : "points"},
          {"shape", model.space().shape},
          {"classes", classes},
          {"none", spec.optional_condition},
          {"numbers", numbers},
          {"noise_levels", noise},
          {"gradients", sampling::gradient_count(model.settings().sampling, noise)}};
}

class Sampling : public Job {
 public:
  Sampling(std::shared_ptr<const model::Model> model, model::SampleRequest request, std::string command)
      : model_(std::move(model)), request_(std::move(request)), command_(std::move(command)) {}

  void run(const Tell& tell) const override {
    const bool annealed = model_->condition_spec().noise.has_value();
    const std::int64_t steps = sampling::step_count(model_->settings().sampling, annealed);
    const double begun = now();
    double shown = 0;
    std::int64_t done = 0;
    model::SampleRequest asked = request_;
    asked.on_step = [&](sampling::Position, const sampling::StepInfo& info, const sampling::Chains& chains) {
      ++done;
      const double at = now();
      if (done > 1 && done < steps && at - shown < frame_seconds) return;
      shown = at;
      const Json frame = {{"step", done},
                          {"total", steps},
                          {"energy", info.energy},
                          {"gradient_norm", info.gradient_norm},
                          {"image", io::png_url(frame_of(*model_, chains.x.cpu()))}};
      if (!tell("frame", frame)) throw Gone{};
    };
    try {
      const model::Samples samples = model_->sample(asked);
      const auto* energies = samples.energies.const_data_ptr<float>();
      tell("done", {{"seconds", now() - begun},
                    {"gradients", sampling::gradient_count(model_->settings().sampling, annealed)},
                    {"energies", std::vector<float>(energies, energies + samples.energies.numel())},
                    {"image", io::png_url(last_frame_of(*model_, samples.x))},
                    {"command", command_}});
    } catch (const Gone&) {
      return;
    }
  }

  std::string png() const override { return last_frame_of(*model_, model_->sample(request_).x); }

 private:
  std::shared_ptr<const model::Model> model_;
  model::SampleRequest request_;
  std::string command_;
};

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
    add({folder.has_filename() ? folder.filename() : folder.parent_path().filename(), folder, "your run"});
  }
  for (const model::Shipped& shipped : model::shipped_models()) {
    if (std::ranges::none_of(found, [&](const Offer& o) { return o.name == shipped.name; }))
      add({shipped.name, shipped.name, shipped.about});
  }
  return found;
}

const Offer& Api::offer(const std::string& name) const {
  const auto found = std::ranges::find_if(offers_, [&](const Offer& o) { return o.name == name; });
  if (found != offers_.end()) return *found;
  std::vector<std::string> names;
  for (const Offer& o : offers_) names.push_back(o.name);
  throw UserError(fmt::format("model: there is no \"{}\"{}", name, io::did_you_mean(name, names)));
}

std::shared_ptr<const model::Model> Api::open(const Offer& offer, const std::vector<std::string>& set) {
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
  return opened_.front().model;
}

Json Api::models() {
  const std::scoped_lock lock(mutex_);
  if (models_.is_null()) {  // beside those that are kept open for sampling, which have measured their algorithms
    models_ = {{"models", Json::array()}};
    for (const Offer& o : offers_) {
      const model::Model model = model::Model::open(model::find_model(o.path));
      if (io::has_picture(model.space().shape)) models_["models"].push_back(described(o, model));
    }
  }
  return models_;
}

std::unique_ptr<Job> Api::prepare(const Json& request) {
  Fields fields(request);
  const Offer& of = offer(fields.text("model", offers_.empty() ? "" : offers_[0].name));
  std::vector<std::string> set;
  std::string command = "igebm sample " + io::in_shell(of.path);
  const std::int64_t count = fields.whole("count", 25, 1, 10000);
  command += fmt::format(" --count {}", count);
  if (const std::int64_t budget = fields.whole("budget", 0, 1, 2000); budget > 0) {
    set.push_back(fmt::format("sampling.budget={}", budget));
    command += fmt::format(" --budget {}", budget);
  }
  if (const double guidance = fields.number("guidance", 1, 0, 20); guidance != 1) {
    set.push_back(fmt::format("sampling.guidance={}", guidance));
    command += fmt::format(" --guidance {}", guidance);
  }
  const std::string label = fields.text("label"), condition = fields.text("condition");
  const std::int64_t seed = fields.whole("seed", -1, 0, std::numeric_limits<std::int32_t>::max());
  fields.done();
  const auto model = open(of, set);
  if (count > 400 && model->space().kind == model::SampleSpace::Kind::image)
    throw UserError("count: expected a whole number from 1 to 400, of pictures");
  const model::ConditionSpec& spec = model->condition_spec();
  model::SampleRequest asked{.count = count, .batch = count};
  if (!label.empty()) {
    asked.condition = model::condition_of_class(spec, label);
    command += " --label " + io::in_shell(label);
  }
  if (!condition.empty()) {
    if (spec.values == 0 || spec.numbers.names.empty()) throw UserError("condition: this model takes no numbers");
    asked.condition = model::condition_with(spec, condition, count);
    command += " --condition " + io::in_shell(condition);
  }
  if (seed >= 0) {
    asked.seed = static_cast<std::uint64_t>(seed);
    command += fmt::format(" --seed {}", seed);
  }
  return std::make_unique<Sampling>(model, std::move(asked), command + " --out samples.png");
}

}  // namespace igebm::serve
