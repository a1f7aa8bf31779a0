#include "igebm/data/fingerprint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>

#include "igebm/base/error.h"

namespace igebm::data {
namespace {

std::string sum_of(const void* bytes, std::size_t size) {
  return fmt::format("{:08x}", crc32_z(0, static_cast<const Bytef*>(bytes), size));
}

std::string sum_of(const at::Tensor& t) {
  if (!t.defined()) return {};
  const at::Tensor c = t.contiguous();
  return sum_of(c.const_data_ptr(), c.nbytes());
}

/// Decoding takes time, and a file that cannot be read is said when a batch asks for it.
std::string content_of(const Dataset& set) {
  const std::int64_t count = std::min<std::int64_t>(set.size(), set.pictures ? 64 : 4096);
  if (count == 0) return {};
  try {
    return sum_of(set.take(at::arange(count).mul_(set.size()).div_(count, "floor")));
  } catch (const UserError&) {
    return {};
  }
}

}  // namespace

Fingerprint fingerprint(const Dataset& set) {
  Fingerprint f{set.size(), set.shape(), {}, sum_of(set.labels), sum_of(set.conditions), content_of(set)};
  if (!set.class_names.empty()) {
    const std::string names = fmt::format("{}", fmt::join(set.class_names, std::string_view("\0", 1)));
    f.class_names = sum_of(names.data(), names.size());
  }
  return f;
}

std::string difference(const Fingerprint& before, const Fingerprint& now) {
  std::vector<std::string> all;
  if (before.records != now.records)
    all.push_back(fmt::format("{} records instead of {}", now.records, before.records));
  if (before.shape != now.shape)
    all.push_back(fmt::format("of ({}) instead of ({})", fmt::join(now.shape, ", "), fmt::join(before.shape, ", ")));
  const auto compare = [&](const std::string& a, const std::string& b, const char* what) {
    if (!a.empty() && !b.empty() && a != b) all.emplace_back(what);
  };
  compare(before.class_names, now.class_names, "other names of classes");
  // Of another number of records they are others in any case.
  if (before.records == now.records) {
    compare(before.labels, now.labels, "other labels");
    compare(before.conditions, now.conditions, "other conditions");
    compare(before.content, now.content, "other contents");
  }
  return fmt::format("{}", fmt::join(all, ", "));
}

}  // namespace igebm::data
