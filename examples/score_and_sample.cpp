// Open a trained run, score pictures of one's own, and draw a class: score_and_sample RUN MINE.npz CLASS
#include <ATen/ATen.h>

#include <cstdio>
#include <cstdlib>

#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/model/model.h"

int main(int argc, char** argv) {
  using namespace igebm;
  if (argc != 4) return std::fputs("expected RUN MINE.npz CLASS\n", stderr), 1;
  const auto model = model::Model::open(argv[1]);
  const auto condition = nn::Condition::of_class(std::atoi(argv[3]));

  const at::Tensor pictures = io::read_npz(argv[2]).at("images");  // (N, C, H, W) float in [0, 1]
  const at::Tensor scores = model.energy(condition)->energy(model.space().from_unit(pictures).to(model.device()));
  for (std::int64_t i = 0; i < scores.size(0); ++i) std::printf("%.4f\n", scores[i].item<double>());

  const auto samples = model.sample({.count = 16, .condition = condition});
  io::write_png("class.png", io::grid(model.space().to_unit(samples.x)));
}
