#include "igebm/evaluation/neighbours.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/picture.h"
#include "igebm/serve/endpoints.h"
#include "igebm/serve/pictures.h"

namespace igebm::serve {
namespace {

class Neighbouring : public Job {
 public:
  Neighbouring(Models& models, Chosen chosen, std::string picture, std::int64_t count)
      : models_(models), chosen_(std::move(chosen)), picture_(std::move(picture)), count_(count) {}

  Result run(const Tell&) const override {
    const at::NoGradGuard no_grad;
    const at::Tensor x = given_picture(models_, chosen_, picture_).x.mul(255).round().to(at::kByte);
    const auto set = models_.training_data(chosen_);
    std::vector<at::Tensor> views = {set->all()};
    if (chosen_.model->settings().data.flip) views.push_back(views[0].flip(3));
    const evaluation::Nearest found = evaluation::nearest_records(x, views, std::min(count_, set->size()));
    const at::Tensor rows = found.records[0], distances = found.distances[0].contiguous();
    const auto names = chosen_.model->condition_spec().names_of_classes();
    std::vector<at::Tensor> pictures;
    Json labels = Json::array();
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const auto row = rows[i].item<std::int64_t>();
      pictures.push_back(views[static_cast<std::size_t>(found.views[0][i].item<std::int64_t>())][row]);
      if (!set->labels.defined()) continue;
      const auto label = static_cast<std::size_t>(set->labels[row].item<std::int64_t>());
      labels.push_back(label < names.size() ? names[label] : std::to_string(label));
    }
    const auto* at = rows.contiguous().const_data_ptr<std::int64_t>();
    const auto* distance = distances.const_data_ptr<double>();
    Json data = {{"records", std::vector<std::int64_t>(at, at + rows.size(0))},
                 {"distances", std::vector<double>(distance, distance + rows.size(0))},
                 {"among", set->size()}};
    if (!labels.empty()) data["labels"] = std::move(labels);
    return {std::move(data), io::encode_png(io::grid(at::stack(pictures).to(at::kFloat).div(255), rows.size(0)))};
  }

 private:
  Models& models_;
  Chosen chosen_;
  std::string picture_;
  std::int64_t count_;
};

}  // namespace

std::unique_ptr<Job> prepare_neighbours(Request& request, Models& models) {
  Chosen chosen = models.of_pictures(request);
  std::string picture = request.text("picture");
  if (picture.empty()) throw UserError("picture: expected data:image/png;base64,… or test:NUMBER");
  const std::int64_t count = request.whole("count", 5, 1, 20);
  request.done();
  return std::make_unique<Neighbouring>(models, std::move(chosen), std::move(picture), count);
}

}  // namespace igebm::serve
