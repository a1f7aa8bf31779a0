#include <ATen/ATen.h>
#include <igebm/training/terms.h>

#include "parts.h"

namespace {

using namespace igebm;

/// E(x) fitted to height |x - (0, 1)|^2 at the data and around them: a bowl.
struct BowlOptions {
  static constexpr const char* section = "bowl";
  static constexpr training::Network trains = training::Network::energy;
  double height = 1;
};

void describe(io::Fields& f, BowlOptions& o) { f.field("height", o.height, io::Range{0, 10}, "of the bowl"); }

class Bowl : public training::Objective {
 public:
  explicit Bowl(const BowlOptions& options) : options_(options) {}
  training::Loss loss(const training::Step& step) override {
    const at::Tensor x = step.data + step.normals(Purpose::score_noise);
    const at::Tensor wanted = options_.height * (x - at::tensor({0.0F, 1.0F})).square().sum(1);
    training::Loss l;
    l.value = (nn::evaluate(step.graph, step.weights, x) - wanted).square().mean();
    l.metrics = {{"loss/bowl", l.value.item<double>()}};
    return l;
  }

 private:
  BowlOptions options_;
};

}  // namespace

void add_objective() { training::register_objective<BowlOptions, Bowl>(); }
