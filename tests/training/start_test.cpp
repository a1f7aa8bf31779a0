#include "igebm/training/start.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "igebm/io/npz.h"
#include "igebm/nn/weights.h"
#include "igebm/training/denoising_score_matching.h"
#include "igebm/training/trainer.h"
#include "tests/refusals.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

class StartFromModel : public RunTest {
 protected:
  /// On normal points of standard deviation `size`, whose classes say nothing about them.
  Recipe recipe(std::int64_t classes, double size = 1) {
    fs::create_directories(folder);
    at::manual_seed(0);
    const fs::path file = folder / fmt::format("points{}.npz", classes);
    io::write_npz(file, {{"points", size * at::randn({200, 2})}, {"labels", at::arange(200).remainder(classes)}});
    Recipe r = small();
    r.data = {.name = "npz", .path = file};
    r.network = {.kind = "mlp", .labels = true, .noise_features = 4, .label_dropout = 0.2, .mlp = {{8, 8}}};
    r.phase_order = {"train"};
    r.phases.resize(1);
    r.phases[0].name = "train";
    r.phases[0].steps = 6;
    r.phases[0].objectives = {};
    r.phases[0].objectives.add(
        DenoisingScoreMatchingOptions{.noise = {.sigma_data = 0, .form = model::EnergyForm::preconditioned}});
    r.sampling.flow.steps = 0;
    r.output.samples_every = 0;
    return r;
  }
  std::string trained(const Recipe& r) {
    const fs::path run = folder / "run";
    Trainer::begin(r, run, silent).train({});
    return run;
  }
  std::unique_ptr<Learner> started(const Recipe& r, const std::string& from) {
    auto learner = make_learner(r, {}, silent);
    start_from(*learner, from);
    return learner;
  }
};

TEST_F(StartFromModel, BeginsAsTheModelIs) {
  const std::string run = trained(recipe(3));
  const model::NetworkFile file = model::load_network(run);
  const auto learner = started(recipe(3, 5), run);
  for (const auto& [name, p] : file.parameters) {
    EXPECT_TRUE(at::equal(learner->network.parameters().at(name), p)) << name;
    EXPECT_TRUE(at::equal(learner->average.weights().at(name), p)) << name;
  }
  // Of the model's data, not of these, which are five times as large.
  EXPECT_NEAR(learner->condition_spec().noise->sigma_data, 1, 0.2);
  const auto model = model::Model::open(run);
  const at::Tensor x = at::ones({2, 2});
  const nn::Condition condition = nn::Condition::of_class(1);
  EXPECT_TRUE(at::allclose(learner->averaged().energy(condition)->energy(x), model.energy(condition)->energy(x)));
}

TEST_F(StartFromModel, ClassesOfTheSameNameKeepWhatIsKnown) {
  const std::string run = trained(recipe(3));
  const model::NetworkFile file = model::load_network(run);
  const auto learner = started(recipe(5), run);  // "0" to "4", of which the model knows three
  std::int64_t tables = 0;
  for (const nn::Node& n : file.graph.nodes) {
    if (n.op != nn::Op::label_bias) continue;
    ++tables;
    const at::Tensor known = file.parameters.at(n.name + ".weight");
    const at::Tensor now = learner->network.parameters().at(n.name + ".weight").detach();
    EXPECT_TRUE(at::equal(now.slice(0, 0, 3), known.slice(0, 0, 3)));
    for (const std::int64_t row : {3, 4}) EXPECT_TRUE(at::allclose(now[row], known.slice(0, 0, 3).mean(0)));
    EXPECT_TRUE(at::equal(now.slice(0, 5), known.slice(0, 3)));  // of noise
  }
  EXPECT_GT(tables, 0);
  const auto fewer = started(recipe(2), run);
  EXPECT_EQ(fewer->condition_spec().classes, 2);
}

TEST_F(StartFromModel, OtherNetworksAreRefused) {
  const std::string run = trained(recipe(3));
  Recipe wider = recipe(3), deeper = recipe(3), other = recipe(3), form = recipe(3);
  wider.network.mlp = {{16, 8}};
  deeper.network.mlp = {{8, 8, 8}};
  other.network.noise_features = 6;
  form.phases[0].objectives.find<DenoisingScoreMatchingOptions>()->noise.form = model::EnergyForm::noise;
  EXPECT_SAYS(started(wider, run), "of another shape");
  EXPECT_SAYS(started(deeper, run), "another architecture");
  EXPECT_SAYS(started(other, run), "noise levels");
  EXPECT_SAYS(started(form, run), "form \"preconditioned\"");
  EXPECT_SAYS(started(recipe(3), folder / "nothing"), "nothing");
}

// The run keeps where it began, and no longer needs it.
TEST_F(StartFromModel, ResumesWithoutTheModel) {
  Recipe r = with_choices(recipe(3));
  r.from = trained(recipe(3));
  EXPECT_TRUE(Trainer::begin(r, folder / "whole", silent).train({}));
  Trainer::begin(r, folder / "part", silent).train(stop_after(3));
  fs::remove_all(folder / "run");
  EXPECT_TRUE(Trainer::resume(folder / "part", {}, silent).train({}));
  auto files = contents(folder / "part");
  for (const auto& [name, bytes] : contents(folder / "whole")) EXPECT_TRUE(files[name] == bytes) << name;
}

}  // namespace
}  // namespace igebm::training
