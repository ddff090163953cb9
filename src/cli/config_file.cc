#include "cli/config_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/json.h"
#include "base/mmap.h"
#include "cli/serve_options.h"

namespace glimpse {

namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;
constexpr int kMaxDepth = 16;
constexpr int kMaxNodes = 10'000;  // aliases may make a small file a large tree

class ConfigReader {
 public:
  ConfigReader(const CLI::App& command, std::string file) : command_(command), file_(std::move(file)) {}

  // Appends the file's flags that `given` does not have.
  Status read(ConfiguredArguments& configured) {
    const std::vector<std::string> given = configured.arguments;
    ASSIGN_OR_RETURN(const std::string text, read_file(file_, kMaxFileBytes));
    YAML::Node root;
    try {
      root = YAML::Load(text);
    } catch (const YAML::Exception& error) {
      return at(error.mark, error.msg);
    }
    if (root.IsNull()) return {};
    if (!root.IsMap()) return at(root.Mark(), "a map of flags and values is expected");
    for (const auto& item : root) {
      if (!item.first.IsScalar()) return at(item.first.Mark(), "a flag's name is expected");
      RETURN_IF_ERROR(add(item.first, item.second, given, configured));
    }
    return {};
  }

 private:
  std::string place(const YAML::Mark& mark) const {
    return mark.is_null() ? file_ : file_ + ":" + std::to_string(mark.line + 1);
  }

  Error at(const YAML::Mark& mark, const std::string& why) const {
    return {ErrorCode::kInvalidArgument, place(mark) + ": " + why};
  }

  Status add(const YAML::Node& key, const YAML::Node& value, const std::vector<std::string>& given,
             ConfiguredArguments& configured) {
    std::string name = "--" + key.Scalar();
    std::replace(name.begin(), name.end(), '_', '-');
    const CLI::Option* option = command_.get_option_no_throw(name);
    if (option == nullptr || name == "--help") {
      const std::string nearest = nearest_option(command_, name);
      return at(key.Mark(), "unknown key \"" + key.Scalar() + "\"" +
                                (nearest.empty() ? "" : "; did you mean " + nearest.substr(2) + "?"));
    }
    if (name == "--config") return at(key.Mark(), "a configuration file cannot name another");
    if (!seen_.insert(option).second) return at(key.Mark(), "\"" + key.Scalar() + "\" is given twice");
    const bool overridden = std::any_of(given.begin(), given.end(), [option](const std::string& argument) {
      return argument.starts_with('-') && option->check_name(argument.substr(0, argument.find('=')));
    });
    if (!overridden) configured.origins.push_back({option->get_name(), place(key.Mark())});
    if (option->get_items_expected_max() == 0) {
      if (!value.IsScalar() || (value.Scalar() != "true" && value.Scalar() != "false")) {
        return at(value.Mark(), "\"" + key.Scalar() + "\" takes true or false");
      }
      if (value.Scalar() == "true" && !overridden) configured.arguments.push_back(name);
      return {};
    }
    std::vector<std::string> values;
    if (value.IsScalar()) {
      values.push_back(value.Scalar());
    } else if (value.IsMap()) {
      ASSIGN_OR_RETURN(const json::value object, to_json(value, 0));
      values.push_back(json::serialize(object));
    } else if (value.IsSequence()) {
      if (static_cast<int>(value.size()) > option->get_items_expected_max()) {
        return at(value.Mark(), "\"" + key.Scalar() + "\" takes one value, not a list");
      }
      for (const YAML::Node& item : value) {
        if (!item.IsScalar()) return at(item.Mark(), "\"" + key.Scalar() + "\" takes a list of plain values");
        values.push_back(item.Scalar());
      }
    } else {
      return at(key.Mark(), "\"" + key.Scalar() + "\" has no value");
    }
    if (overridden) return {};
    for (const std::string& item : values) configured.arguments.push_back(name + "=" + item);
    return {};
  }

  // What is not in quotes and reads as a number, true, false or null is one.
  Result<json::value> to_json(const YAML::Node& node, int depth) {
    if (depth > kMaxDepth || ++num_nodes_ > kMaxNodes) return at(node.Mark(), "the value is too large");
    if (node.IsMap()) {
      json::object object;
      for (const auto& item : node) {
        if (!item.first.IsScalar()) return at(item.first.Mark(), "a name is expected");
        ASSIGN_OR_RETURN(object[item.first.Scalar()], to_json(item.second, depth + 1));
      }
      return json::value(std::move(object));
    }
    if (node.IsSequence()) {
      json::array array;
      for (const YAML::Node& item : node) {
        ASSIGN_OR_RETURN(json::value made, to_json(item, depth + 1));
        array.push_back(std::move(made));
      }
      return json::value(std::move(array));
    }
    if (!node.IsScalar()) return json::value(nullptr);
    const std::string& text = node.Scalar();
    if (node.Tag() == "?") {
      const auto literal = parse_json(text);
      if (literal && !literal->is_string() && !literal->is_structured()) return *literal;
    }
    return json::value(text);
  }

  const CLI::App& command_;
  const std::string file_;
  std::set<const CLI::Option*> seen_;
  int num_nodes_ = 0;
};

}  // namespace

std::string ConfiguredArguments::where(const std::string& message) const {
  constexpr std::string_view kUnread = "Could not convert: ";  // "--flag = text" follows; else "--flag: …"
  std::string_view text = message;
  if (text.starts_with(kUnread)) text.remove_prefix(kUnread.size());
  const auto origin = std::find_if(origins.begin(), origins.end(), [&](const Origin& candidate) {
    return text.starts_with(candidate.flag + ":") || text.starts_with(candidate.flag + " =");
  });
  return origin == origins.end() ? "" : origin->where;
}

Result<ConfiguredArguments> with_config_file(const CLI::App& command, std::vector<std::string> arguments) {
  std::string file;
  for (size_t i = 0; i < arguments.size();) {
    const bool apart = arguments[i] == "--config" && i + 1 < arguments.size();
    if (!apart && !arguments[i].starts_with("--config=")) {
      ++i;
      continue;
    }
    if (!file.empty()) return Error{ErrorCode::kInvalidArgument, "--config is given twice"};
    file = apart ? arguments[i + 1] : arguments[i].substr(std::string_view("--config=").size());
    const auto begin = arguments.begin() + static_cast<ptrdiff_t>(i);
    arguments.erase(begin, begin + (apart ? 2 : 1));
  }
  ConfiguredArguments configured{std::move(arguments), {}};
  if (file.empty()) return configured;
  // Behind the others: a flag that takes any number of values would take a positional argument after it too.
  RETURN_IF_ERROR(ConfigReader(command, std::move(file)).read(configured));
  return configured;
}

}  // namespace glimpse
