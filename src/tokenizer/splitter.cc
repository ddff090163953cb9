#include "tokenizer/splitter.h"

#include <array>

#include "tokenizer/unicode.h"

namespace glimpse {

namespace {

// Which of the look-alike patterns it is.
struct GlmVariant {
  size_t max_digits = 3;
  bool folds_long_s = true;  // (?i:'s) also matches U+017F, the long s, which folds to s; ['sS] does not
};

// The GLM pattern, alternative by alternative, with the backtracking worked out:
//   1  (?i:'s|'t|'re|'ve|'m|'ll|'d)
//   2  [^\r\n\p{L}\p{N}]?\p{L}+      a word, with one character before it that is no newline, letter or number
//   3  \p{N}{1,3}
//   4  ' '?[^\s\p{L}\p{N}]+[\r\n]*   signs, with one blank before and the newlines after
//   5  \s*[\r\n]+                    a run of spaces up to its last newline
//   6  \s+(?!\S)                     a run of spaces but its last one, if text follows; else all of it
//   7  \s+                           that last one
// Every character is looked at a bounded number of times, so the cost is linear in the text whatever it holds.
class GlmSplitter : public Splitter {
 public:
  explicit GlmSplitter(GlmVariant variant) : variant_(variant) {
    for (uint32_t c = 0; c < 128; ++c) ascii_[c] = classes_.of(c);
  }

  Status split(std::string_view text, std::vector<size_t>& ends) const override {
    ends.clear();
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    for (const char* at = begin; at < end;) {
      at = piece_end(at, end);
      ends.push_back(static_cast<size_t>(at - begin));
    }
    return {};
  }

 private:
  struct Char {
    CharClass char_class;
    uint32_t size;
  };

  Char look(const char* at, const char* end) const {
    const auto first = static_cast<uint8_t>(*at);
    if (first < 0x80) return {ascii_[first], 1};
    const DecodedChar decoded = decode_utf8(at, end);
    return {classes_.of(decoded.code_point), decoded.size};
  }

  // The end of the longest run of characters from `at` whose class has (or has not) a bit of `mask`.
  const char* run_end(const char* at, const char* end, CharClass mask, bool wanted) const {
    while (at < end) {
      const Char c = look(at, end);
      if (((c.char_class & mask) != 0) != wanted) break;
      at += c.size;
    }
    return at;
  }

  const char* piece_end(const char* at, const char* end) const {
    const Char c = look(at, end);
    const char* const next = at + c.size;
    if (c.char_class & kLetterChar) return run_end(next, end, kLetterChar, true);
    if (c.char_class & kNumberChar) return digits_end(next, end);
    if (*at == '\'') {
      if (const char* contraction = contraction_end(next, end)) return contraction;
    }
    const Char after = next < end ? look(next, end) : Char{kSpaceChar, 0};
    if ((after.char_class & kLetterChar) && !(c.char_class & kNewlineChar)) {
      return run_end(next + after.size, end, kLetterChar, true);
    }
    if (c.char_class == kOtherChar) return signs_end(next, end);
    if (*at == ' ' && after.char_class == kOtherChar) return signs_end(next + after.size, end);
    return spaces_end(at, end);
  }

  const char* digits_end(const char* at, const char* end) const {
    for (size_t count = 1; count < variant_.max_digits && at < end; ++count) {
      const Char c = look(at, end);
      if (!(c.char_class & kNumberChar)) break;
      at += c.size;
    }
    return at;
  }

  const char* signs_end(const char* at, const char* end) const {
    at = run_end(at, end, kSpaceChar | kLetterChar | kNumberChar, false);
    while (at < end && (*at == '\r' || *at == '\n')) ++at;
    return at;
  }

  // What follows an apostrophe; null where it is no contraction.
  const char* contraction_end(const char* at, const char* end) const {
    const auto lower = [end](const char* p) { return p < end ? static_cast<char>(*p | 0x20) : '\0'; };
    switch (lower(at)) {
      case 's':
      case 't':
      case 'm':
      case 'd':
        return at + 1;
      case 'r':
      case 'v':
        return lower(at + 1) == 'e' ? at + 2 : nullptr;
      case 'l':
        return lower(at + 1) == 'l' ? at + 2 : nullptr;
      default:
        break;
    }
    if (variant_.folds_long_s && end - at >= 2 && at[0] == '\xC5' && at[1] == '\xBF') return at + 2;
    return nullptr;
  }

  const char* spaces_end(const char* at, const char* end) const {
    const char* run = at;
    const char* after_newline = nullptr;
    const char* last = at;  // start of the run's last character
    while (run < end) {
      const Char c = look(run, end);
      if (!(c.char_class & kSpaceChar)) break;
      last = run;
      run += c.size;
      if (c.char_class & kNewlineChar) after_newline = run;
    }
    if (after_newline != nullptr) return after_newline;
    if (run == end || last == at) return run;
    return last;
  }

  GlmVariant variant_;
  CharClasses classes_;
  std::array<CharClass, 128> ascii_;
};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// Brings a pattern to the spelling of kGlmPattern where that changes no match: possessive quantifiers (nothing after
// them could match what they give back), newlines written raw, and \s*[\r\n] (greedy, so it ends after a run's last
// newline with or without the +). Reports in `variant` the two differences that do change matches.
std::string canonical(std::string_view pattern, GlmVariant& variant) {
  std::string text(pattern);
  replace_all(text, "\r", "\\r");
  replace_all(text, "\n", "\\n");
  replace_all(text, "]?+\\p{L}", "]?\\p{L}");
  replace_all(text, "\\p{L}++", "\\p{L}+");
  replace_all(text, "]++[\\r\\n]*+", "]+[\\r\\n]*");
  replace_all(text, "]++[\\r\\n]*", "]+[\\r\\n]*");
  replace_all(text, "|\\s*[\\r\\n]|", "|\\s*[\\r\\n]+|");
  for (const std::string_view contractions : {"'(?i:[sdmt]|ll|ve|re)|", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|",
                                              "(?i)'s|'t|'re|'ve|'m|'ll|'d|", "(?i:'(?:[sdmt]|ll|ve|re))|"}) {
    if (text.starts_with(contractions)) {
      text.replace(0, contractions.size(), "(?i:'s|'t|'re|'ve|'m|'ll|'d)|");
      break;
    }
  }
  constexpr std::string_view kAsciiContractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|";
  if (text.starts_with(kAsciiContractions)) {
    text.replace(0, kAsciiContractions.size(), "(?i:'s|'t|'re|'ve|'m|'ll|'d)|");
    variant.folds_long_s = false;
  }
  constexpr std::string_view kOneDigit = "|\\p{N}|";
  if (const size_t at = text.find(kOneDigit); at != std::string::npos) {
    text.replace(at, kOneDigit.size(), "|\\p{N}{1,3}|");
    variant.max_digits = 1;
  }
  return text;
}

}  // namespace

Result<std::unique_ptr<Splitter>> make_splitter(std::string_view pattern) {
  GlmVariant variant;
  if (canonical(pattern, variant) == kGlmPattern) return {std::make_unique<GlmSplitter>(variant)};
  return make_regex_splitter(pattern);
}

}  // namespace glimpse
