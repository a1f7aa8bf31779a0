#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "igebm/evaluation/features.h"
#include "igebm/evaluation/oriented_gradients.h"

namespace igebm::evaluation {
namespace {

constexpr std::int64_t longest_side = 32;

at::Tensor shrunk(const at::Tensor& pictures) {
  const std::int64_t height = pictures.size(2), width = pictures.size(3), longest = std::max(height, width);
  if (longest <= longest_side) return pictures;
  const auto side = [&](std::int64_t pixels) {
    return std::max<std::int64_t>(
        1, std::lround(static_cast<double>(pixels * longest_side) / static_cast<double>(longest)));
  };
  return at::adaptive_avg_pool2d(pictures, {side(height), side(width)});
}

class Gradients : public Features {
 public:
  explicit Gradients(std::string note) : note_(std::move(note)) {}
  Extracted extract(const at::Tensor& pictures) const override {
    const at::Tensor x = shrunk(pictures);
    const std::int64_t places = (x.size(2) + 2 + 3) / 4, count = x.size(0);
    const at::Tensor maps = oriented_gradients(x).view({count, 9, places, -1});
    return {at::avg_pool2d(maps, 2, 2, 0, /*ceil_mode=*/true, /*count_include_pad=*/false).flatten(1).mul_(10), {}};
  }
  std::string description() const override {
    return "oriented gradients, which nobody trained" + (note_.empty() ? note_ : "; " + note_);
  }

 private:
  std::string note_;
};

}  // namespace

FeaturesPtr gradient_features(const std::string& note) { return std::make_shared<Gradients>(note); }

}  // namespace igebm::evaluation
