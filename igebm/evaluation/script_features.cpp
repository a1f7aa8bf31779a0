// The one file that includes TorchScript's headers, which are slow to compile.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <map>

#include "igebm/base/error.h"
#include "igebm/evaluation/features.h"

namespace igebm::evaluation {
namespace {

class Script : public Features {
 public:
  explicit Script(const std::filesystem::path& path) : from_(path.string()) {
    try {
      module_ = torch::jit::load(path.string(), at::kCPU);
    } catch (const std::exception&) {
      throw UserError(fmt::format(
          "{}: expected a TorchScript module, got another file or a truncated one; a state dict (.pth) is not one",
          from_));
    }
    module_.eval();
    for (const auto& t : module_.parameters()) {  // pictures come in single precision
      if (t.scalar_type() != at::kHalf && t.scalar_type() != at::kBFloat16) continue;
      module_.to(at::kFloat);
      break;
    }
    const auto method = module_.find_method("forward");
    if (!method) throw UserError(fmt::format("{}: a TorchScript module without forward()", from_));
    for (const auto& argument : method->function().getSchema().arguments()) {
      has_features_ = has_features_ || argument.name() == "return_features";
      has_no_bias_ = has_no_bias_ || argument.name() == "no_output_bias";
    }
  }

  Extracted extract(const at::Tensor& pictures) const override {
    if (pictures.dim() != 4) throw UserError(fmt::format("{}: expects pictures, got points", from_));
    at::Tensor x = pictures.mul(255).round_();
    if (x.size(1) == 1) x = x.expand({-1, 3, -1, -1});
    x = x.contiguous();
    Extracted e;
    if (!has_features_) {
      e.features = call(x, {});
    } else {
      e.features = call(x, {{"return_features", true}});
      e.probabilities = has_no_bias_ ? call(x, {{"no_output_bias", true}}) : call(x, {});
    }
    return e;
  }

  std::string description() const override { return "the TorchScript module " + from_; }

 private:
  at::Tensor call(const at::Tensor& x, const std::unordered_map<std::string, c10::IValue>& named) const {
    at::Tensor out;
    try {
      const at::NoGradGuard no_grad;
      out = module_.forward({x}, named).toTensor();
    } catch (const std::exception& e) {
      const std::string what = e.what();
      throw UserError(fmt::format("{}: forward() of pictures ({}) failed: {}", from_, fmt::join(x.sizes().vec(), ", "),
                                  what.substr(0, what.find('\n'))));
    }
    if (out.dim() != 2 || out.size(0) != x.size(0))
      throw UserError(fmt::format("{}: expected features (N, D) of {} pictures, got ({})", from_, x.size(0),
                                  fmt::join(out.sizes().vec(), ", ")));
    return out.to(at::kFloat);
  }

  std::string from_;
  mutable torch::jit::Module module_;
  bool has_features_ = false, has_no_bias_ = false;
};

}  // namespace

FeaturesPtr torchscript(const std::filesystem::path& path) { return std::make_shared<Script>(path); }

}  // namespace igebm::evaluation
