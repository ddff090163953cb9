#pragma once

// What one rendering may use up, and who to ask. Everything that grows with the input calls charge() or step() first,
// so that no template, however hostile, costs more than its limits.

#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "jinja/value.h"

namespace glimpse::jinja {

struct Limits {
  size_t template_bytes = 1 << 20;
  int64_t steps = 5'000'000;       // expressions and statements run, plus one per 64 bytes scanned
  size_t output_bytes = 16 << 20;  // of the rendered text
  size_t value_bytes = 256 << 20;  // of all values made while rendering, also those freed again
  int call_depth = 64;             // of macros
  int64_t range_items = 100'000;   // jinja2's sandbox has the same
};

// Arguments of a call, a filter or a test.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

class Runtime {
 public:
  Runtime(const Limits& bounds, std::optional<std::tm> clock) : limits(bounds), now(clock) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  // Accounts for bytes about to be made, or for work about to be done. Errors: kTooLarge, naming the limit.
  Status charge(size_t bytes);
  Status step(int64_t count = 1);
  Status scan(size_t bytes) { return step(1 + static_cast<int64_t>(bytes / 64)); }

  // Makers of values; each charges. They refuse nesting deeper than kMaxValueDepth.
  Result<Value> string(TextBuilder&& builder);
  Result<Value> string(std::string_view trusted);
  Result<Value> substring(const Text& text, size_t begin, size_t end);
  Result<Value> seq(Seq::Kind kind, std::vector<Value> items, std::string label = {});
  Result<Value> list(std::vector<Value> items) { return seq(Seq::Kind::kList, std::move(items)); }
  Result<Value> dict(Dict dict);
  Result<Value> make_namespace();

  // Counts the bytes of a builder that has grown since `before`.
  Status charge_growth(const TextBuilder& builder, size_t before) { return charge(builder.size() - before); }

  const Limits limits;
  const std::optional<std::tm> now;

 private:
  int64_t steps_ = 0;
  size_t bytes_ = 0;
  std::vector<NamespacePtr> namespaces_;
};

Error type_error(std::string message);

// The items to go through: of a list or view itself, the keys of a dict, the code points of a string, nothing of an
// undefined value. Uses an iterator up. Errors: "'int' object is not iterable".
Result<SeqPtr> iterate(Runtime& runtime, const Value& value);
Result<int64_t> length_of(Runtime& runtime, const Value& value);

// The arguments by parameter name; missing ones are nullptr, the first `required` must be there. Errors name the
// function. The result points into `args`.
Result<std::vector<const Value*>> bind(std::string_view function, const Args& args,
                                       const std::vector<std::string_view>& parameters, size_t required = 0);

}  // namespace glimpse::jinja
