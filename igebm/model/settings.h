#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "igebm/data/data.h"
#include "igebm/engine/engine.h"
#include "igebm/sampling/sampler.h"

namespace igebm::model {

/// What a run's recipe says of the use of its model: [run], [data] and [sampling].
struct Settings {
  std::int64_t seed = 0;
  std::int64_t threads = 0;  ///< 0: one per core
  engine::Kind engine = engine::Kind::fast;
  std::string device = "cpu";  ///< base/device.h
  std::string choices;         ///< another run's engine.json, whose algorithms to repeat; empty: measure
  engine::Precision precision = engine::Precision::usual;
  data::Options data;
  sampling::SamplerOptions sampling;
};

/// The section [run].
void describe_run(io::Fields& fields, Settings& settings);

/// As seen from where the program runs; empty stays empty.
std::string absolute_path(const std::string& path);

/// From a recipe, of which all else is left alone. Throws UserError.
Settings read_settings(const std::filesystem::path& recipe);

/// Why the engine of these settings is not for a sampler's kernel, which compares energies that it computes in
/// bfloat16; empty where it is.
std::string kernel_problem(const Settings& settings, const sampling::SamplerOptions& sampler);

/// The engine that the settings ask for, with the algorithms that `run` has kept (engine.json) if it has; an empty
/// `run` has none.
engine::Options engine_options(const Settings& settings, const std::filesystem::path& run);

}  // namespace igebm::model
