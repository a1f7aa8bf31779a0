#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "igebm/base/error.h"
#include "igebm/evaluation/features.h"
#include "igebm/io/npz.h"

namespace igebm::evaluation {
namespace {

/// A convolution with the batch norm that follows it folded in.
struct Convolution {
  at::Tensor weight, bias;
  at::Tensor operator()(const at::Tensor& x, std::int64_t stride = 1) const {
    return at::conv2d(x, weight, bias, stride, 1);
  }
};

struct Block {
  Convolution first, second;
};

/// The arrays of a file, each asked for with its shape.
class Arrays {
 public:
  explicit Arrays(const std::filesystem::path& path) : path_(path), file_(path) {}
  bool has(const std::string& name) const { return file_.has(name); }
  at::Tensor get(const std::string& name, const std::vector<std::int64_t>& shape) const {
    if (!has(name)) throw UserError(fmt::format("{}: lacks the array \"{}\"", path_.string(), name));
    const at::Tensor array = file_.open(name).read();
    if (array.sizes() != at::IntArrayRef(shape)) {
      throw UserError(fmt::format("{}: {}: expected shape ({}), got ({})", path_.string(), name, fmt::join(shape, ", "),
                                  fmt::join(array.sizes().vec(), ", ")));
    }
    return array.to(at::kFloat);
  }

 private:
  std::filesystem::path path_;
  io::NpzFile file_;
};

/// Residual networks for CIFAR-10 (He et al. 2016, section 4.2): 3x3 convolutions in three stages of 16, 32 and 64
/// channels, bypasses without parameters (every second pixel, new channels zero), mean over space, linear.
class CifarResNet : public Features {
 public:
  explicit CifarResNet(const std::filesystem::path& path) : from_(path.string()) {
    const Arrays arrays(path);
    if (!arrays.has("conv1.weight") || !arrays.has("layer1.0.conv1.weight") || !arrays.has("linear.weight")) {
      throw UserError(
          fmt::format("{}: not a CIFAR ResNet; expected arrays conv1.weight, bn1.weight, "
                      "layer1.0.conv1.weight, ..., linear.weight",
                      from_));
    }
    const auto convolution = [&](const std::string& prefix, const std::string& number, std::int64_t in,
                                 std::int64_t out) {
      const auto norm = [&](const char* what) { return arrays.get(prefix + "bn" + number + "." + what, {out}); };
      const at::Tensor gain = norm("weight") / (norm("running_var") + 1e-5).sqrt();
      const at::Tensor weight = arrays.get(prefix + "conv" + number + ".weight", {out, in, 3, 3});
      return Convolution{(weight * gain.reshape({out, 1, 1, 1})).contiguous(at::MemoryFormat::ChannelsLast),
                         norm("bias") - norm("running_mean") * gain};
    };
    stem_ = convolution("", "1", 3, 16);
    std::int64_t width = 16;
    for (int stage = 0; stage < 3; ++stage) {
      const std::int64_t out = std::int64_t{16} << stage;
      for (int i = 0; i == 0 || arrays.has(fmt::format("layer{}.{}.conv1.weight", stage + 1, i)); ++i) {
        const std::string prefix = fmt::format("layer{}.{}.", stage + 1, i);
        stages_[stage].push_back({convolution(prefix, "1", width, out), convolution(prefix, "2", out, out)});
        width = out;
      }
    }
    head_ = arrays.get("linear.weight", {10, 64});
    head_bias_ = arrays.get("linear.bias", {10});
  }

  Extracted extract(const at::Tensor& pictures) const override {
    if (pictures.dim() != 4 || pictures.sizes().slice(1) != at::IntArrayRef({3, 32, 32})) {
      throw UserError(fmt::format("{}: expects pictures of (3, 32, 32), got ({})", from_,
                                  fmt::join(pictures.sizes().slice(1).vec(), ", ")));
    }
    const at::Tensor mean = at::tensor({0.485F, 0.456F, 0.406F}).reshape({1, 3, 1, 1}),
                     deviation = at::tensor({0.229F, 0.224F, 0.225F}).reshape({1, 3, 1, 1});
    at::Tensor x = ((pictures - mean) / deviation).contiguous(at::MemoryFormat::ChannelsLast);
    x = stem_(x).relu_();
    for (int stage = 0; stage < 3; ++stage) {
      for (std::size_t i = 0; i < stages_[stage].size(); ++i) {
        const Block& block = stages_[stage][i];
        const bool down = stage > 0 && i == 0;
        const at::Tensor y = block.second(block.first(x, down ? 2 : 1).relu_());
        x = (y + (down ? shortcut(x) : x)).relu_();
      }
    }
    const at::Tensor values = x.mean({2, 3});
    return {values, at::softmax(at::linear(values, head_, head_bias_).to(at::kDouble), 1)};
  }

  std::string description() const override {
    const std::size_t layers = 2 * (stages_[0].size() + stages_[1].size() + stages_[2].size()) + 2;
    return fmt::format("64 of the CIFAR ResNet-{} {}", layers, from_);
  }

 private:
  static at::Tensor shortcut(const at::Tensor& x) {
    const at::Tensor half = x.slice(2, 0, x.size(2), 2).slice(3, 0, x.size(3), 2);
    const std::int64_t more = x.size(1) / 2;  // on each side
    return at::constant_pad_nd(half, {0, 0, 0, 0, more, more});
  }

  std::string from_;
  Convolution stem_;
  std::vector<Block> stages_[3];
  at::Tensor head_, head_bias_;
};

}  // namespace

FeaturesPtr cifar_resnet(const std::filesystem::path& path) { return std::make_shared<CifarResNet>(path); }

}  // namespace igebm::evaluation
