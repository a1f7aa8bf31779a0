#include "tools/asked.h"

#include <fmt/format.h>

#include "igebm/base/error.h"

namespace igebm::tools {

nn::Condition asked_condition(const model::ConditionSpec& spec, const std::string& label, const std::string& numbers,
                              std::int64_t count) {
  if (!label.empty() && !numbers.empty()) throw UserError("expected --label or --condition, not both");
  if (!label.empty()) {
    try {
      return model::condition_of_class(spec, label);
    } catch (const UserError& e) {
      throw UserError(fmt::format("--label: {}", e.what()));
    }
  }
  if (numbers.empty()) return {};
  if (spec.values == 0 || spec.numbers.names.empty()) throw UserError("--condition: this model takes no numbers");
  nn::Condition condition = model::condition_with(spec, numbers, count);
  tell_notes(model::beyond_data(spec, condition));
  return condition;
}

void tell_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) fmt::print(stderr, "note: {}\n", note);
}

}  // namespace igebm::tools
