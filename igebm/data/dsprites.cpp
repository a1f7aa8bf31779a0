#include "igebm/data/dsprites.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/io/npz.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t sprite_side = 64;

/// Labels and conditions of sprites, for pictures in the same order.
Dataset described(const std::vector<Sprite>& sprites) {
  const auto count = static_cast<std::int64_t>(sprites.size());
  Dataset set;
  set.classes = 3;
  set.class_names = {"square", "ellipse", "heart"};
  set.condition_names = {"size",       "shape.square", "shape.ellipse", "shape.heart",
                         "position.x", "position.y",   "rotation.cos",  "rotation.sin"};
  const Changes size = {.zoom = true}, shape = {}, x = {.mirror = true, .shift = true, .zoom = true},
                y = {.shift = true, .zoom = true}, turned = {.mirror = true};
  set.untrue_by = {size, shape, shape, shape, x, y, turned, turned};
  set.labels = at::empty({count}, at::kLong);
  set.conditions = at::zeros({count, 8});
  for (std::int64_t i = 0; i < count; ++i) {
    const Sprite& s = sprites[static_cast<std::size_t>(i)];
    set.labels.data_ptr<std::int64_t>()[i] = s.shape;
    float* row = set.conditions.data_ptr<float>() + 8 * i;
    row[0] = static_cast<float>(s.size);
    row[1 + s.shape] = 1;
    row[4] = static_cast<float>(s.x), row[5] = static_cast<float>(s.y);
    row[6] = static_cast<float>(std::cos(s.rotation)), row[7] = static_cast<float>(std::sin(s.rotation));
  }
  return set;
}

class Drawn : public Pictures {
 public:
  explicit Drawn(std::vector<Sprite> sprites) : sprites_(std::move(sprites)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(sprites_.size()); }
  std::vector<std::int64_t> shape() const override { return {1, sprite_side, sprite_side}; }
  void read(std::int64_t record, std::uint8_t* out) const override {
    draw_sprite(sprites_[static_cast<std::size_t>(record)], out);
  }

 private:
  std::vector<Sprite> sprites_;
};

/// `count` of the split's combinations, each at most once, in ascending order; 0: all.
std::vector<std::int64_t> choose(std::int64_t count, std::int64_t total, bool test, std::uint64_t seed) {
  std::vector<std::pair<double, std::int64_t>> ranked;
  for (std::int64_t i = 0; i < total; ++i) {
    if (in_test(i) != test) continue;
    const auto rank = random_uniform({seed, Purpose::synthetic_data, static_cast<std::uint64_t>(i), 2});
    ranked.emplace_back(rank, i);
  }
  if (count > 0 && count < static_cast<std::int64_t>(ranked.size())) {
    std::nth_element(ranked.begin(), ranked.begin() + count, ranked.end());
    ranked.resize(static_cast<std::size_t>(count));
  }
  std::vector<std::int64_t> chosen;
  for (const auto& [_, i] : ranked) chosen.push_back(i);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

Sprite sprite(std::int64_t combination) {
  const std::int64_t y = combination % 32, x = combination / 32 % 32, rotation = combination / 1024 % 40,
                     size = combination / 40960 % 6, shape = combination / 245760;
  return {shape, 0.5 + 0.1 * static_cast<double>(size), 2 * std::numbers::pi * static_cast<double>(rotation) / 39,
          static_cast<double>(x) / 31, static_cast<double>(y) / 31};
}

bool in_test(std::int64_t combination) {
  return random_index({0, Purpose::data_order, static_cast<std::uint64_t>(combination), 0}, 10) == 0;
}

void draw_sprite(const Sprite& s, std::uint8_t* out) {
  const double c = std::cos(s.rotation) / s.size, r = std::sin(s.rotation) / s.size;
  for (std::int64_t row = 0; row < sprite_side; ++row) {
    for (std::int64_t column = 0; column < sprite_side; ++column) {
      const double dx = static_cast<double>(column) + 0.5 - (16.5 + 31 * s.x),
                   dy = static_cast<double>(row) + 0.5 - (16.5 + 31 * s.y);
      const double u = c * dx + r * dy, v = c * dy - r * dx;  // turned back, at size 1
      bool inside = false;
      if (s.shape == 0) {
        inside = std::fabs(u) <= 11 && std::fabs(v) <= 11;
      } else if (s.shape == 1) {
        inside = u * u / (15.0 * 15.0) + v * v / (7.5 * 7.5) <= 1;
      } else {  // (p^2 + q^2 - 1)^3 <= p^2 q^3, q up, which reaches 1.30 from its centre
        const double p = u / 11.5, q = -v / 11.5, n = p * p + q * q - 1;
        inside = n * n * n <= p * p * q * q * q;
      }
      *out++ = inside ? 255 : 0;
    }
  }
}

Dataset dsprites_drawn(const Options& options, bool test, std::uint64_t seed) {
  const std::int64_t count = options.count > 0 ? options.count : usual_count;
  std::vector<Sprite> sprites;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t combination = 0;
    std::uint32_t draw = 0;
    do {
      combination =
          random_index({seed, Purpose::synthetic_data, static_cast<std::uint64_t>(i), draw++}, dsprites_total);
    } while (in_test(combination) != test);
    sprites.push_back(sprite(combination));
  }
  Dataset set = described(sprites);
  set.pictures = std::make_shared<Drawn>(std::move(sprites));
  return set;
}

Dataset dsprites(const Options& options, bool test, std::uint64_t seed) {
  const fs::path path = fs::path(options.path) / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz";
  const io::NpzFile file(path);
  auto images = file.open("imgs");
  const at::Tensor values = file.open("latents_values").read().to(at::kDouble);  // colour, shape 1 to 3, size, ...
  const auto fail = [&](const std::string& what) { return UserError(fmt::format("{}: {}", path.string(), what)); };
  if (images.type() != at::kByte || images.shape().size() != 3 || images.shape()[1] != sprite_side ||
      images.shape()[2] != sprite_side)
    throw fail(fmt::format("imgs: expected bytes (N, 64, 64), got ({})", fmt::join(images.shape(), ", ")));
  const std::int64_t total = images.shape()[0];
  if (values.dim() != 2 || values.size(0) != total || values.size(1) != 6)
    throw fail(fmt::format("latents_values: expected ({}, 6), got ({})", total, fmt::join(values.sizes(), ", ")));
  const std::vector<std::int64_t> chosen = choose(options.count, total, test, seed);
  std::vector<Sprite> sprites;
  at::Tensor x = at::empty({static_cast<std::int64_t>(chosen.size()), 1, sprite_side, sprite_side}, at::kByte);
  std::int64_t next = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::int64_t at = chosen[i];
    images.skip_rows(at - next);
    images.read_rows(1, x.data_ptr<std::uint8_t>() + static_cast<std::int64_t>(i) * sprite_side * sprite_side);
    next = at + 1;
    const double* v = values.const_data_ptr<double>() + 6 * at;
    if (!std::all_of(v, v + 6, [](double value) { return std::isfinite(value); }))
      throw fail(
          fmt::format("latents_values: record {}: expected finite numbers, got {}", at, fmt::join(v, v + 6, ", ")));
    if (v[1] != 1 && v[1] != 2 && v[1] != 3)
      throw fail(fmt::format("latents_values: record {}: expected shape 1, 2 or 3, got {}", at, v[1]));
    sprites.push_back({static_cast<std::int64_t>(v[1]) - 1, v[2], v[3], v[4], v[5]});
  }
  images.skip_rows(total - next);  // to its checksum
  if (x.numel() > 0 && x.max().item<int>() > 1) throw fail("imgs: expected only 0 and 1");
  Dataset set = described(sprites);
  set.x = x.mul_(255);
  return set;
}

}  // namespace igebm::data
