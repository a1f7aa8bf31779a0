#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/data.h"
#include "igebm/data/resize.h"
#include "igebm/data/withheld.h"
#include "igebm/io/ranges.h"

namespace igebm::data {
namespace {

constexpr double greatest_bound = 1e38;  // of low and high: they and their difference become floats

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Set& set : sets()) all.emplace_back(set.name);
  return all;
}

/// The options with the place of the set's files and its variant filled in.
Options resolve(const Set& set, Options o) {
  o.variant = find_variant(set, o.variant);
  if (set.given && o.path.empty())
    throw UserError(fmt::format("data.path: expected {}, as data.name is \"{}\"", set.needs, set.name));
  if (set.files.empty()) return o;
  const auto folder = find_folder(set, o.path);
  if (folder.empty()) {
    std::vector<std::string> tried;
    for (const auto& place : places(set, o.path)) tried.push_back(place.string());
    throw UserError(fmt::format("{}: no {} there; needed: {}; {}, or give their folder as data.path",
                                fmt::join(tried, ", "), set.name, set.needs, set.hint));
  }
  o.path = folder.string();
  return o;
}

class Selected : public Pictures {
 public:
  Selected(std::shared_ptr<const Pictures> of, std::vector<std::int64_t> records)
      : of_(std::move(of)), records_(std::move(records)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(records_.size()); }
  std::vector<std::int64_t> shape() const override { return of_->shape(); }
  void read(std::int64_t record, std::uint8_t* out) const override {
    of_->read(records_[static_cast<std::size_t>(record)], out);
  }

 private:
  std::shared_ptr<const Pictures> of_;
  std::vector<std::int64_t> records_;
};

class Fitted : public Pictures {
 public:
  Fitted(std::shared_ptr<const Pictures> of, std::vector<std::int64_t> shape)
      : of_(std::move(of)), shape_(std::move(shape)) {}
  std::int64_t size() const override { return of_->size(); }
  std::vector<std::int64_t> shape() const override { return shape_; }
  void read(std::int64_t record, std::uint8_t* out) const override {
    const auto s = of_->shape();
    at::Tensor whole = at::empty({1, s[0], s[1], s[2]}, at::kByte);
    of_->read(record, whole.data_ptr<std::uint8_t>());
    const at::Tensor fitted = fit(whole, shape_[0], shape_[1] == s[1] && shape_[2] == s[2] ? 0 : shape_[1]);
    std::memcpy(out, fitted.const_data_ptr(), fitted.nbytes());
  }

 private:
  std::shared_ptr<const Pictures> of_;
  std::vector<std::int64_t> shape_;
};

/// Rows moved forward in place, as `rows` ascends: a large set is not held twice.
void keep(at::Tensor& t, const std::vector<std::int64_t>& rows) {
  if (!t.defined()) return;
  t = t.contiguous();
  const std::size_t row = t.size(0) == 0 ? 0 : t.nbytes() / static_cast<std::size_t>(t.size(0));
  auto* bytes = static_cast<char*>(t.data_ptr());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto from = static_cast<std::size_t>(rows[i]);
    if (from != i) std::memmove(bytes + i * row, bytes + from * row, row);
  }
  t = t.narrow(0, 0, static_cast<std::int64_t>(rows.size()));
  if (2 * t.nbytes() < t.storage().nbytes()) t = t.clone();  // the rest is given back
}

void keep(Dataset& set, std::vector<std::int64_t> rows) {
  keep(set.labels, rows);
  keep(set.conditions, rows);
  keep(set.x, rows);
  if (set.pictures) set.pictures = std::make_shared<Selected>(set.pictures, std::move(rows));
}

void to_shape(Dataset& set, const Options& o) {
  std::vector<std::int64_t> shape = set.shape();
  if (shape.size() != 3) return;
  if (o.channels > 0) shape[0] = o.channels;
  if (o.size > 0) shape[1] = shape[2] = o.size;
  if (shape == set.shape()) return;
  if (set.shape()[0] != 1 && set.shape()[0] != 3)
    throw UserError(
        fmt::format("data.size, data.channels: for grey and colour pictures, not for {} channels", set.shape()[0]));
  if (set.pictures) {
    set.pictures = std::make_shared<Fitted>(set.pictures, shape);
  } else {
    set.x = fit(set.x, o.channels, o.size);
  }
}

/// Pictures that fit into data.memory are kept.
void keep_in_memory(Dataset& set, const Options& o) {
  if (!set.pictures) return;
  double bytes = static_cast<double>(set.size());
  for (const auto d : set.shape()) bytes *= static_cast<double>(d);
  if (bytes > o.memory * 1024 * 1024 * 1024) return;
  set.x = set.take(at::arange(set.size()));
  set.pictures = nullptr;
}

}  // namespace

void describe(io::Fields& f, Options& o) {
  using namespace io::ranges;  // NOLINT(google-build-using-namespace)
  const io::Range colour{-greatest_bound, greatest_bound};
  f.field("name", o.name, names(), "which set; see igebm data list");
  f.field("path", o.path, {}, "its folder or file; empty: where it is usually installed");
  f.field("variant", o.variant, {}, "of a set that has several");
  f.field("low", o.low, colour, "what black becomes");
  f.field("high", o.high, colour, "what white becomes");
  f.field("dequantize", o.dequantize, "(pixel + uniform noise) / 256");
  f.field("size", o.size, io::Range{0, 4096}, "short side resized to it, centre kept; 0: as the pictures are");
  f.field("channels", o.channels, io::Range{0, 3}, "1: grey, 3: colour, 0: as the pictures are");
  f.field("flip", o.flip, "mirror each picture with probability 1/2");
  f.field("crop", o.crop, io::Range{0, 4096}, "pad by so many pixels, cut back at a random place");
  f.field("crop_padding", o.crop_padding, "what crop pads with: black, or the picture mirrored");
  f.field("brightness", o.brightness, share, "pictures times a factor from [1 - b, 1 + b]");
  f.field("contrast", o.contrast, share, "the same of distances to the picture's mean grey");
  f.field("saturation", o.saturation, share, "the same of distances to each pixel's grey");
  f.field("validation", o.validation, io::Range{0, 1, false, true}, "share of the training records held out");
  f.field("count", o.count, io::Range{0, 1e12}, "of training records; 0: all (2-D sets, dsprites-drawn: 20000)");
  f.field("without", o.without,
          "groups of training records that are left out, as \"heart & size < 0.65\": classes, and bounds of numbers");
  f.field("memory", o.memory, io::Range{0, infinity, false, true},
          "GiB of pictures kept; more are decoded as asked for");
  f.field("noise", o.noise, not_negative, "of 2-D sets, standard deviation");
  if (o.low >= o.high) f.problem("low", "low must be below high");
  if (o.channels == 2) f.problem("channels", "expected 0, 1 or 3");
}

void check(const Options& o) {
  find_set(o.name);  // names the nearest
  io::check("data", o);
}

Dataset load(const Options& options, Split split, std::uint64_t seed) {
  check(options);
  const Set& set = find_set(options.name);
  Options o = resolve(set, options);
  // A test split is whole, whatever is trained on. One that is made for the purpose has at least the usual size.
  const bool made = set.files.empty() && !set.given;
  if (split == Split::test && !(made && o.count > usual_count)) o.count = 0;
  Dataset data = set.read(o, split == Split::test, seed);
  const std::int64_t total = data.size(), used = o.count > 0 ? std::min(o.count, total) : total;
  // Held out: a random choice of the records, the same for every run with this seed. No epoch has this number.
  constexpr std::uint32_t no_epoch = ~std::uint32_t{0};
  std::vector<std::int64_t> chosen;
  const Withheld withheld(data, o.without);
  for (std::int64_t i = 0; i < used; ++i) {
    if (split != Split::test && withheld(i)) continue;
    const double u = random_uniform({seed, Purpose::data_order, static_cast<std::uint64_t>(i), no_epoch});
    const bool held_out = u < options.validation;
    if (split == Split::test || held_out == (split == Split::validation)) chosen.push_back(i);
  }
  if (!o.without.empty() && split == Split::train && chosen.empty())
    throw UserError("data.without: it leaves no records to train on");
  if (static_cast<std::int64_t>(chosen.size()) != total) keep(data, std::move(chosen));
  to_shape(data, options);
  keep_in_memory(data, options);
  return data;
}

}  // namespace igebm::data
