#include "igebm/data/folder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/resize.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

bool is_picture(const fs::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg";
}

std::vector<std::string> folders_in(const fs::path& path) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.front() != '.') names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool has_pictures(const fs::path& folder) {
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const fs::directory_entry& entry) { return is_picture(entry.path()); });
}

constexpr const char* no_pictures = "expected .png, .jpg or .jpeg files in it, got none";

/// Folders of the training and the test split; an empty path where there is none.
struct Splits {
  fs::path train, test;
};

Splits splits_of(const fs::path& path) {
  if (!fs::is_directory(path)) throw UserError(fmt::format("{}: no such folder", path.string()));
  const auto first_of = [&](const std::vector<const char*>& names) {
    for (const char* name : names) {
      if (fs::is_directory(path / name)) return path / name;
    }
    return fs::path();
  };
  Splits splits{first_of({"train", "training"}), first_of({"test", "val", "validation"})};
  if (splits.train.empty() && splits.test.empty()) splits.train = path;
  return splits;
}

/// `count` of the files with their labels, in their order: the same ones for every run, of all classes.
void choose(std::int64_t count, std::vector<fs::path>& files, std::vector<std::int64_t>& labels) {
  const auto total = static_cast<std::int64_t>(files.size());
  if (count == 0 || count >= total) return;
  std::int64_t kept = 0;
  for (std::int64_t i = 0; kept < count; ++i) {  // each with the share of those still wanted among those still there
    const RandomPlace place{0, Purpose::data_order, static_cast<std::uint64_t>(i), 0};
    if (random_index(place, total - i) >= count - kept) continue;
    const auto from = static_cast<std::size_t>(i), to = static_cast<std::size_t>(kept++);
    std::swap(files[to], files[from]), std::swap(labels[to], labels[from]);
  }
  files.resize(static_cast<std::size_t>(count)), labels.resize(static_cast<std::size_t>(count));
}

class Folder : public Pictures {
 public:
  Folder(std::vector<fs::path> files, const Options& o)
      : files_(std::move(files)), size_(o.size), channels_(o.channels == 1 ? 1 : 3) {
    const at::Tensor first = decode(0);
    height_ = size_ > 0 ? size_ : first.size(0), width_ = size_ > 0 ? size_ : first.size(1);
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  std::vector<std::int64_t> shape() const override { return {channels_, height_, width_}; }
  void read(std::int64_t record, std::uint8_t* out) const override {
    const at::Tensor picture = decode(record);
    const std::int64_t h = picture.size(0), w = picture.size(1);
    const auto* pixels = picture.const_data_ptr<std::uint8_t>();
    if (size_ == 0 && (h != height_ || w != width_))
      throw UserError(fmt::format("{}: {} x {} pixels, where {} has {} x {}; set data.size to make them alike",
                                  file(record), w, h, file(0), width_, height_));
    if (h == height_ && w == width_) {
      for (std::int64_t c = 0; c < channels_; ++c) {
        for (std::int64_t i = 0; i < h * w; ++i) *out++ = pixels[i * channels_ + c];
      }
    } else {
      fit({pixels, channels_, h, w, 1, w * channels_, channels_}, channels_, size_, out);
    }
  }

 private:
  std::string file(std::int64_t record) const { return files_[static_cast<std::size_t>(record)].string(); }
  at::Tensor decode(std::int64_t record) const {
    return io::decode_picture(io::read_file(file(record)), channels_, file(record), size_);
  }
  std::vector<fs::path> files_;
  std::int64_t size_, channels_, height_ = 0, width_ = 0;
};

}  // namespace

Dataset image_folder(const Options& options, bool test) {
  const fs::path path = options.path;
  const Splits splits = splits_of(path);
  const fs::path& folder = test ? splits.test : splits.train;
  if (folder.empty())
    throw UserError(fmt::format("{}: no {} there, so no {} split", path.string(),
                                test ? "test, val or validation folder" : "train folder", test ? "test" : "training"));
  Dataset set;
  set.class_names = folders_in(splits.train.empty() ? folder : splits.train);
  set.classes = static_cast<std::int64_t>(set.class_names.size());
  if (set.classes == 0)
    throw UserError(
        fmt::format("{}: no folders of classes in it", (splits.train.empty() ? folder : splits.train).string()));
  if (folders_in(folder).empty() && has_pictures(folder))  // as ImageNet's archive of validation pictures unpacks
    throw UserError(fmt::format("{}: pictures lie directly in it; expected a folder for each class, named as in {}",
                                folder.string(), splits.train.string()));
  std::vector<fs::path> files;
  std::vector<std::int64_t> labels;
  for (const std::string& name : folders_in(folder)) {
    const auto known = std::lower_bound(set.class_names.begin(), set.class_names.end(), name);
    if (known == set.class_names.end() || *known != name)
      throw UserError(fmt::format("{}: no such class in {}", (folder / name).string(), splits.train.string()));
    const std::size_t first = files.size();
    for (const auto& entry : fs::recursive_directory_iterator(folder / name)) {
      if (entry.is_regular_file() && is_picture(entry.path())) files.push_back(entry.path());
    }
    if (files.size() == first) throw UserError(fmt::format("{}: {}", (folder / name).string(), no_pictures));
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(first), files.end());
    labels.resize(files.size(), known - set.class_names.begin());
  }
  if (files.empty()) throw UserError(fmt::format("{}: {}", folder.string(), no_pictures));
  choose(options.count, files, labels);
  set.labels = at::tensor(labels, at::kLong);
  set.pictures = std::make_shared<Folder>(std::move(files), options);
  return set;
}

}  // namespace igebm::data
