#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "tokenizer/splitter.h"

namespace glimpse {

namespace {

constexpr size_t kMaxPatternBytes = 16384;
// Steps of backtracking per match. Every pattern in use needs a handful per character; a hostile one is stopped after
// some ten milliseconds.
constexpr uint32_t kMatchLimit = 10'000'000;

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Code = std::unique_ptr<pcre2_code, Freer<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;

std::string pcre2_reason(int code) {
  unsigned char buffer[160];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// The pattern as PCRE2 should read it. The file's patterns are Oniguruma's (Ruby syntax); where the two libraries give
// the same spelling different meanings it is rewritten or refused, never silently matched differently:
//   \s, \S     PCRE2's also takes U+180E, which has not been a space since Unicode 6.3: spelled out
//   ^, $       Ruby's are always per line: PCRE2_MULTILINE
//   \h \w \b   hex digit there and blank here; words of letters, marks, digits there and no marks here: refused
//   [a[b]], && sets of sets there, plain characters here: refused
//   {1,3}+     repeated there, possessive here: refused
// What remains is the Unicode version behind \p{..}, PCRE2's own for these patterns.
Result<std::string> to_pcre2(std::string_view pattern) {
  constexpr std::string_view kSpaces =
      R"(\t-\r\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
  const auto refuse = [](std::string_view what) {
    return Error{ErrorCode::kUnsupported, "pattern uses " + std::string(what)};
  };
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (std::string_view("hHwWbBRXGKyYO").find(escaped) != std::string_view::npos) {
        return refuse(std::string("\\") + escaped);
      }
      if (pattern.substr(i + 1, 1) == "{") {  // \p{..}, \x{..}: its braces count nothing
        const size_t close = std::min(pattern.find('}', i), pattern.size() - 1);
        out.append("\\").append(pattern.substr(i, close - i + 1));
        i = close;
        continue;
      }
      if (escaped == 'S' && in_class) return refuse("\\S inside [...]");
      if (escaped == 's' && in_class) {
        out += kSpaces;
      } else if (escaped == 's' || escaped == 'S') {
        out.append(escaped == 's' ? "[" : "[^").append(kSpaces).append("]");
      } else {
        out.append({'\\', escaped});
      }
      continue;
    }
    if (in_class && (c == '[' || pattern.substr(i, 2) == "&&")) return refuse("a set inside a set");
    if (!in_class && pattern.substr(i, 2) == "}+") return refuse("a + after a counted repetition");
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out.push_back(c);
  }
  return out;
}

class RegexSplitter : public Splitter {
 public:
  RegexSplitter(Code code, MatchContext context) : code_(std::move(code)), context_(std::move(context)) {}

  Status split(std::string_view text, std::vector<size_t>& ends) const override {
    ends.clear();
    const MatchData match(pcre2_match_data_create(1, nullptr));
    if (match == nullptr) return Error{ErrorCode::kResource, "no memory to match a pre-tokenizer pattern"};
    size_t last = 0;
    for (size_t at = 0; at < text.size();) {
      const int count = find(text, at, *match);
      if (count == PCRE2_ERROR_NOMATCH) break;
      if (count < 0) {
        return Error{ErrorCode::kInvalidArgument, "text: the pre-tokenizer pattern failed at byte " +
                                                      std::to_string(at) + ": " + pcre2_reason(count)};
      }
      const size_t* const span = pcre2_get_ovector_pointer(match.get());
      if (span[1] <= span[0]) {  // an empty match cuts nothing; look on after the next whole character
        at = std::max(span[0], at) + 1;
        while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) ++at;
        continue;
      }
      // What no match covers is a piece of its own.
      if (span[0] > last) ends.push_back(span[0]);
      ends.push_back(span[1]);
      last = at = span[1];
    }
    if (last < text.size()) ends.push_back(text.size());
    return {};
  }

 private:
  int find(std::string_view text, size_t at, pcre2_match_data& match) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    const int count = pcre2_match(code_.get(), subject, text.size(), at, 0, &match, context_.get());
    if (count != PCRE2_ERROR_JIT_STACKLIMIT) return count;
    // The compiled code's stack is small and fixed; the interpreter's grows.
    return pcre2_match(code_.get(), subject, text.size(), at, PCRE2_NO_JIT, &match, context_.get());
  }

  Code code_;
  MatchContext context_;
};

}  // namespace

Result<std::unique_ptr<Splitter>> make_regex_splitter(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return Error{ErrorCode::kTooLarge, "pattern is " + std::to_string(pattern.size()) + " bytes long, at most " +
                                           std::to_string(kMaxPatternBytes) + " are read"};
  }
  ASSIGN_OR_RETURN(const std::string spelled, to_pcre2(pattern));
  int code = 0;
  size_t offset = 0;
  Code compiled(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &code,
                    &offset, nullptr));
  if (compiled == nullptr) {
    return Error{ErrorCode::kUnsupported, "pattern does not compile: " + pcre2_reason(code) + " (near character " +
                                              std::to_string(offset) + ")"};
  }
  // Without a just-in-time compiler for this machine the interpreter runs: slower, not wrong.
  pcre2_jit_compile(compiled.get(), PCRE2_JIT_COMPLETE);
  MatchContext context(pcre2_match_context_create(nullptr));
  if (context == nullptr) return Error{ErrorCode::kResource, "no memory to compile a pre-tokenizer pattern"};
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_heap_limit(context.get(), 65536);  // KiB
  return {std::make_unique<RegexSplitter>(std::move(compiled), std::move(context))};
}

}  // namespace glimpse
