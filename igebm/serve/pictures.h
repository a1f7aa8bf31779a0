#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "igebm/serve/models.h"

/// Pictures that requests start from.
namespace igebm::serve {

inline constexpr std::int64_t most_row = 1000000000;

/// A picture of a model's shape, (1, C, H, W) in [0, 1], its class (-1: not known), and its numbers as requests have
/// them.
struct Given {
  at::Tensor x;
  std::int64_t label = -1;
  std::string condition = {};
};

/// What a data URL holds, uint8 (H, W, channels). Throws UserError; `name` is for messages.
at::Tensor decoded(const std::string& url, std::int64_t channels, const std::string& name);

/// One of the model's own test data. Throws UserError.
Given test_picture(Models& models, const Chosen& chosen, std::int64_t row);

/// "test:NUMBER", or a data URL, of which what is not square is cropped where the model's pictures are, and brought to
/// their size. Throws UserError.
Given given_picture(Models& models, const Chosen& chosen, const std::string& text);

/// Samples as `igebm sample --out FILE.npz` has them.
std::map<std::string, at::Tensor> arrays_of(const model::Model& model, const model::Samples& samples);

}  // namespace igebm::serve
