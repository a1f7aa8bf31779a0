// Train an energy on points in the plane and look at what it learned, with the library alone.
#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>

#include "igebm/model/model.h"
#include "igebm/training/energy_matching.h"
#include "igebm/training/trainer.h"

int main() {
  using namespace igebm;
  training::Recipe recipe;
  recipe.data.name = "eight-gaussians";
  recipe.network.kind = "mlp";
  recipe.output.samples_every = 0;

  training::PhaseOptions phase;
  phase.name = "match";
  phase.steps = 500;
  phase.batch = 256;
  phase.optimizer = {
      .learning_rate = 2e-3, .beta1 = 0.9, .clip = training::Clip::norm, .schedule = training::Schedule::cosine};
  phase.objectives.add(training::EnergyMatchingOptions{});
  recipe.phase_order = {phase.name};
  recipe.phases = {phase};
  recipe.sampling = {.start = {.start = sampling::Start::normal}, .flow = {.steps = 50}, .steps = 0};

  const auto run = std::filesystem::temp_directory_path() / "igebm-train-2d";
  std::filesystem::remove_all(run);
  Observer silent;
  training::Trainer::begin(recipe, run, silent).train({});

  const at::Tensor x = model::Model::open(run).sample({.count = 1000, .seed = 1}).x;
  const at::Tensor radius = x.square().sum(1).sqrt();
  std::printf("1,000 samples at radius %.2f +- %.2f; the data's eight clusters lie at 2\n",
              radius.mean().item<double>(), radius.std().item<double>());
  std::printf("the density as a picture: %s\n", (run / "samples.png").c_str());
}
