#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "igebm/io/recipe.h"

namespace igebm::data {

/// Pictures that are made when a batch asks for them: files to decode, drawings.
class Pictures {
 public:
  virtual ~Pictures() = default;
  virtual std::int64_t size() const = 0;
  virtual std::vector<std::int64_t> shape() const = 0;  ///< (C, H, W)
  /// Record `record` into the C * H * W bytes at `out`. Called from many threads at once. Throws UserError.
  virtual void read(std::int64_t record, std::uint8_t* out) const = 0;
};

/// What augmentation does to where things are in a picture.
struct Changes {
  bool mirror = false, shift = false, zoom = false;
};

/// Records as they are stored: pixels are bytes until a batch is made of them.
struct Dataset {
  at::Tensor x;       ///< pictures: uint8 (N, C, H, W); points: float (N, D); undefined where `pictures` has them
  at::Tensor labels;  ///< (N) int64, undefined if there are none
  std::int64_t classes = 0;
  std::vector<std::string> class_names;
  at::Tensor conditions;                     ///< (N, F) float, undefined if there are none
  std::vector<std::string> condition_names;  ///< of the F columns
  std::vector<Changes> untrue_by;            ///< for each of them, what would make it untrue; empty: nothing known
  std::shared_ptr<const Pictures> pictures;  ///< instead of x, where there are too many to keep
  std::vector<std::string> notes;            ///< what the user should know: files that were left out, and why

  std::int64_t size() const;
  std::vector<std::int64_t> shape() const;  ///< of one record
  /// Records `rows` (int64) as x has them, wherever they are.
  at::Tensor take(const at::Tensor& rows) const;
  /// Columns of `conditions` that `names` pick, in that order: a name is a column's ("shape.square") or what stands
  /// before a point in several ("shape"). Throws UserError: an unknown name, a column picked twice.
  std::vector<std::int64_t> condition_columns(const std::vector<std::string>& names) const;
  /// The first of condition_columns(names) that pictures so changed make untrue; empty: none.
  std::string made_untrue(const std::vector<std::string>& names, const Changes& by) const;
  /// class_names, or where there are none the classes' numbers.
  std::vector<std::string> names_of_classes() const;
  /// x; throws UserError where the pictures are too many to keep, with what the user can do.
  const at::Tensor& all() const;
};

/// Records of sets that are made, not read: 2-D sets, dsprites-drawn.
constexpr std::int64_t usual_count = 20000;

/// What surrounds a picture that crop cuts from.
enum class Padding {
  zero,     ///< black
  reflect,  ///< the picture mirrored
};
inline constexpr std::array padding_names = {"zero", "reflect"};
constexpr const auto& names_of(Padding) { return padding_names; }

struct Options {
  std::string name = "fashion-mnist";  ///< see sets()
  std::string path;                    ///< its folder or file; empty: see places()
  std::string variant;                 ///< of a set that has several; empty: the first that its table line names
  double low = 0, high = 1;            ///< what black and white become
  bool dequantize = true;              ///< (pixel + u) / 256 with u uniform, else pixel / 255
  std::int64_t size = 0;               ///< pictures resized to it on their short side, centre kept; 0: as they are
  std::int64_t channels = 0;           ///< 1: grey, 3: colour, 0: as they are (picture files: 3)
  bool flip = false;                   ///< each picture mirrored with probability 1/2
  std::int64_t crop = 0;               ///< each picture padded by so many pixels and cut back at a random place
  Padding crop_padding = Padding::zero;
  double brightness = 0;     ///< each picture times a factor from [1 - b, 1 + b]
  double contrast = 0;       ///< the same, of the distance to the picture's mean grey
  double saturation = 0;     ///< the same, of the distance to each pixel's grey
  double validation = 0.05;  ///< share of the training records held out
  std::int64_t count = 0;    ///< of training records used, validation's among them; 0: all (see usual_count)
  /// Groups of records that training does without, as "heart & size < 0.65" (withheld.h); the test split keeps them.
  std::vector<std::string> without;
  double memory = 4;    ///< GiB of pictures kept; more are decoded or drawn as batches ask for them
  double noise = 0.05;  ///< of 2-D sets, standard deviation
};

enum class Split { train, validation, test };
inline constexpr std::array split_names = {"train", "validation", "test"};
constexpr const auto& names_of(Split) { return split_names; }

void describe(io::Fields& fields, Options& options);

/// Throws UserError that names a field out of its range.
void check(const Options& options);

/// Throws UserError: unknown name (with the nearest), missing or damaged files (with what was expected where), a split
/// that the set does not have.
Dataset load(const Options& options, Split split, std::uint64_t seed);

/// A file to download for a set, as its publisher has it.
struct Source {
  const char* address;
  const char* file;                       ///< its name in the set's folder
  std::int64_t bytes;                     ///< 0: not known
  const char* checksum;                   ///< hexadecimal, SHA-256 or MD5 by its length
  std::vector<std::string> members = {};  ///< where the file is an archive: the files to take out of it
  const char* variant = "";               ///< fetched only where it is asked for
};

/// One line in the table of known sets; adding a set is a file with a loader, and such a line in sets.cpp.
struct Set {
  const char* name;
  const char* about;
  /// The whole official split; validation is cut from training by load(). options.path is where the files were found,
  /// options.variant is one of `variants`.
  std::function<Dataset(const Options&, bool test, std::uint64_t seed)> read;
  const char* licence = "";
  /// Each list is the whole set, and any file of any list marks its folder; empty: needs none.
  std::vector<std::vector<std::string>> files = {};
  std::vector<const char*> endings = {"", ".gz"};  ///< that a file's name may have there
  std::vector<const char*> subfolders = {};        ///< that its archives unpack to: looked into as well
  const char* needs = "";                          ///< the files in words
  const char* hint = "";                           ///< how to get them, said where they are missing
  const char* usual = "";                          ///< folder where a Debian package installs them
  std::vector<std::string> variants = {};          ///< the first is the default
  std::vector<Source> sources = {};                ///< what `igebm data fetch` downloads
  const char* page = "";                           ///< its home; where downloads need a registration, the place for it
  bool given = false;                              ///< options.path must be given
};
/// The library's, then those registered.
const std::deque<Set>& sets();
/// Makes a set known by its name, as data.name. To be called before data are loaded, from one thread. Throws UserError
/// where one of that name is known.
void register_set(Set set);

/// Throws UserError with the nearest known name.
const Set& find_set(const std::string& name);

/// The default for an empty one. Throws UserError with the known ones.
std::string find_variant(const Set& set, const std::string& variant);

/// Where a set is looked for, in this order: `path` if given, else $IGEBM_DATA/NAME, then $XDG_DATA_HOME/igebm/NAME
/// ($XDG_DATA_HOME is ~/.local/share unless set), then where a Debian package puts it.
std::vector<std::filesystem::path> places(const Set& set, const std::string& path);

/// The first of the places, or of the set's subfolders in them, that holds any of its files; empty if none does.
std::filesystem::path find_folder(const Set& set, const std::string& path);

/// Where a file of the set (without an ending) is: in `folder`, in one of the set's subfolders there or beside it;
/// empty if in none.
std::filesystem::path find_file(const Set& set, const std::filesystem::path& folder, const std::string& file);

/// What `folder`, with its subfolders, lacks of the set, by the list of files that lacks least; empty where the set is
/// whole.
std::vector<std::string> missing_files(const Set& set, const std::filesystem::path& folder);

struct Batch {
  at::Tensor x;           ///< float (N, ...), pictures in [low, high]
  at::Tensor labels;      ///< (N) int64 or undefined
  at::Tensor conditions;  ///< (N, F) float or undefined
  at::Tensor index;       ///< (N) int64, which records
};

class Prefetcher;

/// Shuffled batches without state: a batch is a function of the seed and its place, so a resume needs nothing else.
/// Pictures that are not kept are read by threads in the background, a step ahead. Used from one thread at a time.
class Batches {
 public:
  Batches(Dataset dataset, const Options& options, std::uint64_t seed);
  Batches(Batches&&) noexcept;
  ~Batches();

  /// Records `first` >= 0 to `first` + `size` of the endless sequence of epochs, each a permutation of all records;
  /// augmented. Pixels stay inside their own level's bin unless colours are changed. Whoever goes on where the batch
  /// before ended gets every record once an epoch, whatever the sizes, and none twice with the same noise.
  Batch from(std::int64_t first, std::int64_t size) const;
  /// The batch of step `step` >= 0 where all are of one size.
  Batch at(std::int64_t step, std::int64_t size) const { return from(step * size, size); }
  /// Records as they come, with dequantisation of epoch 0 and no augmentation.
  Batch first(std::int64_t count) const;

  std::vector<std::int64_t> shape() const;  ///< of one record
  std::int64_t size() const;
  std::int64_t bytes() const;  ///< of pictures or points kept in memory
  double extent() const;       ///< greatest |x| of points; max(|low|, |high|) of pictures

 private:
  struct Choice {
    std::vector<std::int64_t> records, epochs;
  };
  Choice choose(std::int64_t first, std::int64_t size) const;
  Batch make(const Choice& choice, const at::Tensor& bytes, bool augment) const;
  at::Tensor bytes(const std::vector<std::int64_t>& records) const;  // as stored
  const std::vector<std::int64_t>& order(std::int64_t epoch) const;

  Dataset dataset_;
  Options options_;
  std::uint64_t seed_;
  std::unique_ptr<Prefetcher> prefetcher_;
  mutable std::int64_t cached_epoch_[2] = {-1, -1};  // of the two orders at hand
  mutable std::vector<std::int64_t> cached_order_[2];
};

}  // namespace igebm::data
