#pragma once

// Jinja templates as chat models ship them: a bounded interpreter without side effects. Compiled once, rendered from
// any number of threads at a time.
//
// Understood: text, {{ }}, {% %}, {# #} with -/+ white space control (trim_blocks and lstrip_blocks on, as transformers
// sets them); if, for (loop.*, filter, else, break, continue, unpacking), set (blocks, namespaces), macro, with, filter
// blocks, raw, generation (its content only); the expressions, tests, filters and str, list and dict methods listed in
// docs/chat-templates.md, with Python's results, also as printed. Everything else is refused when compiling, with line
// and reason. Where this differs from jinja2: integers have 64 bits, "safe" marks nothing, select() and its like look
// at all items at once (and so fail at once), ranges are not sliced, and case mappings are Unicode's simple ones (plus
// ß).

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_range.h"
#include "base/json.h"
#include "base/result.h"
#include "jinja/runtime.h"

namespace glimpse::jinja {

struct Program;

// A name the template can read. Borrowed while rendering. Strings inside an untrusted variable, keys too, are marked
// wherever they end up in the output; numbers and booleans are not (they cannot spell a special token).
struct Variable {
  std::string_view name;
  const json::value* value = nullptr;
  bool trusted = false;
};

struct RenderOptions {
  std::optional<std::tm> now;  // for strftime_now(); without it a template that asks for the time fails
  // The value of a field with this name is trusted even in untrusted variables if it is one of these words: a
  // message's role, which templates build special tokens from.
  std::string_view word_field;
  std::vector<std::string_view> trusted_words;
};

struct Rendered {
  std::string text;                  // valid UTF-8
  std::vector<ByteRange> untrusted;  // bytes of text that came from untrusted variables; sorted, disjoint
};

class Template {
 public:
  // Errors: kInvalidData (syntax, not UTF-8), kUnsupported, kTooLarge; "line 3: …".
  static Result<Template> compile(std::string_view source, const Limits& limits = {});

  // Errors: kInvalidArgument if the template calls raise_exception, kInvalidData for what Python would raise,
  // kTooLarge for a limit; "line 3: …". A variable whose JSON is nested deeper than kMaxValueDepth is kTooLarge.
  Result<Rendered> render(const std::vector<Variable>& variables, const RenderOptions& options = {}) const;

  // Whether the template mentions a name at all.
  bool reads(std::string_view name) const;

 private:
  Template(std::shared_ptr<const Program> program, const Limits& limits)
      : program_(std::move(program)), limits_(limits) {}

  std::shared_ptr<const Program> program_;
  Limits limits_;
};

}  // namespace glimpse::jinja
