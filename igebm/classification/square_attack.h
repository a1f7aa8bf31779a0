#pragma once

#include "igebm/classification/attacks.h"

namespace igebm::classification {

/// Attack::square with Norm::linf, from pictures that are told right.
Attacked square(const Logits& logits, const at::Tensor& x, const at::Tensor& labels, const at::Tensor& which,
                const AttackOptions& options, const Progress& progress = {});

}  // namespace igebm::classification
