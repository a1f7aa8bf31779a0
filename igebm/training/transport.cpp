#include "igebm/training/transport.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "igebm/base/error.h"

namespace igebm::training {

std::vector<std::int64_t> assign(const std::vector<double>& cost, std::int64_t n, const std::function<void()>& on_row) {
  // Among costs that are not finite there is no least one: the search below would never come to an end.
  if (!std::all_of(cost.begin(), cost.end(), [](double c) { return std::isfinite(c); }))
    throw UserError("optimal transport: the data hold numbers that are not finite");
  const auto size = static_cast<std::size_t>(n);
  // Row and column 0 are sentinels: column 0 holds the row being placed.
  std::vector<double> row_potential(size + 1, 0), column_potential(size + 1, 0);
  std::vector<std::size_t> row_of(size + 1, 0), previous(size + 1, 0);
  for (std::size_t row = 1; row <= size; ++row) {
    if (on_row) on_row();
    row_of[0] = row;
    std::size_t column = 0;
    std::vector<double> least(size + 1, std::numeric_limits<double>::infinity());
    std::vector<bool> reached(size + 1, false);
    do {
      reached[column] = true;
      const std::size_t at = row_of[column];
      double step = std::numeric_limits<double>::infinity();
      std::size_t next = 0;
      for (std::size_t j = 1; j <= size; ++j) {
        if (reached[j]) continue;
        const double reduced = cost[(at - 1) * size + j - 1] - row_potential[at] - column_potential[j];
        if (reduced < least[j]) least[j] = reduced, previous[j] = column;
        if (least[j] < step) step = least[j], next = j;
      }
      for (std::size_t j = 0; j <= size; ++j) {
        if (reached[j]) {
          row_potential[row_of[j]] += step, column_potential[j] -= step;
        } else {
          least[j] -= step;
        }
      }
      column = next;
    } while (row_of[column] != 0);
    for (; column != 0; column = previous[column]) row_of[column] = row_of[previous[column]];
  }
  std::vector<std::int64_t> column_of(size);
  for (std::size_t j = 1; j <= size; ++j) column_of[row_of[j] - 1] = static_cast<std::int64_t>(j) - 1;
  return column_of;
}

at::Tensor pair_by_transport(const at::Tensor& noise, const at::Tensor& data, const at::Tensor& labels,
                             const std::function<void()>& on_row) {
  const std::int64_t n = data.size(0);
  // |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, and only the last term depends on the pairing.
  const at::Tensor rows = data.reshape({n, -1}), columns = noise.reshape({n, -1}).t();
  at::Tensor cost = at::matmul(rows, columns).neg_().to(at::kDouble).contiguous();
  if (!cost.isfinite().all().item<bool>())  // beyond float's numbers; double's hold any product of those
    cost = at::matmul(rows.to(at::kDouble), columns.to(at::kDouble)).neg_().contiguous();
  if (labels.defined()) {
    const at::Tensor of_row = labels.cpu().reshape({n, -1});
    const at::Tensor differ = of_row.unsqueeze(0).ne(of_row.unsqueeze(1)).any(2);
    // Above what any pairing can save, so that none leaves its label.
    cost += differ * (static_cast<double>(n) * (cost.max() - cost.min()) + 1);
  }
  const double* c = cost.const_data_ptr<double>();
  return at::tensor(assign(std::vector<double>(c, c + n * n), n, on_row), at::kLong);
}

}  // namespace igebm::training
