#include "grammar/constraint.h"

namespace glimpse {

std::string Constraint::key() const {
  json::array all;
  all.emplace_back(static_cast<int>(kind));
  all.emplace_back(schema);
  all.emplace_back(text);
  for (const std::string& choice : choices) all.emplace_back(choice);
  for (const auto& [name, parameters] : tools) {
    all.emplace_back(name);
    all.emplace_back(parameters);
  }
  all.emplace_back(several);
  return json::serialize(all);
}

}  // namespace glimpse
