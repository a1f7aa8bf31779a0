#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "igebm/generation/composite.h"
#include "igebm/model/model.h"

/// Pictures restored by an energy.
namespace igebm::generation {

/// Which elements are known, bool (C, H, W), all channels alike. `text`: "bottom", "top", "left" or "right", the half
/// that is not known; "box:X,Y,WIDTH,HEIGHT", a box of pixels that are not; "random:SHARE", each pixel is not with that
/// probability; or a picture's file of that size, in which what is brighter than half is not. Throws UserError, also
/// where nothing is known or nothing is not.
at::Tensor read_mask(const std::string& text, const std::vector<std::int64_t>& shape, std::uint64_t seed);

struct InpaintRequest {
  at::Tensor x;                  ///< (N, shape...) in the model's range; what is not known there is not looked at
  at::Tensor known;              ///< bool, of x's shape or broadcast to it
  std::int64_t samples = 5;      ///< completions of each
  nn::Condition condition = {};  ///< one row, or N; empty: no class in particular
  std::optional<std::uint64_t> seed = {};                ///< the recipe's
  std::optional<sampling::SamplerOptions> sampler = {};  ///< the recipe's
  std::int64_t batch = 250;
  sampling::OnStep on_step = {};
};

/// Completions (N, samples, shape...) in the model's range, on the CPU; what is known is x's, bit for bit. A chain's
/// law at noise level sigma is that of what is not known beside y + sigma n, what is known under noise of that level:
/// known elements are given so at each level, their noise drawn anew as much as the predictor draws, and the sampler's
/// kernel moves the others (Chains::fixed), for which it needs steps at each level. Of a model without noise levels
/// known elements are fixed as they are (Du & Mordatch 2019, section 4.2). Throws UserError.
at::Tensor inpaint(const model::Model& model, const InpaintRequest& request);
/// The same of a composition, whose expression says the condition. REQUIRES: needs no normalisers.
at::Tensor inpaint(const Composite& composite, const InpaintRequest& request);

}  // namespace igebm::generation
