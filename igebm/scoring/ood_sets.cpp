#include "igebm/scoring/ood_sets.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "igebm/base/random.h"
#include "igebm/data/data.h"
#include "igebm/data/resize.h"
#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/records.h"

namespace igebm::scoring {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t choice_stream = 1, made_stream = 1000;

/// Some of the records of a set: of a random order the first ones, or the last.
at::Tensor some_rows(const data::Dataset& set, std::int64_t count, std::uint64_t seed, bool last = false) {
  if (set.size() == 0) throw UserError("holds no pictures");
  const std::int64_t used = std::min(count, set.size());
  return last ? evaluation::choose(set.size(), set.size(), seed, choice_stream).slice(0, set.size() - used)
              : evaluation::choose(set.size(), used, seed, choice_stream);
}

/// As bytes.
at::Tensor some_of(const data::Dataset& set, std::int64_t count, std::uint64_t seed) {
  return set.take(some_rows(set, count, seed));
}

/// Fitted to the model's shape, and what that took in words.
PictureSet fitted(std::string name, const at::Tensor& x, const std::vector<std::int64_t>& shape) {
  PictureSet set{.name = std::move(name), .x = x};
  if (x.sizes().slice(1).vec() == shape) return set;
  if (x.dim() != 4 || shape.size() != 3)
    throw UserError(fmt::format("{}: points, where pictures are expected", set.name));
  if (shape[1] != shape[2])
    throw UserError(fmt::format("{}: pictures of shape ({}), where ({}) is expected", set.name,
                                fmt::join(x.sizes().slice(1), ", "), fmt::join(shape, ", ")));
  std::vector<std::string> steps;
  if (x.size(2) != shape[1] || x.size(3) != shape[2])
    steps.push_back(fmt::format("{}x{} made {}x{}", x.size(2), x.size(3), shape[1], shape[2]));
  if (x.size(1) != shape[0]) steps.emplace_back(shape[0] == 1 ? "colour made grey" : "grey made colour");
  set.x = data::fit(x, shape[0], shape[1]);
  set.made = fmt::format("{}", fmt::join(steps, ", "));
  return set;
}

at::Tensor random_bytes(std::int64_t count, const std::vector<std::int64_t>& shape, std::uint64_t seed,
                        std::uint64_t stream) {
  std::int64_t elements = count;
  for (const std::int64_t size : shape) elements *= size;
  std::vector<std::uint32_t> words(static_cast<std::size_t>(elements + 3) / 4);
  random_bits({seed, Purpose::evaluation, made_stream + stream, 3}, words);
  std::vector<std::int64_t> sizes = {count};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  return at::from_blob(words.data(), {elements}, at::kByte).clone().view(sizes);
}

at::Tensor make(const std::string& name, const at::Tensor& usual, std::int64_t count, std::uint64_t seed) {
  const std::vector<std::int64_t> shape = usual.sizes().slice(1).vec();
  if (name == "uniform") return random_bytes(count, shape, seed, 0);
  if (name == "constant")
    return random_bytes(count, {shape[0], 1, 1}, seed, 1).expand({count, shape[0], shape[1], shape[2]}).contiguous();
  const std::int64_t pairs = std::min(count, usual.size(0) / 2);
  if (pairs < 1) throw UserError("interpolation: expected at least 2 pictures to take the mean of");
  const at::Tensor order = evaluation::choose(usual.size(0), 2 * pairs, seed, made_stream + 2);
  const auto half = [&](std::int64_t which) {
    return usual.index_select(0, order.slice(0, which * pairs, (which + 1) * pairs)).to(at::kShort);
  };
  return half(0).add(half(1)).div(2, "floor").to(at::kByte);
}

/// A file or folder: what it holds says how it is read.
data::Options options_of(const fs::path& path) {
  data::Options options;
  options.path = path.string(), options.validation = 0;
  const std::string ending = path.extension().string();
  if (fs::is_directory(path)) {
    std::vector<fs::path> records;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() == ".bin") records.push_back(entry.path());
    }
    if (records.size() == 1) options.path = records.front().string();
    options.name = records.empty() ? "image-folder" : "cifar-records";
  } else {
    options.name = ending == ".npz" || ending == ".npy" ? "npz" : "cifar-records";
  }
  return options;
}

bool is_set(const std::string& name) {
  return std::ranges::any_of(data::sets(), [&](const data::Set& set) { return set.name == name && !set.given; });
}

/// Where data of a name that is in no table lie.
fs::path folder_of(const std::string& name) {
  const char* place = std::getenv("IGEBM_DATA");
  if (place == nullptr) return {};
  for (const std::string& each : {name, name + "32", name + "-val"}) {
    if (fs::exists(fs::path(place) / each)) return fs::path(place) / each;
  }
  return {};
}

/// The test split, or training where there is none.
data::Dataset read(data::Options options, const std::vector<std::int64_t>& shape) {
  if (options.name == "image-folder") options.size = shape[1], options.channels = shape[0];
  try {
    return data::load(options, data::Split::test, 0);
  } catch (const UserError&) {
    if (is_set(options.name)) throw;
    return data::load(options, data::Split::train, 0);
  }
}

PictureSet read_records_of(const std::string& name, const fs::path& path, const std::vector<std::int64_t>& shape,
                           std::int64_t count, std::uint64_t seed) {
  const data::Options options = options_of(path);
  if (options.name == "npz") {
    const evaluation::Records records = evaluation::read_records(path);
    const at::Tensor rows = evaluation::choose(records.size(), std::min(count, records.size()), seed, choice_stream);
    return fitted(name, records.x.index_select(0, rows).mul(255).round().to(at::kByte), shape);
  }
  PictureSet set = fitted(name, some_of(read(options, shape), count, seed), shape);
  if (options.name == "image-folder") set.made = fmt::format("each file made {}x{}", shape[1], shape[2]);
  return set;
}

}  // namespace

const std::vector<std::string>& made_sets() {
  static const std::vector<std::string> names = {"uniform", "constant", "interpolation"};
  return names;
}

std::vector<std::string> usual_sets(const model::Model& model) {
  std::vector<std::string> names = {"mnist", "fashion-mnist", "emnist", "dsprites"};
  if (model.space().shape[0] == 3) names = {"svhn", "cifar100", "textures", "mnist-m", "tiny-imagenet"};
  const std::string own = model.settings().data.name;
  std::erase(names, own == "dsprites-drawn" ? "dsprites" : own);
  names.insert(names.end(), made_sets().begin(), made_sets().end());
  return names;
}

bool is_near(const std::string& set) {
  const std::vector<std::string> names = {"interpolation", "cifar100", "tiny-imagenet", "emnist"};
  return std::ranges::find(names, set) != names.end();
}

PictureSet load_set(const std::string& what, const model::Model& model, const at::Tensor& usual, std::int64_t count,
                    std::uint64_t seed) {
  const auto equals = what.find('=');
  const std::string name = what.substr(0, equals);
  const std::vector<std::int64_t>& shape = model.space().shape;
  const bool given = equals != std::string::npos;
  const bool made = std::ranges::find(made_sets(), name) != made_sets().end();
  if (name.empty() || (given && equals + 1 == what.size()))
    throw UserError(fmt::format("--ood: expected NAME or NAME=PATH, got \"{}\"", what));
  if (given && made)
    throw UserError(fmt::format("--ood {}: {} is made, and takes no path; call the set by another name", what, name));
  if (made) return {.name = name, .x = make(name, usual, count, seed)};
  const fs::path path = given ? fs::path(what.substr(equals + 1)) : is_set(name) ? fs::path() : folder_of(name);
  if (given && !fs::exists(path)) throw UserError(fmt::format("--ood {}: no such file or folder", what));
  if (!given && !is_set(name) && path.empty())
    throw NoSet(fmt::format("{}: not in $IGEBM_DATA; say --ood {}=PATH", name, name));
  if (!is_set(name)) return read_records_of(name, path, shape, count, seed);
  const data::Set& set = data::find_set(name);
  data::Options options;
  options.name = name, options.path = path.string();
  const bool there = set.files.empty() || !data::find_folder(set, options.path).empty();
  // dSprites' own file is seldom there; what igebm draws of the same factors stands in for it, and says so.
  if (!there && name == "dsprites") options.name = "dsprites-drawn", options.path.clear();
  if (!there && name != "dsprites")
    throw NoSet(fmt::format("{}: not found; {}, or say --ood {}=PATH", name, set.hint, name));
  return fitted(options.name, some_of(read(options, shape), count, seed), shape);
}

PictureSet load_own(const model::Model& model, Own which, std::int64_t count, std::uint64_t seed) {
  data::Options options = model.settings().data;
  const auto data_seed = static_cast<std::uint64_t>(model.settings().seed);
  const bool kept = options.validation > 0, held_out = which == Own::held_out, test = which == Own::test;
  if (test) options.count = 0;
  const data::Split split = test ? data::Split::test : kept && held_out ? data::Split::validation : data::Split::train;
  const data::Dataset set = data::load(options, split, data_seed);
  const at::Tensor rows = some_rows(set, count, seed, /*last=*/!test && !kept && !held_out);
  const char* name = test ? "test" : kept && held_out ? "held out from training" : "trained on";
  PictureSet own = fitted(name, set.take(rows), model.space().shape);
  if (set.labels.defined()) own.labels = set.labels.index_select(0, rows);
  return own;
}

}  // namespace igebm::scoring
