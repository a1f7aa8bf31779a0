#include "igebm/training/conditions.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "igebm/base/error.h"
#include "igebm/io/npz.h"
#include "igebm/model/model.h"
#include "igebm/nn/architectures.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/denoising_score_matching.h"
#include "igebm/training/trainer.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

TEST(Conditions, AreRowsOfTheDataInThePickedOrder) {
  data::Dataset set;
  set.x = at::zeros({1000, 2});
  set.conditions = at::arange(3000).to(at::kFloat).view({1000, 3});
  set.condition_names = {"size", "shape.square", "shape.heart"};
  const model::Conditions c = conditions_of(set, {"shape", "size"}, 1);
  EXPECT_EQ(c.names, (std::vector<std::string>{"shape.square", "shape.heart", "size"}));
  ASSERT_EQ(c.rows.size(0), 256);
  EXPECT_TRUE(at::equal(c.rows.select(1, 1), c.rows.select(1, 0) + 1));
  EXPECT_TRUE(at::equal(c.rows.select(1, 2), c.rows.select(1, 0) - 1));
  EXPECT_TRUE(c.rows.select(1, 2).remainder(3).eq(0).all().item<bool>());
  // Spread over the data: the mean of 256 uniform draws, to 4 standard errors.
  EXPECT_NEAR(c.rows.select(1, 2).mean().item<double>(), 1498.5, 4 * 3000 / std::sqrt(12 * 256.0));
  EXPECT_TRUE(conditions_of(set, {}, 1).names.empty());
  EXPECT_THROW(conditions_of(set, {"colour"}, 1), UserError);
}

TEST(Conditions, AugmentationThatMakesThemUntrueIsRefused) {
  const data::Dataset sprites =
      data::load({.name = "dsprites-drawn", .validation = 0, .count = 4}, data::Split::train, 0);
  const auto said = [&](const std::vector<std::string>& conditions, const std::function<void(Recipe&)>& change) {
    Recipe recipe = small();
    recipe.network.conditions = conditions;
    change(recipe);
    try {
      check_augmentation(recipe, sprites);
    } catch (const UserError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const auto flip = [](Recipe& r) { r.data.flip = true; };
  const auto crop = [](Recipe& r) { r.data.crop = 2; };
  const auto replay = [](ReplayAugmentation a) {
    return [a](Recipe& r) { r.phases[1].objectives.find<ContrastiveDivergenceOptions>()->replay.augment = a; };
  };
  EXPECT_TRUE(said({"shape", "position"}, flip).starts_with("data.flip: ")) << said({"shape", "position"}, flip);
  EXPECT_NE(said({"position"}, flip).find("position.x"), std::string::npos);
  EXPECT_NE(said({"rotation.sin"}, flip), "");
  EXPECT_EQ(said({"size", "shape", "position.y"}, flip), "");
  EXPECT_TRUE(said({"position.y"}, crop).starts_with("data.crop: "));
  EXPECT_EQ(said({"size", "shape", "rotation"}, crop), "");
  EXPECT_TRUE(said({"position"}, replay({.share = 0.5, .flip = true}))
                  .starts_with("phase.refine.contrastive_divergence.augment.flip: "));
  EXPECT_TRUE(said({"size"}, replay({.share = 0.5, .area = 0.5}))
                  .starts_with("phase.refine.contrastive_divergence.augment.area: "));
  EXPECT_EQ(said({"size", "position"}, replay({.share = 0, .flip = true})), "");
  EXPECT_EQ(said({"size", "position"}, replay({.share = 0.5, .brightness = 0.5, .blur = 2})), "");
  EXPECT_EQ(said({}, flip), "");
}

/// Points around a place that their conditions tell, and a number that tells nothing.
Recipe conditional(const fs::path& folder) {
  fs::create_directories(folder);
  at::manual_seed(0);
  const at::Tensor place = 4 * at::rand({2000, 2}) - 2;
  const at::Tensor x = place + 0.1 * at::randn({2000, 2});
  const at::Tensor conditions = at::stack({place.select(1, 1), at::rand({2000}), place.select(1, 0)}, 1);
  io::write_npz(folder / "points.npz", {{"points", x}, {"conditions", conditions}});
  Recipe recipe = small();
  recipe.data = {.name = "npz", .path = folder / "points.npz"};
  recipe.network = {.kind = "mlp", .mlp = {{32, 32}}};
  recipe.network.conditions = {"2", "0"};
  recipe.output.samples_every = 0;
  return recipe;
}

class ConditionalRun : public RunTest {};

TEST_F(ConditionalRun, ResumesBitForBitWithItsChainsConditions) {
  const Recipe recipe = with_choices(conditional(folder));
  EXPECT_TRUE(Trainer::begin(recipe, folder / "whole", silent).train({}));
  const auto whole = contents(folder / "whole");
  for (const std::int64_t step : {5, 16, 27}) {
    const fs::path run = folder / std::to_string(step);
    Trainer::begin(recipe, run, silent).train(stop_after(step));
    EXPECT_TRUE(Trainer::resume(run, {}, silent).train({}));
    auto files = contents(run);
    for (const auto& [name, bytes] : whole) EXPECT_TRUE(files[name] == bytes) << name << " after " << step;
  }
  const Checkpoint last = load_checkpoint(model::list_checkpoints(folder / "whole").back());
  const nn::Tensors& buffer = last.state.at("contrastive_divergence");
  EXPECT_EQ(buffer.at("labels").sizes(), (std::vector<std::int64_t>{40, 2}));
  // A chain's conditions are those of a record.
  const at::Tensor known =
      io::read_npz(folder / "points.npz").at("conditions").index_select(1, at::tensor({2, 0}, at::kLong));
  const at::Tensor moved = buffer.at("labels").index_select(0, buffer.at("stream").ge(0).nonzero().squeeze(1));
  EXPECT_GT(moved.size(0), 20);
  EXPECT_TRUE((moved.unsqueeze(1) == known).all(2).any(1).all().item<bool>());
}

TEST_F(ConditionalRun, SamplesFollowTheirConditions) {
  Recipe recipe = conditional(folder);
  recipe.phase_order = {"match"};
  recipe.phases = {recipe.phases[0]};
  recipe.phases[0].steps = 600;
  recipe.phases[0].batch = 128;
  recipe.phases[0].optimizer = {.learning_rate = 5e-3, .beta1 = 0.9, .clip = Clip::norm};
  recipe.sampling = {.start = {sampling::Start::normal}, .flow = {20, sampling::FlowMethod::euler}, .steps = 0};
  EXPECT_TRUE(Trainer::begin(recipe, folder / "run", silent).train({}));
  const at::NoGradGuard no_grad;
  const auto model = model::Model::open(folder / "run");
  const model::Conditions& numbers = model.condition_spec().numbers;
  EXPECT_EQ(numbers.names, (std::vector<std::string>{"2", "0"}));
  const auto by_table = model.sample({.count = 300});
  EXPECT_LT((by_table.x - by_table.condition.values).abs().mean().item<double>(), 0.25);  // chance: 1.3
  const auto given =
      model.sample({.count = 300, .condition = model::condition_with(model.condition_spec(), "2=1.5,0=-1", 300)});
  EXPECT_NEAR(given.x.select(1, 0).mean().item<double>(), 1.5, 0.2);
  EXPECT_NEAR(given.x.select(1, 1).mean().item<double>(), -1, 0.2);
}

// Half of 4,000 labels, to 4 standard errors; by record, not by batch.
TEST(LabelDropout, LeavesOutAShareOfLabels) {
  Recipe recipe = small();
  recipe.network.noise_features = 4;
  recipe.network.label_dropout = 0.5;
  recipe.phase_order = {"train"};
  recipe.phases.resize(1);
  recipe.phases[0].objectives = {};
  recipe.phases[0].objectives.add(DenoisingScoreMatchingOptions{});
  Observer silent;
  const auto learner = make_learner(recipe, {}, silent);
  EXPECT_TRUE(learner->condition_spec().optional_condition);
  const data::Batch batch = learner->data.from(0, 4000);
  const at::Tensor labels = learner->labels_of(batch), dropped = labels.eq(nn::no_class);
  EXPECT_NEAR(dropped.to(at::kDouble).mean().item<double>(), 0.5, 4 * 0.5 / std::sqrt(4000));
  EXPECT_TRUE(
      at::equal(labels.masked_select(dropped.logical_not()), batch.labels.masked_select(dropped.logical_not())));
  EXPECT_TRUE(at::equal(labels, learner->labels_of(batch)));
  learner->used.records = 1000;
  EXPECT_TRUE(at::equal(learner->labels_of(learner->data.from(1000, 3000)), labels.slice(0, 1000)));
}

}  // namespace
}  // namespace igebm::training
