#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "igebm/base/enums.h"
#include "igebm/base/observer.h"
#include "igebm/classification/logits.h"

/// Changes of a picture, small by a norm, that make a classifier wrong.
///
/// Pictures are (N, C, H, W), double in [0, 1]; attacked ones are no bytes. The ball lies round the picture as it was
/// given, whatever the step, and what is tried lies within it and within [0, 1].
namespace igebm::classification {

enum class Norm { linf, l2 };
inline constexpr std::array norm_names = {"linf", "l2"};
constexpr const auto& names_of(Norm) { return norm_names; }

enum class Attack {
  pgd,     ///< projected gradient ascent of the cross entropy, from random starts (Madry et al. 2018)
  apgd,    ///< Auto-PGD of the cross entropy: momentum, steps halved where it does not rise (Croce & Hein 2020)
  square,  ///< random squares that are kept where they lower the margin (Andriushchenko et al. 2020); no gradients
};
inline constexpr std::array attack_names = {"pgd", "apgd", "square"};
constexpr const auto& names_of(Attack) { return attack_names; }

struct AttackOptions {
  Norm norm = Norm::linf;
  double eps = 8.0 / 255;  ///< the ball's radius, in pixels' units: black is 0, white 1
  std::int64_t steps = 40;
  double step_size = 0;         ///< of pgd; 0: 2.5 eps / steps (apgd has its own, from 2 eps)
  std::int64_t restarts = 10;   ///< of pgd and apgd
  std::int64_t queries = 5000;  ///< of square; evaluations of the logits
  /// Of pgd and apgd: all classes are asked at the start, after so many steps, again after as many, and at the end;
  /// between, the label and those whose logits were then at most class_margin below the greatest of the others. Each
  /// class costs an energy's gradient, and one that is far below takes no part in the cross entropy's. 1: always all.
  std::int64_t all_classes_every = 5;
  double class_margin = 3;  ///< nats
  std::uint64_t seed = 0;
};

/// Throws UserError that says the value that is out of its range, or norm and attack that do not go together.
void check(Attack attack, const AttackOptions& options);

struct Attacked {
  at::Tensor x;      ///< like the pictures: one that is told wrong, where one was found, else as given
  at::Tensor right;  ///< (N) bool: told right as given, and whatever was tried
  std::int64_t gradients = 0, evaluations = 0;  ///< taken: of single pictures, not of batches
};

/// `which` (N) int64: numbers of the pictures' random streams, so that what is tried does not go by the batch. A
/// picture is left alone as soon as it is told wrong. Throws UserError.
Attacked attack(Attack attack, const Logits& logits, const at::Tensor& x, const at::Tensor& labels,
                const at::Tensor& which, const AttackOptions& options, const Progress& progress = {});

/// Where one run of pgd from a random start ends, whatever is told on the way: all steps are taken, so that the end is
/// far on the wrong side, and may be on that of another classifier, too (transfer).
at::Tensor pgd_end(const Logits& logits, const at::Tensor& x, const at::Tensor& labels, const at::Tensor& which,
                   const AttackOptions& options, const Progress& progress = {});

/// The nearest point of the ball round `centre` in elements (linf) or along the line to the centre (l2), then of
/// [0, 1]; both leave what is within.
at::Tensor project(const at::Tensor& x, const at::Tensor& centre, Norm norm, double eps);

/// Sees what is tried at each step, of pictures that are not yet told wrong the last to be tried.
using OnTry = std::function<void(std::int64_t step, const at::Tensor& x)>;

/// One run from a given start. stop: whether pictures that are told wrong are left alone.
Attacked pgd_from(const at::Tensor& start, const Logits& logits, const at::Tensor& x, const at::Tensor& labels,
                  const AttackOptions& options, bool stop = true, const OnTry& on_try = {});
/// The same of Auto-PGD, with the checkpoints and constants of its authors' program.
Attacked apgd_from(const at::Tensor& start, const Logits& logits, const at::Tensor& x, const at::Tensor& labels,
                   const AttackOptions& options, bool stop = true, const OnTry& on_try = {});

}  // namespace igebm::classification
