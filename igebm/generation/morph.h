#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>

#include "igebm/base/observer.h"
#include "igebm/generation/lanczos.h"
#include "igebm/model/model.h"

/// Pictures that turn into others by way of likely ones.
namespace igebm::generation {

/// How a picture is brought to a noise level.
enum class Ascent {
  flow,   ///< by the flow whose inverse brings it back: under the same condition the picture itself comes back
  drawn,  ///< noise is added (SDEdit: Meng et al. 2022)
};
inline constexpr std::array ascent_names = {"flow", "drawn"};
constexpr const auto& names_of(Ascent) { return ascent_names; }

struct MorphOptions {
  std::int64_t frames = 11;  ///< of each picture, at least 2; the first is the picture itself
  /// Langevin steps: of models with noise levels at each of them; of others between two frames.
  std::int64_t steps = 0;
  /// Of models with noise levels: the share of variance that is left to the picture under the noise that it is brought
  /// to, s^2 / (s^2 + sigma^2) with s = NoiseScale::sigma_data; between 0 and 1.
  double kept = 0.01;
  Ascent ascent = Ascent::flow;
  std::int64_t levels = 40;  ///< noise levels from there to none
  double ancestral = 0;      ///< AnnealingOptions::ancestral on the way back; above 0 more of the picture is lost
  double guidance = 2;       ///< of change_class: how far beyond what it becomes the energies go
  std::optional<std::uint64_t> seed = {};  ///< the recipe's
  std::int64_t batch = 250;
  Progress progress = {};
};

/// MorphOptions::steps where nothing else is said: 0 of models with noise levels, else 40 between two frames.
std::int64_t usual_morph_steps(const model::Model& model);

struct Morphs {
  at::Tensor frames;           ///< (N, frames, shape...) in the model's range, on the CPU
  double sigma = 0;            ///< the noise that pictures were brought to; 0: none
  std::int64_t gradients = 0;  ///< that a frame took, at most
};

/// `count` pictures of a condition of one row, to begin with, as a file would hold them: of 8 bits.
at::Tensor draw_pictures(const model::Model& model, const nn::Condition& condition, std::int64_t count,
                         std::optional<std::uint64_t> seed, const sampling::OnStep& on_step = {});

/// x (N, shape...), in the model's range, from pictures of the condition `from` to ones of `to`, each of one row, N, or
/// none in particular. With noise levels x is brought to noise of sigma under E_from, and frame k of K is what comes
/// back under (1 - t) E_from + t E_to, t = guidance k / (K - 1). Without, chains start at x and take Langevin steps
/// under E_to (Du & Mordatch 2019), frames evenly spaced along them. Throws UserError.
Morphs change_class(const model::Model& model, const at::Tensor& x, const nn::Condition& from, const nn::Condition& to,
                    const MorphOptions& options = {});

/// Between a and b (N, shape...) of those conditions: both are brought to noise of sigma, and frame k is what comes
/// back from between them, t = k / (K - 1), under (1 - t) E_from + t E_to. Under the noise one goes from a to b on a
/// sphere whose radius changes evenly, as a mean of noises would be too little noise. Without noise levels chains start
/// at (1 - t) a + t b and take Langevin steps. First and last frame are a and b themselves. Throws UserError.
Morphs interpolate(const model::Model& model, const at::Tensor& a, const at::Tensor& b, const nn::Condition& from,
                   const nn::Condition& to, const MorphOptions& options = {});

struct Traversals {
  Morphs morphs;     ///< frames (N, directions, frames, shape...)
  Eigenpairs along;  ///< of the Hessian
};

/// From x (N, shape...) along eigenvectors v of E's Hessian at y, which is x brought to noise of sigma: what comes back
/// of y + s v, s evenly from -reach sigma to reach sigma. The least eigenvalues l are of directions that the noise
/// leaves open: y's clean picture has the variance sigma^2 (1 - sigma^2 l) along v (Manor & Michaeli 2024), that of the
/// greatest is 0. Without noise levels: x + s v as it is, s from -reach to reach. Throws UserError.
Traversals traverse(const model::Model& model, const at::Tensor& x, const nn::Condition& condition,
                    const LanczosOptions& directions, double reach, const MorphOptions& options = {});

}  // namespace igebm::generation
