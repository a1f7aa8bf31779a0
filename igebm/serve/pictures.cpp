#include "igebm/serve/pictures.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/data/resize.h"
#include "igebm/evaluation/records.h"
#include "igebm/io/base64.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe.h"

namespace igebm::serve {

at::Tensor decoded(const std::string& url, std::int64_t channels, const std::string& name) {
  constexpr std::string_view marker = ";base64,";
  const auto comma = url.find(marker);
  const auto bytes = comma == std::string::npos || !url.starts_with("data:image/")
                         ? std::nullopt
                         : io::bytes_of_base64(std::string_view(url).substr(comma + marker.size()));
  if (!bytes) throw UserError(fmt::format("{}: expected data:image/png;base64,…", name));
  return io::decode_picture(*bytes, channels, name);
}

Given test_picture(Models& models, const Chosen& chosen, std::int64_t row) {
  const auto set = models.test_data(chosen);
  if (row >= set->size())
    throw UserError(fmt::format("test: expected a number of its test data, from 0 to {}", set->size() - 1));
  const std::vector<std::string>& names = chosen.model->condition_spec().numbers.names;
  const evaluation::Records records =
      evaluation::records_of(*set, at::tensor({row}, at::kLong), set->condition_columns(names));
  std::string condition;
  for (std::size_t i = 0; i < names.size(); ++i)
    condition += fmt::format("{}{}={:.6g}", i == 0 ? "" : ",", names[i],
                             records.conditions[0][static_cast<std::int64_t>(i)].item<double>());
  return {records.x.to(at::kFloat).div(255), records.labels.defined() ? records.labels.item<std::int64_t>() : -1,
          condition};
}

std::map<std::string, at::Tensor> arrays_of(const model::Model& model, const model::Samples& samples) {
  const bool pictures = model.space().kind == model::SampleSpace::Kind::image;
  return {{pictures ? "images" : "points", model.space().to_unit(samples.x)}, {"energies", samples.energies}};
}

Given given_picture(Models& models, const Chosen& chosen, const std::string& text) {
  const std::vector<std::int64_t>& shape = chosen.model->space().shape;
  if (text.starts_with("test:")) {
    const auto row = io::number_of(text.substr(5));
    if (!row || *row < 0 || *row > most_row || *row != static_cast<double>(static_cast<std::int64_t>(*row)))
      throw UserError("picture: expected test:NUMBER, a number of its test data");
    return test_picture(models, chosen, static_cast<std::int64_t>(*row));
  }
  at::Tensor x = decoded(text, shape[0], "picture").permute({2, 0, 1}).unsqueeze(0).contiguous();
  if (shape[1] == shape[2]) x = data::fit(x, shape[0], shape[1]);
  if (x.size(2) != shape[1] || x.size(3) != shape[2])
    throw UserError(fmt::format("picture: {} x {} pixels, where the model's have {} x {}", x.size(3), x.size(2),
                                shape[2], shape[1]));
  return {x.to(at::kFloat).div(255)};
}

}  // namespace igebm::serve
