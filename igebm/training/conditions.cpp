#include "igebm/training/conditions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/training/recipe.h"

namespace igebm::training {
namespace {

constexpr std::int64_t most_rows = 256;

}  // namespace

model::Conditions conditions_of(const data::Dataset& data, const std::vector<std::string>& picked, std::uint64_t seed) {
  model::Conditions c;
  const auto columns = data.condition_columns(picked);
  if (columns.empty()) return c;
  for (const auto column : columns) c.names.push_back(data.condition_names[static_cast<std::size_t>(column)]);
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < std::min(most_rows, data.size()); ++i)
    chosen.push_back(random_index({seed, Purpose::labels, static_cast<std::uint64_t>(i), 0}, data.size()));
  c.rows = data.conditions.index_select(0, at::tensor(chosen, at::kLong))
               .index_select(1, at::tensor(columns, at::kLong))
               .to(at::kFloat);
  return c;
}

void check_augmentation(const Recipe& recipe, const data::Dataset& data) {
  const auto check = [&](const std::string& option, const data::Changes& changes) {
    const std::string condition = data.made_untrue(recipe.network.conditions, changes);
    if (!condition.empty())
      throw UserError(
          fmt::format("{}: pictures so changed no longer have the {} that network.conditions says; turn it "
                      "off, or leave that condition out",
                      option, condition));
  };
  check("data.flip", {.mirror = recipe.data.flip});
  check("data.crop", {.shift = recipe.data.crop > 0});
  for (const PhaseOptions& phase : recipe.phases) {
    const ReplayAugmentation& a = phase.contrastive_divergence.replay.augment;
    if (!phase.has_contrastive_divergence || a.share <= 0) continue;
    const std::string section = fmt::format("phase.{}.contrastive_divergence.augment.", phase.name);
    check(section + "flip", {.mirror = a.flip});
    check(section + "area", {.shift = a.area < 1, .zoom = a.area < 1});
  }
}

}  // namespace igebm::training
