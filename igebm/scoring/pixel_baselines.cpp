#include "igebm/scoring/pixel_baselines.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "igebm/evaluation/records.h"
#include "igebm/io/picture.h"

namespace igebm::scoring {
namespace {

at::Tensor rows_of(const at::Tensor& inputs) { return evaluation::in_unit(inputs.flatten(1)); }

}  // namespace

at::Tensor png_lengths(const at::Tensor& pictures) {
  const at::Tensor pixels = pictures.permute({0, 2, 3, 1}).contiguous();
  at::Tensor lengths = at::empty({pictures.size(0)}, at::kDouble);
  for (std::int64_t i = 0; i < lengths.size(0); ++i)
    lengths.data_ptr<double>()[i] = static_cast<double>(io::encode_png(pixels[i]).size());
  return lengths;
}

at::Tensor total_variations(const at::Tensor& pictures) {
  const at::Tensor x = pictures.to(at::kDouble).div(255);
  return (x.diff(1, 2).abs().mean({1, 2, 3}) + x.diff(1, 3).abs().mean({1, 2, 3})) / 2;
}

PixelGaussian::PixelGaussian(const at::Tensor& pictures) {
  constexpr std::int64_t part = 2000;
  const std::int64_t count = pictures.size(0), size = pictures[0].numel();
  at::Tensor sum = at::zeros({size}, at::kDouble);
  for (std::int64_t i = 0; i < count; i += part)
    sum += rows_of(pictures.slice(0, i, i + part)).sum(0, false, at::kDouble);
  mean_ = (sum / static_cast<double>(count)).to(at::kFloat);
  at::Tensor covariance = at::zeros({size, size}, at::kDouble);
  for (std::int64_t i = 0; i < count; i += part) {
    const at::Tensor centred = rows_of(pictures.slice(0, i, i + part)) - mean_;
    covariance += at::matmul(centred.t(), centred);
  }
  // In double: of few pictures, most of whose eigenvalues are 0, it does not end in float.
  const auto [values, vectors] = at::linalg_eigh(covariance.div_(static_cast<double>(count - 1)));
  values_ = values.clamp_min(0);
  vectors_ = vectors.to(at::kFloat).contiguous();
}

Profile PixelGaussian::profile(const at::Tensor& pictures, const std::vector<double>& sigmas) const {
  const at::Tensor squares = at::matmul(rows_of(pictures) - mean_, vectors_).to(at::kDouble).square();
  std::vector<at::Tensor> energies, norms;
  for (const double sigma : sigmas) {
    const at::Tensor variance = values_ + sigma * sigma;
    energies.push_back(at::matmul(squares, 0.5 / variance) + variance.log().sum() / 2);
    norms.push_back(at::matmul(squares, sigma * sigma / variance.square()).clamp_min(1e-24).log() / 2);
  }
  return {.energy = at::stack(energies, 1), .log_norm = at::stack(norms, 1)};
}

}  // namespace igebm::scoring
