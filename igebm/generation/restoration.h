#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "igebm/generation/composite.h"
#include "igebm/generation/operators.h"
#include "igebm/model/model.h"

/// Pictures restored by an energy.
namespace igebm::generation {

/// Which elements are known, bool (C, H, W), all channels alike. `text`: "bottom", "top", "left" or "right", the half
/// that is not known; "box:X,Y,WIDTH,HEIGHT", a box of pixels that are not; "random:SHARE", each pixel is not with that
/// probability; or a picture's file of that size, in which what is brighter than half is not. Throws UserError, also
/// where nothing is known or nothing is not.
at::Tensor read_mask(const std::string& text, const std::vector<std::int64_t>& shape, std::uint64_t seed);

/// The same of a picture of that size, as uint8 (H, W, 1); `name` is for messages.
at::Tensor mask_of(const at::Tensor& picture, const std::vector<std::int64_t>& shape, const std::string& name);

/// A model's sampler as completions and restorations take it: with noise levels `steps` of Langevin at each of so many
/// `levels`, 0: as many as the recipe says.
sampling::SamplerOptions restoration_sampler(const model::Model& model, std::int64_t steps, std::int64_t levels);

/// What completions and restorations are drawn with.
struct RestorationOptions {
  std::int64_t samples = 5;  ///< of each picture
  /// With averaged Langevin answers to a picture come in pairs whose noise is the other's, negated (antithetic
  /// variates: Hammersley & Morton 1956). Each has the law that it has alone, but the mean of all errs less. False:
  /// independent.
  bool antithetic = true;
  nn::Condition condition = {};            ///< one row, or N; empty: none in particular
  std::optional<std::uint64_t> seed = {};  ///< the recipe's
  /// The recipe's. With noise levels its "langevin" is averaged Langevin (sampling/averaged.h), whose step size is
  /// chosen here: on the way down there is time for few steps, and long ones of Langevin's own would add noise.
  std::optional<sampling::SamplerOptions> sampler = {};
  std::int64_t batch = 250;  ///< chains moved at a time
  /// May throw Stop (sampling/sampler.h): then what follows returns the first pictures whose answers are all finished.
  sampling::OnStep on_step = {};
};

/// Completions (N, samples, shape...) of x (N, shape...), both in the model's range, on the CPU, where `known` is false
/// (bool, of x's shape or broadcast to it); what is known is x's, bit for bit, the rest is not looked at. A chain's
/// law at noise level sigma is that of what is not known beside y + sigma n, what is known under noise of that level:
/// known elements are given so at each level, their noise drawn anew as much as the predictor draws, and the sampler's
/// kernel moves the others (Chains::fixed), for which it needs steps at each level. Of a model without noise levels
/// known elements are fixed as they are (Du & Mordatch 2019, section 4.2). Throws UserError.
at::Tensor inpaint(const model::Model& model, const at::Tensor& x, const at::Tensor& known,
                   const RestorationOptions& options = {});
/// The same of a composition, whose expression says the condition. REQUIRES: needs no normalisers.
at::Tensor inpaint(const Composite& composite, const at::Tensor& x, const at::Tensor& known,
                   const RestorationOptions& options = {});

/// Pictures x (N, samples, C, H, W) of the model, drawn given y = A x + noise (N, C, h, w), in the model's range, on
/// the CPU. The noise is normal, of that standard deviation. A is `change`, which keeps what is constant, as means of
/// pixels do; null: 1. In the coordinates in which A is a factor s for each (operators.h) y says z + d n of coordinate
/// z, d = deviation / s. While the chain's own noise sigma is greater, its coordinate is as y has it, under noise of
/// sigma in all, as of inpainting (in spectral form: Kawar et al. 2022, DDRM). Once it is less the coordinate moves,
/// with y's likelihood: y is the chain's z under more noise, of variance d^2 - sigma^2. Of A = 1 chains begin at sigma
/// = deviation, with y itself. Throws UserError, also of a model without noise levels.
at::Tensor restore(const model::Model& model, const at::Tensor& y, double deviation, const LinearOperator* change,
                   const RestorationOptions& options = {});

/// Pictures x drawn given y, in which each pixel was made 0 or 1 (of [0, 1]) with that probability, all channels
/// together: salt and pepper. Pixels strictly between are known; of the others, -log((1 - p) exp(-(x - y)^2 / 2
/// (sigma^2 + e^2)) + p / 2), e one 255th, which lets go of a pixel that all the rest speaks against. y: (N, C, H, W)
/// in the model's range. Throws UserError.
at::Tensor remove_salt(const model::Model& model, const at::Tensor& y, double probability,
                       const RestorationOptions& options = {});

}  // namespace igebm::generation
