#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "igebm/model/model.h"
#include "igebm/training/classification.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/denoising_score_matching.h"
#include "igebm/training/energy_matching.h"
#include "igebm/training/trainer.h"
#include "tests/refusals.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

/// Counts the fields with a range or choices, or sets the one of a number below or above what holds.
class Spoiler : public io::Fields {
 public:
  Spoiler(int which, bool above) : which_(which), above_(above) {}
  int count() const { return count_; }
  const std::string& spoiled() const { return spoiled_; }

  void field(const char*, bool&, const char*) override {}
  void field(const char* key, std::int64_t& value, io::Range range, const char*) override {
    if (is_it(key)) value = static_cast<std::int64_t>(above_ ? range.high : range.low) + (above_ ? 1 : -1);
  }
  void field(const char* key, double& value, io::Range range, const char*) override {
    if (!is_it(key)) return;
    constexpr double infinity = std::numeric_limits<double>::infinity();
    value = above_ ? std::nextafter(range.high, infinity) : std::nextafter(range.low, -infinity);
    if (std::isinf(value)) value = std::numeric_limits<double>::quiet_NaN();
  }
  void field(const char* key, std::string& value, const std::vector<std::string>& choices, const char*) override {
    if (!choices.empty() && is_it(key)) value = "no such choice";
  }
  void field(const char* key, std::vector<std::int64_t>& value, io::Range range, const char*) override {
    if (is_it(key)) value = {static_cast<std::int64_t>(above_ ? range.high : range.low) + (above_ ? 1 : -1)};
  }
  void field(const char*, std::vector<std::string>&, const char*) override {}
  void section(const char* key, const std::function<void(Fields&)>& describe) override {
    const std::string outer = path_;
    path_ += std::string(key) + ".";
    describe(*this);
    path_ = outer;
  }
  void optional_section(const char* key, bool& present, const std::function<void(Fields&)>& describe) override {
    if (present) section(key, describe);
  }
  std::optional<std::vector<std::string>> sections() const override { return {}; }
  void problem(const char*, const std::string&) override {}

 private:
  bool is_it(const char* key) {
    if (count_++ != which_) return false;
    spoiled_ = path_ + key;
    return true;
  }

  int which_, count_ = 0;
  bool above_;
  std::string path_, spoiled_;
};

std::string text_of(Recipe recipe) {
  return io::write_recipe([&](io::Fields& f) { describe(f, recipe); });
}

/// A recipe with such a network and such an objective.
template <class Options>
Recipe recipe_of(const std::string& kind, const Options& options) {
  Recipe recipe;
  recipe.data.name = "two-moons";
  recipe.data.count = 100;
  recipe.network.kind = kind;
  if constexpr (std::is_same_v<Options, DenoisingScoreMatchingOptions>) recipe.network.noise_features = 4;
  PhaseOptions phase;
  phase.name = "train";
  phase.objectives.add(options);
  recipe.phases = {phase};
  return recipe;
}

// Each number and choice of a recipe, set out of its range by a C++ caller, is refused by its name, before anything is
// written.
TEST(OptionsOfCallers, AreCheckedFieldByField) {
  const fs::path folder = fs::temp_directory_path() / ("igebm-options" + std::to_string(getpid()));
  for (const Recipe& good :
       {recipe_of("mlp", EnergyMatchingOptions{}), recipe_of("residual", ContrastiveDivergenceOptions{}),
        recipe_of("strided", EnergyMatchingOptions{}), recipe_of("unet", DenoisingScoreMatchingOptions{}),
        recipe_of("classifier", ClassificationOptions{})}) {
    EXPECT_EQ(error_of([&] { io::check("", good); }), "no error") << good.network.kind;
    Recipe counted = good;
    Spoiler all(-1, false);
    describe(all, counted);
    int spoiled = 0;
    for (int i = 0; i < 2 * all.count(); ++i) {
      Recipe bad = good;
      Spoiler spoiler(i / 2, i % 2 == 1);
      describe(spoiler, bad);
      if (text_of(bad) == text_of(good)) continue;  // an enum, which takes no name that is none of its own
      Observer silent;
      const std::string said = error_of([&] { Trainer::begin(bad, folder, silent); });
      EXPECT_TRUE(said.starts_with(spoiler.spoiled() + ": expected")) << spoiler.spoiled() << ": " << said;
      EXPECT_FALSE(fs::exists(folder));
      ++spoiled;
    }
    EXPECT_GT(spoiled, 80) << good.network.kind;
  }
}

TEST(OptionsOfCallers, AreCheckedTogether) {
  Recipe recipe = recipe_of("mlp", ContrastiveDivergenceOptions{.replay = {.size = 10}});
  EXPECT_SAYS(io::check("", recipe), "phase.train.batch: more chains a batch than the buffer holds");
  recipe = recipe_of("mlp", ClassificationOptions{});
  EXPECT_SAYS(io::check("", recipe), "phase.train.classification: this section and a classifier");
  recipe.phases[0].objectives = {};
  EXPECT_SAYS(io::check("", recipe), "phase.train.steps: a phase needs a section of an objective: energy_matching or");
  recipe.phases.clear();
  EXPECT_SAYS(io::check("", recipe), "expected a phase for each of train.phases' 1 names, got 0");
  recipe = recipe_of("mlp", EnergyMatchingOptions{});
  recipe.phases[0].optimizer.schedule = static_cast<Schedule>(2);
  EXPECT_SAYS(io::check("", recipe), "phase.train.optimizer.schedule: expected one of \"constant\", \"cosine\"");
}

// An objective that comes from outside is read, written, made and refused like the library's.
struct Flat {
  static constexpr const char* section = "flat";
  static constexpr Network trains = Network::energy;
  double height = 1;
};
void describe(io::Fields& f, Flat& o) { f.field("height", o.height, {0, 5}, "of the plain"); }
struct Flatten : Objective {
  explicit Flatten(const Flat& o) : options(o) {}
  Loss loss(const Step& step) override {
    Loss l;
    l.value = (nn::evaluate(step.graph, step.weights, step.data, step.labels) - options.height).square().mean();
    return l;
  }
  Flat options;
};

class Registered : public RunTest {};

TEST_F(Registered, ObjectivesTrainLikeTheLibrarys) {
  register_objective<Flat, Flatten>();
  EXPECT_SAYS((register_objective<Flat, Flatten>()), "known already");
  Recipe recipe;
  const auto parse = [&](const std::string& height) {
    io::Recipe::parse(
        "[data]\nname = \"two-moons\"\ncount = 100\n[network]\nkind = \"mlp\"\nwidths = [8]\n"
        "[phase.train]\nsteps = 200\nbatch = 16\n[phase.train.optimizer]\nlearning_rate = 1e-2\n"
        "[phase.train.flat]\nheight = " +
            height,
        "r.toml")
        .apply([&](io::Fields& f) { describe(f, recipe); });
  };
  EXPECT_SAYS(parse("7.0"), "phase.train.flat.height: expected a number, in [0, 5], got 7");
  parse("2.0");
  EXPECT_EQ(recipe.phases[0].objectives.find<Flat>()->height, 2);
  EXPECT_NE(text_of(recipe).find("[phase.train.flat]\nheight = 2"), std::string::npos);
  recipe.output.samples_every = 0;
  Trainer::begin(recipe, folder, silent).train({});
  const auto energy = model::Model::open(folder).energy();
  EXPECT_NEAR(energy->energy(at::zeros({1, 2})).item<double>(), 2, 0.7);
}

}  // namespace
}  // namespace igebm::training
