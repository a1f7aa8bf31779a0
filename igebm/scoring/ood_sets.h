#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/model/model.h"

/// Pictures that a model was not trained on, made alike: bytes of the model's shape.
namespace igebm::scoring {

struct PictureSet {
  std::string name;
  at::Tensor x;            ///< uint8 (N, C, H, W)
  std::string made;        ///< what was done to fit the model: "28x28 made 32x32", "grey made colour"; empty: nothing
  at::Tensor labels = {};  ///< (N) int64, of the model's own data where they have any
};

/// Where a set that was asked for by name alone is not there.
class NoSet : public UserError {
 public:
  using UserError::UserError;
};

/// "uniform" (each byte is as likely), "constant" (one colour each) and "interpolation" (the mean of two of `usual`),
/// which are made and need no files.
const std::vector<std::string>& made_sets();

/// The sets that are asked for unless others are: of grey models digits, clothing, letters and sprites; of colour ones
/// house numbers, CIFAR-100, textures, digits on photographs, Tiny ImageNet; less the model's own data; and those made.
std::vector<std::string> usual_sets(const model::Model& model);

/// Whether a set is near to what models know: interpolation, cifar100, tiny-imagenet, emnist. The others are far.
bool is_near(const std::string& set);

/// `what` is NAME or NAME=PATH: a data set by its name (its test split; training where it has none), a file of CIFAR's
/// records, an .npz, a folder of pictures, or one of made_sets. At most `count` pictures, chosen at random by `seed`,
/// all of them by way of bytes and data::fit. usual: uint8 (N, C, H, W), the pictures that interpolation takes. Throws
/// NoSet, and UserError.
PictureSet load_set(const std::string& what, const model::Model& model, const at::Tensor& usual, std::int64_t count,
                    std::uint64_t seed);

/// The model's own: of the test split; of the pictures that training has held out, or (with `validation` 0 in its
/// recipe) of training, and the name says which; or of those trained on. The latter two are different ones, as long as
/// there are enough.
enum class Own { test, held_out, training };
PictureSet load_own(const model::Model& model, Own which, std::int64_t count, std::uint64_t seed);

}  // namespace igebm::scoring
