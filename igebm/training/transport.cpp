#include "igebm/training/transport.h"

#include <ATen/ATen.h>

#include <limits>

namespace igebm::training {

std::vector<std::int64_t> assign(const std::vector<double>& cost, std::int64_t n) {
  const auto size = static_cast<std::size_t>(n);
  // Row and column 0 are sentinels: column 0 holds the row being placed.
  std::vector<double> row_potential(size + 1, 0), column_potential(size + 1, 0);
  std::vector<std::size_t> row_of(size + 1, 0), previous(size + 1, 0);
  for (std::size_t row = 1; row <= size; ++row) {
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

at::Tensor pair_by_transport(const at::Tensor& noise, const at::Tensor& data, const at::Tensor& labels) {
  const std::int64_t n = data.size(0);
  // |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, and only the last term depends on the pairing.
  at::Tensor cost = at::matmul(data.reshape({n, -1}), noise.reshape({n, -1}).t()).neg_().to(at::kDouble).contiguous();
  if (labels.defined()) {
    const at::Tensor rows = labels.cpu().reshape({n, -1});
    const at::Tensor differ = rows.unsqueeze(0).ne(rows.unsqueeze(1)).any(2);
    // Above what any pairing can save, so that none leaves its label.
    cost += differ * (static_cast<double>(n) * (cost.max() - cost.min()) + 1);
  }
  const double* c = cost.const_data_ptr<double>();
  const auto columns = assign(std::vector<double>(c, c + n * n), n);
  return at::tensor(columns, at::kLong);
}

}  // namespace igebm::training
