#pragma once

#include <memory>

#include "igebm/classification/task_learner.h"

/// Bodies that do not change any more, max(0, A x + b), whose features all classes share: above them a mean for each
/// class and one covariance (Discriminant).
namespace igebm::classification {

/// A and b are random, from the seed; nothing is trained.
std::unique_ptr<TaskLearner> make_shared_body(std::int64_t elements, std::int64_t classes,
                                              const LearnerOptions& options, const LearnerKind& kind);
/// Begun as that, and trained as EBM-CL's body (ebm_cl.h) by the first `options.first` records alone, which are not
/// among those that means and covariance are of.
std::unique_ptr<TaskLearner> make_early_body(std::int64_t elements, std::int64_t classes, const LearnerOptions& options,
                                             const LearnerKind& kind);

}  // namespace igebm::classification
