#include "igebm/data/npz_set.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "igebm/base/error.h"
#include "igebm/data/collect.h"

namespace igebm::data {
namespace {

constexpr std::int64_t most_classes = 65536;  // a damaged label must not make billions of them

bool colours(std::int64_t length) { return length == 1 || length == 3; }

/// (N, C, H, W) as bytes.
at::Tensor pictures(at::Tensor x, const std::string& where) {
  x = channels_first(x);
  if (x.scalar_type() == at::kByte) return x.contiguous();
  if (x.scalar_type() == at::kBool) return x.to(at::kByte).mul_(255).contiguous();
  if (!x.is_floating_point()) throw UserError(where + ": pictures must be uint8, or floats in [0, 1]");
  at::Tensor bytes = at::empty(x.sizes(), at::kByte);
  for (std::int64_t i = 0; i < x.size(0); ++i) {  // one by one: floats are four times as large
    const at::Tensor picture = x.scalar_type() == at::kHalf ? x[i].to(at::kFloat) : x[i];
    if (!picture.ge(0).logical_and_(picture.le(1)).all().item<bool>())
      throw UserError(fmt::format("{}: picture {} has values outside [0, 1]", where, i));
    bytes[i].copy_(picture.mul(255).round());
  }
  return bytes;
}

}  // namespace

std::string first_array(const io::NpzFile& file, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (file.has(name)) return name;
  }
  return {};
}

at::Tensor channels_first(const at::Tensor& x) {
  if (x.dim() == 3) return x.unsqueeze(1);
  return !colours(x.size(1)) && colours(x.size(3)) ? x.permute({0, 3, 1, 2}) : x;
}

Dataset npz_arrays(const Options& options, bool test) {
  const io::NpzFile file(options.path);
  const bool split = file.has("x_train") || file.has("x_test");
  if (!split && test) throw UserError(fmt::format("{}: has no x_test, so no test split", options.path));
  const std::string of = test ? "test" : "train";
  const std::string x = split ? first_array(file, {"x_" + of})
                              : first_array(file, {"images", "x", "data", "points", "arr_0"}),
                    y = split ? first_array(file, {"y_" + of}) : first_array(file, {"labels", "y"});
  if (x.empty())
    throw UserError(fmt::format("{}: expected an array {}, it has {}", options.path,
                                split ? "x_" + of : "images, x, data, points or arr_0", fmt::join(file.names(), ", ")));
  Dataset set;
  const std::string where = fmt::format("{}: {}", options.path, x);
  set.x = file.open(x).read();
  if (set.x.dim() == 2 && set.x.is_floating_point()) {
    set.x = set.x.to(at::kFloat);
    if (!set.x.isfinite().all().item<bool>()) throw UserError(where + ": has values that are not finite");
  } else if (set.x.dim() == 3 || set.x.dim() == 4) {
    set.x = pictures(set.x, where);
  } else {
    throw UserError(
        fmt::format("{}: shape ({}); expected pictures (N, H, W), (N, C, H, W) or (N, H, W, C), or points "
                    "(N, D) of floats",
                    where, fmt::join(set.x.sizes(), ", ")));
  }
  const auto rows = [&](const std::string& name, std::int64_t dimensions) {
    at::Tensor t = file.open(name).read();
    if (name.starts_with("y") && t.dim() == 2 && t.size(1) == 1) t = t.flatten();
    if (t.dim() != dimensions || t.size(0) != set.x.size(0))
      throw UserError(fmt::format("{}: {}: shape ({}), for {} of {}", options.path, name, fmt::join(t.sizes(), ", "),
                                  set.x.size(0), x));
    return t;
  };
  if (!y.empty()) {
    const auto name = [&](const std::string& array) { return fmt::format("{}: {}", options.path, array); };
    set.labels = require_labels(rows(y, 1), most_classes, name(y));
    const at::Tensor known = test && file.has("y_train")
                                 ? require_labels(file.open("y_train").read().flatten(), most_classes, name("y_train"))
                                 : set.labels;
    set.classes = known.numel() == 0 ? 0 : known.max().item<std::int64_t>() + 1;
    require_labels(set.labels, set.classes, name(y));
    set.class_names = numbered(set.classes);
  }
  if (!split && file.has("conditions")) {
    set.conditions = rows("conditions", 2).to(at::kFloat);
    if (!set.conditions.isfinite().all().item<bool>())
      throw UserError(options.path + ": conditions: has values that are not finite");
    set.condition_names = numbered(set.conditions.size(1));
  }
  return set;
}

}  // namespace igebm::data
