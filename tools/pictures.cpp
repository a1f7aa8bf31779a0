#include "tools/pictures.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "igebm/base/error.h"
#include "igebm/data/data.h"
#include "igebm/data/resize.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"

namespace igebm::tools {
namespace {

/// "test:0-4,9": rows of the split.
std::vector<std::int64_t> rows_of(const std::string& text, std::int64_t size, const std::string& what) {
  std::vector<std::int64_t> rows;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto number = [&](const std::string& digits) {
      std::int64_t value = -1;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (error != std::errc() || end != digits.data() + digits.size() || value < 0 || value >= size)
        throw UserError(fmt::format("{}: expected numbers of records from 0 to {}, as in test:0-4,9", what, size - 1));
      return value;
    };
    const auto dash = part.find('-');
    const std::int64_t first = number(part.substr(0, dash)),
                       last = dash == std::string::npos ? first : number(part.substr(dash + 1));
    for (std::int64_t row = first; row <= last; ++row) rows.push_back(row);
  }
  if (rows.empty()) throw UserError(fmt::format("{}: names no records", what));
  return rows;
}

}  // namespace

bool names_records(const std::string& what) {
  return (what.starts_with("test:") || what.starts_with("train:")) && !std::filesystem::exists(what);
}

OwnRecords own_records(const std::string& what, const model::Model& model) {
  const auto colon = what.find(':');
  const bool test = what.starts_with("test");
  data::Options options = model.settings().data;
  if (test) options.count = 0;
  const data::Dataset set = data::load(options, test ? data::Split::test : data::Split::train, 0);
  OwnRecords own{.records = {}, .rows = rows_of(what.substr(colon + 1), set.size(), what)};
  own.records = evaluation::records_of(set, at::tensor(own.rows, at::kLong), {});
  return own;
}

std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& folder, std::int64_t* others) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    if (io::has_picture_name(entry.path())) {
      files.push_back(entry.path());
    } else if (others != nullptr) {
      ++*others;
    }
  }
  if (files.empty()) throw UserError(fmt::format("{}: holds no pictures ({})", folder.string(), io::picture_kinds));
  std::ranges::sort(files);
  return files;
}

void Resized::add(const std::string& path, std::int64_t height, std::int64_t width) {
  if (count_++ == 0) first_ = fmt::format("{}, {} x {}", path, width, height);
}

void Resized::tell(const std::vector<std::int64_t>& shape) const {
  if (count_ == 0) return;
  fmt::print(stderr, "note: {} not {} x {}, and {} resized, the centre kept ({}{})\n",
             count_ == 1 ? "a picture was" : fmt::format("{} pictures were", count_), shape[2], shape[1],
             count_ == 1 ? "is" : "are", count_ == 1 ? "" : "the first: ", first_);
}

at::Tensor read_picture(const std::string& path, const std::vector<std::int64_t>& shape, bool fitted,
                        Resized* resized) {
  const at::Tensor x =
      io::decode_picture(io::read_file(path), shape[0], path).permute({2, 0, 1}).unsqueeze(0).contiguous();
  if (!fitted || shape[1] != shape[2]) return x;
  if (resized != nullptr && (x.size(2) != shape[1] || x.size(3) != shape[2])) resized->add(path, x.size(2), x.size(3));
  return data::fit(x, shape[0], shape[1]);
}

evaluation::Records read_pictures(const std::vector<std::string>& what, const model::Model& model,
                                  const std::vector<std::int64_t>& shape, bool fitted) {
  std::vector<at::Tensor> pictures, labels;
  std::vector<std::string> all_named;
  for (const std::string& each : what) {
    if (!names_records(each) && std::filesystem::is_directory(each)) {
      for (const auto& file : pictures_in(each)) all_named.push_back(file);
    } else {
      all_named.push_back(each);
    }
  }
  Resized resized;
  for (const std::string& each : all_named) {
    if (names_records(each)) {
      const evaluation::Records records = own_records(each, model).records;
      pictures.push_back(records.x.to(at::kFloat).div(255));
      if (records.labels.defined()) labels.push_back(records.labels);
    } else if (std::filesystem::path(each).extension() == ".npz" || std::filesystem::path(each).extension() == ".npy") {
      const auto records = evaluation::read_records(each);
      pictures.push_back(records.x);
      if (records.labels.defined()) labels.push_back(records.labels);
    } else {
      pictures.push_back(read_picture(each, shape, fitted, &resized).to(at::kFloat).div(255));
    }
    if (pictures.back().sizes().slice(1).vec() != shape)
      throw UserError(fmt::format("{}: pictures of shape ({}), where ({}) is expected", each,
                                  fmt::join(pictures.back().sizes().slice(1), ", "), fmt::join(shape, ", ")));
  }
  resized.tell(shape);
  evaluation::Records all{.x = at::cat(pictures)};
  if (labels.size() == pictures.size()) all.labels = at::cat(labels);
  return all;
}

void check_not_input(const std::string& out, const std::vector<std::string>& inputs) {
  std::error_code none;
  for (const std::string& each : inputs) {
    if (std::filesystem::exists(each, none) && std::filesystem::equivalent(out, each, none))
      throw UserError(fmt::format("--out {}: is a picture that is read; expected another file", out));
  }
}

}  // namespace igebm::tools
