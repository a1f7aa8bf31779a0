// The CUDA kernels of engine/fused.h on an imitated device against the same in tensor operations, in double.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "igebm/engine/cuda/kernels.h"
#include "tests/device.h"

namespace igebm::engine::cuda {
namespace {

using namespace imitation;

float to_float(float x) { return x; }
float to_float(c10::BFloat16 x) { return static_cast<float>(x); }
template <typename T>
T from_float(float x) {
  return static_cast<T>(x);
}
float exp_float(float x) { return std::exp(x); }
float sqrt_float(float x) { return std::sqrt(x); }

#include "igebm/engine/cuda/kernels.inl"

struct Shape {
  std::int64_t samples, channels, height, width, groups;
};
const std::vector<Shape> shapes = {{3, 8, 4, 5, 2}, {1, 6, 3, 3, 3}, {2, 5, 7, 2, 1}, {2, 16, 1, 1, 2}};

template <typename T>
constexpr double tolerance = std::is_same_v<T, float> ? 1e-5 : 2e-2;

template <typename T>
at::Tensor random_picture(const Shape& s) {
  return at::randn({s.samples, s.channels, s.height, s.width})
      .to(c10::CppTypeToScalarType<T>::value)
      .contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor column(const at::Tensor& t) {
  return (t.dim() == 1 ? t.unsqueeze(0) : t).unsqueeze(-1).unsqueeze(-1).to(at::kDouble);
}

double distance(const at::Tensor& got, const at::Tensor& want) {
  return (got.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>() /
         (1 + want.abs().max().item<double>());
}

at::Tensor activate(Activation a, const at::Tensor& z) {
  return a == Activation::silu ? at::silu(z) : a == Activation::leaky_relu ? at::leaky_relu(z, 0.2) : z;
}

/// Calls run with each width of packs that divides `together`.
template <typename Run>
void each_width(std::int64_t together, const Run& run) {
  run(std::integral_constant<int, 1>());
  if (together % 2 == 0) run(std::integral_constant<int, 2>());
  if (together % 4 == 0) run(std::integral_constant<int, 4>());
  if (together % 8 == 0) run(std::integral_constant<int, 8>());
}

template <typename T>
void check_epilogue() {
  at::manual_seed(1);
  for (const Shape& s : shapes) {
    for (int which = 0; which < 16; ++which) {
      const at::Tensor a = random_picture<T>(s), add = random_picture<T>(s), bias = at::randn({s.channels});
      const at::Tensor label_bias = at::randn({s.samples, s.channels}), label_gain = at::randn({s.samples, s.channels});
      const Activation activation = static_cast<Activation>(which % 3);
      const bool has_bias = which & 1, has_labels = which & 2, has_add = which & 4, has_z = which & 8;
      at::Tensor want = a.to(at::kDouble);
      if (has_bias) want = want + column(bias);
      if (has_labels) want = (want + column(label_bias)) * (1 + column(label_gain));
      if (has_add) want = want + add.to(at::kDouble);
      each_width(s.channels, [&](auto v) {
        at::Tensor z = at::zeros_like(a), y = at::zeros_like(a);
        launch(epilogue_kernel<T, decltype(v)::value>, 3, 8,
               EpilogueArguments{
                   a.const_data_ptr(), has_bias ? bias.const_data_ptr<float>() : nullptr,
                   has_labels ? label_bias.const_data_ptr<float>() : nullptr,
                   has_labels ? label_gain.const_data_ptr<float>() : nullptr, has_add ? add.const_data_ptr() : nullptr,
                   has_z ? z.mutable_data_ptr() : nullptr, y.mutable_data_ptr(), static_cast<unsigned>(s.samples),
                   static_cast<unsigned>(s.height * s.width), static_cast<unsigned>(s.channels), activation, 0.2F});
        EXPECT_LT(distance(y, activate(activation, want)), tolerance<T>) << which;
        EXPECT_TRUE(!has_z || distance(z, want) < tolerance<T>) << which;
      });
    }
  }
}

template <typename T>
void check_activation_gradient() {
  at::manual_seed(2);
  for (const Shape& s : shapes) {
    for (const Activation activation : {Activation::leaky_relu, Activation::silu}) {
      for (const bool two : {false, true}) {
        const at::Tensor z = random_picture<T>(s), first = random_picture<T>(s), second = random_picture<T>(s);
        const at::Tensor g = first.to(at::kDouble) + (two ? 1 : 0) * second.to(at::kDouble), at = z.to(at::kDouble);
        const at::Tensor want =
            activation == Activation::silu ? at::silu_backward(g, at) : at::leaky_relu_backward(g, at, 0.2, false);
        each_width(z.numel(), [&](auto v) {
          at::Tensor out = at::zeros_like(z);
          launch(activation_gradient_kernel<T, decltype(v)::value>, 2, 4,
                 ActivationGradientArguments{z.const_data_ptr(), first.const_data_ptr(),
                                             two ? second.const_data_ptr() : nullptr, out.mutable_data_ptr(),
                                             static_cast<unsigned>(z.numel()), activation, 0.2F});
          EXPECT_LT(distance(out, want), tolerance<T>);
        });
      }
    }
  }
}

template <typename T>
void check_group_norm() {
  at::manual_seed(3);
  for (const Shape& s : shapes) {
    for (const bool silu : {false, true}) {
      for (const bool two : {false, true}) {
        const at::Tensor x = (random_picture<T>(s) + 2).contiguous(at::MemoryFormat::ChannelsLast),
                         first = random_picture<T>(s), second = random_picture<T>(s);
        const at::Tensor weight = at::randn({s.channels}), bias = at::randn({s.channels});
        const at::Tensor in = x.to(at::kDouble).contiguous().requires_grad_();
        const at::Tensor z = at::group_norm(in, s.groups, weight.to(at::kDouble), bias.to(at::kDouble), 1e-5);
        const at::Tensor want = silu ? at::silu(z) : z;
        (want * (first.to(at::kDouble) + (two ? 1 : 0) * second.to(at::kDouble))).sum().backward();
        each_width(s.channels / s.groups, [&](auto v) {
          at::Tensor mean = at::zeros({s.samples, s.groups}), reciprocal = at::zeros_like(mean), y = at::zeros_like(x),
                     gradient = at::zeros_like(x);
          GroupNormArguments n{x.const_data_ptr(),
                               weight.const_data_ptr<float>(),
                               bias.const_data_ptr<float>(),
                               mean.data_ptr<float>(),
                               reciprocal.data_ptr<float>(),
                               first.const_data_ptr(),
                               two ? second.const_data_ptr() : nullptr,
                               y.mutable_data_ptr(),
                               static_cast<unsigned>(s.samples),
                               static_cast<unsigned>(s.height * s.width),
                               static_cast<unsigned>(s.channels),
                               static_cast<unsigned>(s.groups),
                               silu};
          launch(group_norm_kernel<T, decltype(v)::value>, n.samples * n.groups, 8, n);
          EXPECT_LT(distance(y, want.detach()), tolerance<T>);
          n.out = gradient.mutable_data_ptr();
          launch(group_norm_gradient_kernel<T, decltype(v)::value>, n.samples * n.groups, 8, n);
          EXPECT_LT(distance(gradient, in.grad()), tolerance<T>);
        });
      }
    }
  }
}

/// By differences of derivatives by autograd in double: of y, and of the gradients of x, weight and bias.
template <typename T>
void check_group_norm_tangent() {
  at::manual_seed(4);
  for (const Shape& s : shapes) {
    for (const int which : {0, 3}) {
      const bool silu = which & 1, two = which & 2;
      const at::Tensor x = (random_picture<T>(s) + 2).contiguous(at::MemoryFormat::ChannelsLast);
      std::vector<at::Tensor> t;  // dot; first, second, first_dot, second_dot
      for (int i = 0; i < 5; ++i) t.push_back(random_picture<T>(s));
      const at::Tensor weight = at::randn({s.channels}), bias = at::randn({s.channels});
      const auto exact = [](const at::Tensor& a) { return a.to(at::kDouble).contiguous(); };
      const at::Tensor g = exact(t[1]) + (two ? 1 : 0) * exact(t[2]), g_dot = exact(t[3]) + (two ? 1 : 0) * exact(t[4]);
      const auto at_shift = [&](double shift) {
        const at::Tensor in = (exact(x) + shift * exact(t[0])).requires_grad_();
        const at::Tensor w = exact(weight).expand({s.samples, s.channels}).contiguous().requires_grad_(),
                         b = exact(bias).expand({s.samples, s.channels}).contiguous().requires_grad_();
        const at::Tensor z = at::group_norm(in, s.groups, {}, {}, 1e-5) * column(w) + column(b);
        const at::Tensor y = silu ? at::silu(z) : z;
        (y * (g + shift * g_dot)).sum().backward();
        return std::vector<at::Tensor>{y.detach(), in.grad(), w.grad(), b.grad()};
      };
      const double h = 1e-4;
      const auto after = at_shift(h), before = at_shift(-h), here = at_shift(0);
      const at::Tensor centred = exact(x).view({s.samples, s.groups, -1});
      const at::Tensor mean = centred.mean(2).to(at::kFloat),
                       reciprocal = (centred.var(2, false) + 1e-5).rsqrt().to(at::kFloat);
      each_width(s.channels / s.groups, [&](auto v) {
        at::Tensor mean_dot = at::zeros_like(mean), product = at::zeros_like(mean), y = at::zeros_like(x),
                   out = at::zeros_like(x), of_weight = at::zeros({s.samples, s.channels}),
                   of_bias = at::zeros_like(of_weight);
        GroupNormTangentArguments n{.x = x.const_data_ptr(),
                                    .dot = t[0].const_data_ptr(),
                                    .weight = weight.const_data_ptr<float>(),
                                    .bias = bias.const_data_ptr<float>(),
                                    .mean = mean.const_data_ptr<float>(),
                                    .reciprocal = reciprocal.const_data_ptr<float>(),
                                    .mean_dot = mean_dot.data_ptr<float>(),
                                    .product = product.data_ptr<float>(),
                                    .first = t[1].const_data_ptr(),
                                    .second = two ? t[2].const_data_ptr() : nullptr,
                                    .first_dot = t[3].const_data_ptr(),
                                    .second_dot = two ? t[4].const_data_ptr() : nullptr,
                                    .out = y.mutable_data_ptr(),
                                    .of_weight = of_weight.data_ptr<float>(),
                                    .of_bias = of_bias.data_ptr<float>(),
                                    .samples = static_cast<unsigned>(s.samples),
                                    .pixels = static_cast<unsigned>(s.height * s.width),
                                    .channels = static_cast<unsigned>(s.channels),
                                    .groups = static_cast<unsigned>(s.groups),
                                    .silu = silu};
        launch(group_norm_tangent_kernel<T, decltype(v)::value>, n.samples * n.groups, 8, n);
        n.out = out.mutable_data_ptr();
        launch(group_norm_gradient_tangent_kernel<T, decltype(v)::value>, n.samples * n.groups, 8, n);
        const auto want = [&](std::size_t i) { return (after[i] - before[i]) / (2 * h); };
        EXPECT_LT(distance(y, want(0)), 2 * tolerance<T>) << which;
        EXPECT_LT(distance(out, want(1)), 2 * tolerance<T>) << which;
        EXPECT_LT(distance(of_weight, want(2)), 2 * tolerance<T>) << which;
        EXPECT_LT(distance(of_bias, want(3)), 2 * tolerance<T>) << which;
      });
    }
  }
}

template <typename T>
void check_blocks() {
  at::manual_seed(5);
  for (const std::int64_t k : {2, 3}) {
    for (const std::int64_t channels : {8, 6, 5}) {
      const at::Tensor small = random_picture<T>({2, channels, 3, 2}),
                       large = random_picture<T>({2, channels, 3 * k, 2 * k});
      const auto arguments = [&](const at::Tensor& in, at::Tensor& out) {
        return BlockArguments{in.const_data_ptr(),
                              out.mutable_data_ptr(),
                              2,
                              3,
                              2,
                              static_cast<unsigned>(channels),
                              static_cast<unsigned>(k),
                              0.3F};
      };
      each_width(channels, [&](auto v) {
        at::Tensor sums = at::zeros_like(small), copies = at::zeros_like(large);
        launch(block_sums_kernel<T, decltype(v)::value>, 3, 8, arguments(large, sums));
        launch(spread_kernel<T, decltype(v)::value>, 3, 8, arguments(small, copies));
        const at::Tensor up = at::upsample_nearest2d(small.to(at::kDouble), {3 * k, 2 * k});
        EXPECT_LT(distance(sums, 0.3 * k * k * at::avg_pool2d(large.to(at::kDouble), k)), tolerance<T>);
        EXPECT_LT(distance(copies, 0.3 * up), tolerance<T>);
      });
    }
  }
}

TEST(CudaKernels, SumsOverBlocksAndTheirSpread) {
  check_blocks<float>();
  check_blocks<c10::BFloat16>();
}

TEST(CudaKernels, Epilogue) {
  check_epilogue<float>();
  check_epilogue<c10::BFloat16>();
}

TEST(CudaKernels, ActivationGradient) {
  check_activation_gradient<float>();
  check_activation_gradient<c10::BFloat16>();
}

TEST(CudaKernels, TangentsOfGroupNormAndItsGradient) {
  check_group_norm_tangent<float>();
  check_group_norm_tangent<c10::BFloat16>();
}

TEST(CudaKernels, GroupNormAndItsGradient) {
  check_group_norm<float>();
  check_group_norm<c10::BFloat16>();
}

}  // namespace
}  // namespace igebm::engine::cuda
