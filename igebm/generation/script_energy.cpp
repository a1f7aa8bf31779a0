// With evaluation's features one of two files that include TorchScript's headers, which are slow to compile.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "igebm/base/error.h"
#include "igebm/generation/terms.h"

namespace igebm::generation {
namespace {

class ScriptEnergy : public energy::Energy {
 public:
  ScriptEnergy(std::string file, model::SampleSpace space) : file_(std::move(file)), space_(std::move(space)) {
    try {
      module_ = torch::jit::load(file_, at::kCPU);
    } catch (const std::exception&) {
      throw UserError(fmt::format("{}: expected a TorchScript module, got another file or a truncated one", file_));
    }
    module_.eval();
    for (const auto& p : module_.parameters()) p.set_requires_grad(false);
    std::vector<std::int64_t> shape = space_.shape;
    shape.insert(shape.begin(), 2);
    // What does not fit is said before the work.
    const auto [e, g] = energy_and_gradient(at::full(shape, (space_.low + space_.high) / 2));
    if (e.isnan().any().item<bool>() || g.isnan().any().item<bool>())
      throw UserError(fmt::format("{}: its energy or gradient is not a number where all elements are {:g}", file_,
                                  (space_.low + space_.high) / 2));
  }

  at::Tensor energy(const at::Tensor& x) const override {
    // Not clamped: there would be no slope beyond.
    const at::Tensor in =
        space_.kind == model::SampleSpace::Kind::image ? (x - space_.low) / (space_.high - space_.low) : x;
    at::Tensor e;
    try {
      const c10::IValue out = module_.forward({in.cpu()});
      if (out.isTensor()) e = out.toTensor();
    } catch (const std::exception& error) {
      const std::string what = error.what();
      throw UserError(fmt::format("{}: it fails on an input of shape ({}): {}", file_, fmt::join(in.sizes(), ", "),
                                  what.substr(what.rfind('\n', what.size() - 2) + 1)));
    }
    if (!e.defined() || e.dim() != 1 || e.size(0) != x.size(0) || !e.is_floating_point())
      throw UserError(
          fmt::format("{}: expected energies ({}), got {}", file_, x.size(0),
                      e.defined() ? fmt::format("({}) of {}", fmt::join(e.sizes(), ", "), at::toString(e.scalar_type()))
                                  : "no tensor"));
    if (x.requires_grad() && !e.requires_grad())
      throw UserError(
          fmt::format("{}: its energy does not depend on its input by operations that have a gradient", file_));
    return e.to(x.device());
  }

 private:
  std::string file_;
  model::SampleSpace space_;
  mutable torch::jit::Module module_;
};

}  // namespace

energy::EnergyPtr script_energy(const std::string& file, const model::SampleSpace& space) {
  return std::make_shared<ScriptEnergy>(file, space);
}

}  // namespace igebm::generation
