#pragma once

#include <memory>

#include "igebm/serve/job.h"
#include "igebm/serve/models.h"

/// What each address of the API does (docs/viewer.md): a request's keys are read and checked, and a job is made of
/// them. They throw UserError for what is wrong with a request. Jobs use the models.
namespace igebm::serve {

/// Samples as `igebm sample` draws them.
std::unique_ptr<Job> prepare_sample(Request& request, Models& models);

/// A picture of the model's own test data, at its own size.
std::unique_ptr<Job> prepare_picture(Request& request, Models& models);

/// The energy of a picture, and |dE/dx| of each pixel as a heat map.
std::unique_ptr<Job> prepare_energy(Request& request, Models& models);

/// Completions as `igebm inpaint` draws them.
std::unique_ptr<Job> prepare_restore(Request& request, Models& models);

/// Samples of an expression as `igebm compose` draws them.
std::unique_ptr<Job> prepare_compose(Request& request, Models& models);

/// Strips as `igebm morph` makes them, from and to classes, numbers or pictures.
std::unique_ptr<Job> prepare_morph(Request& request, Models& models);

/// Chains in the plane under an expression's energy.
std::unique_ptr<Job> prepare_plane(Request& request, Models& models);

/// A picture, taken back to a noise level and down again, or given more steps of a model without noise levels.
std::unique_ptr<Job> prepare_vary(Request& request, Models& models);

/// The training pictures that are nearest to a picture, in pixels.
std::unique_ptr<Job> prepare_neighbours(Request& request, Models& models);

/// How a run's training goes: its figures and its newest samples.
std::unique_ptr<Job> prepare_train(Request& request, Models& models);

/// Asks a run's training to end, with a checkpoint.
std::unique_ptr<Job> prepare_stop(Request& request, Models& models);

/// Goes on with a run's training.
std::unique_ptr<Job> prepare_resume(Request& request, Models& models);

}  // namespace igebm::serve
