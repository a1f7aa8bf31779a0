#include "igebm/scoring/usual_cache.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <cstdlib>
#include <map>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/model/shipped.h"

namespace igebm::scoring {
namespace {

namespace fs = std::filesystem;

constexpr int figures_version = 6;  // one more where what is fitted changes

fs::path cache_folder() {
  for (const auto& [variable, below] : {std::pair("XDG_CACHE_HOME", "igebm"), std::pair("HOME", ".cache/igebm")}) {
    const char* place = std::getenv(variable);
    if (place != nullptr && *place != '\0') return fs::path(place) / below;
  }
  return {};
}

/// Two sums of different starts, as one of 32 bits is little for a name that must not be another's.
class Sum {
 public:
  void add(const void* bytes, std::size_t size) {
    a_ = crc32_z(a_, static_cast<const Bytef*>(bytes), size),
    b_ = adler32_z(b_, static_cast<const Bytef*>(bytes), size);
  }
  void add(const std::string& text) { add(text.data(), text.size()); }
  void add(const at::Tensor& t) {
    if (!t.defined()) return;
    const at::Tensor c = t.cpu().contiguous();
    add(c.const_data_ptr(), c.nbytes());
  }
  std::string text() const { return fmt::format("{:08x}{:08x}", a_, b_); }

 private:
  uLong a_ = 0, b_ = 1;
};

}  // namespace

fs::path usual_file(const fs::path& what, model::Weights weights, bool best, const model::Settings& settings,
                    const ScorerOptions& options, std::int64_t count) {
  const fs::path folder = cache_folder();
  if (folder.empty()) return {};
  const fs::path path = model::find_model(what.string());
  const model::NetworkFile network = model::load_network(best ? model::find_best(model::run_of(path)) : path, weights);
  Sum sum;
  for (const auto& [name, value] : network.metadata) sum.add(fmt::format("{}={};", name, value));
  for (const nn::Tensors* tensors : {&network.parameters, &network.buffers}) {
    for (const auto& [name, value] : *tensors) sum.add(name), sum.add(value);
  }
  const data::Options& d = settings.data;
  sum.add(fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", figures_version, d.name, d.path,
                      d.variant, d.low, d.high, d.dequantize, d.size, d.channels, d.validation, d.count,
                      fmt::join(d.without, "|"), d.noise, settings.seed, name_of(settings.engine), options.levels,
                      count, options.levels_compare));
  sum.add(options.condition.classes), sum.add(options.condition.values);
  return folder / fmt::format("usual-{}.npz", sum.text());
}

std::optional<Usual> read_usual(const fs::path& file) {
  if (file.empty() || !fs::exists(file)) return {};
  try {
    auto arrays = io::read_npz(file);
    Usual usual{.score = Anomaly(Mahalanobis(arrays.at("mean"), arrays.at("factor")), arrays.at("numbers")),
                .anomaly = arrays.at("anomaly"),
                .energy = arrays.at("energy").item<double>(),
                .fitted = arrays.at("fitted").item<std::int64_t>(),
                .log_z = arrays.at("log_z").item<double>()};
    if (arrays.count("pixels.mean") > 0)
      usual.pixels.emplace(arrays.at("pixels.mean"), arrays.at("pixels.vectors"), arrays.at("pixels.values"));
    return usual;
  } catch (const std::exception&) {
    return {};
  }
}

void write_usual(const fs::path& file, const Usual& usual) {
  if (file.empty()) return;
  io::make_folder(file.parent_path());
  std::map<std::string, at::Tensor> arrays{{"mean", usual.score.distance().mean()},
                                           {"factor", usual.score.distance().factor()},
                                           {"numbers", usual.score.numbers()},
                                           {"anomaly", usual.anomaly},
                                           {"energy", at::full({1}, usual.energy, at::kDouble)},
                                           {"fitted", at::full({1}, usual.fitted, at::kLong)},
                                           {"log_z", at::full({1}, usual.log_z, at::kDouble)}};
  if (usual.pixels)
    arrays.insert({{"pixels.mean", usual.pixels->mean()},
                   {"pixels.vectors", usual.pixels->vectors()},
                   {"pixels.values", usual.pixels->values()}});
  io::write_npz(file, arrays);
}

}  // namespace igebm::scoring
