#include "igebm/generation/lanczos.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::generation {
namespace {

/// Standard normal rows (N, n), double.
at::Tensor directions(std::int64_t rows, std::int64_t elements, const LanczosOptions& options, std::uint32_t step) {
  at::Tensor out = at::empty({rows, elements}, at::kFloat);
  for (std::int64_t i = 0; i < rows; ++i)
    random_normal({options.seed, Purpose::directions, static_cast<std::uint64_t>(options.first_row + i), step},
                  {out.data_ptr<float>() + i * elements, static_cast<std::size_t>(elements)});
  return out.to(at::kDouble);
}

/// Rows of w without what lies along `basis` (N, m, n). Twice: once leaves rounding errors that grow.
at::Tensor orthogonal_to(const at::Tensor& basis, at::Tensor w) {
  for (int twice = 0; twice < 2; ++twice)
    w = w - at::bmm(at::bmm(basis, w.unsqueeze(2)).transpose(1, 2), basis).squeeze(1);
  return w;
}

/// What the tridiagonal matrices say of those that they stand for.
Eigenpairs ritz(const std::vector<at::Tensor>& basis, const std::vector<at::Tensor>& diagonal,
                const std::vector<at::Tensor>& beside, const LanczosOptions& options) {
  const auto m = static_cast<std::int64_t>(basis.size());
  const std::int64_t count = std::min(options.count, m);
  at::Tensor t = at::diag_embed(at::stack(diagonal, 1));
  if (m > 1) {
    const at::Tensor off = at::stack(std::vector(beside.begin(), beside.begin() + (m - 1)), 1);
    t = t + at::diag_embed(off, 1) + at::diag_embed(off, -1);
  }
  auto [values, vectors] = at::linalg_eigh(t);  // least first
  if (!options.least) values = values.flip(1), vectors = vectors.flip(2);
  const at::Tensor chosen = vectors.slice(2, 0, count).transpose(1, 2);  // (N, count, m)
  return {.values = values.slice(1, 0, count).contiguous(),
          .vectors = at::bmm(chosen, at::stack(basis, 1)),
          .residuals = (chosen.select(2, m - 1) * beside.back().unsqueeze(1)).abs(),
          .products = m};
}

}  // namespace

Eigenpairs lanczos(const SymmetricProduct& product, std::int64_t rows, std::int64_t elements,
                   const LanczosOptions& options) {
  if (options.count < 1 || options.count > elements)
    throw UserError(fmt::format("lanczos: expected 1 to {} eigenvectors, got {}", elements, options.count));
  if (options.steps < options.count)
    throw UserError(fmt::format("lanczos: {} eigenvectors need at least as many steps", options.count));
  const std::int64_t most = std::min(options.steps, elements);
  std::vector<at::Tensor> basis, diagonal, beside;
  at::Tensor next = directions(rows, elements, options, 0), greatest = at::zeros({rows}, at::kDouble);
  next = next / next.norm(2, {1}, true);
  while (true) {
    basis.push_back(next);
    const at::Tensor w = product(next);
    diagonal.push_back((w * next).sum(1));
    const at::Tensor all = at::stack(basis, 1);
    at::Tensor rest = orthogonal_to(all, w), length = rest.norm(2, {1});
    greatest = at::maximum(greatest, w.norm(2, {1}));
    const auto m = static_cast<std::int64_t>(basis.size());
    if (const at::Tensor ended = length <= 1e-12 * greatest; m < elements && ended.any().item<bool>()) {
      const at::Tensor other = orthogonal_to(all, directions(rows, elements, options, static_cast<std::uint32_t>(m)));
      rest = at::where(ended.unsqueeze(1), other, rest);
      length = at::where(ended, at::zeros_like(length), length);
    }
    beside.push_back(length);
    if (m >= most || (m >= options.count && (m - options.count) % 5 == 0)) {
      Eigenpairs found = ritz(basis, diagonal, beside, options);
      const bool near = (found.residuals <= options.tolerance * greatest.unsqueeze(1)).all().item<bool>();
      if (m >= most || near) {
        const at::Tensor at_greatest = found.vectors.gather(2, found.vectors.abs().argmax(2, true));
        found.vectors = found.vectors * at_greatest.sign();
        return found;
      }
    }
    next = rest / rest.norm(2, {1}, true);
  }
}

}  // namespace igebm::generation
