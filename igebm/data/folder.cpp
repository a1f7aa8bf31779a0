#include "igebm/data/folder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <memory>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/picture_files.h"
#include "igebm/data/resize.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

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
    const auto* bytes = picture.const_data_ptr<std::uint8_t>();
    if (size_ == 0 && (h != height_ || w != width_))
      throw UserError(fmt::format("{}: {} x {} pixels, where {} has {} x {}; set data.size to make them alike",
                                  file(record), w, h, file(0), width_, height_));
    if (h == height_ && w == width_) {
      for (std::int64_t c = 0; c < channels_; ++c) {
        for (std::int64_t i = 0; i < h * w; ++i) *out++ = bytes[i * channels_ + c];
      }
    } else {
      fit({bytes, channels_, h, w, 1, w * channels_, channels_}, channels_, size_, out);
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
  PictureFiles found = find_pictures(options.path, test);
  choose(options.count, found.files, found.labels);
  Dataset set;
  set.class_names = std::move(found.class_names);
  set.classes = static_cast<std::int64_t>(set.class_names.size());
  if (set.classes > 0) set.labels = at::tensor(found.labels, at::kLong);
  set.pictures = std::make_shared<Folder>(std::move(found.files), options);
  set.notes = std::move(found.notes);
  return set;
}

}  // namespace igebm::data
