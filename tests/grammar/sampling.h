#pragma once

// Random texts of a grammar, drawn token by token as an engine would.

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>

#include "bundle/model_source.h"
#include "grammar/grammar_cache.h"
#include "grammar/mask.h"

namespace glimpse {

inline const ModelSource& mini_source() {
  static const auto source = open_model("", LoadFormat::kAuto);
  return *source;
}

inline std::shared_ptr<const Vocabulary> mini_vocabulary() {
  static const auto vocabulary = [] {
    std::vector<std::string_view> tokens;
    const Tokenizer& tokenizer = mini_source().tokenizer;
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      tokens.push_back(tokenizer.is_special(id) ? std::string_view() : tokenizer.token_bytes(id));
    }
    return Vocabulary::make(tokens);
  }();
  return vocabulary;
}

inline constexpr int32_t kStopId = 4060;

// Draws uniformly from the allowed tokens until the stop token; tokens that end things are preferred more and more, or
// random JSON would hardly ever end. Nothing if it took more than max_tokens.
inline std::optional<std::string> draw(const std::shared_ptr<TokenMask>& mask, std::mt19937_64& random,
                                       size_t max_tokens = 3000) {
  const auto vocabulary = mini_vocabulary();
  std::string text;
  for (size_t i = 0; i < max_tokens; ++i) {
    const auto words = mask->allowed();
    std::vector<int32_t> ids;
    std::vector<int32_t> closing;
    for (size_t w = 0; w < words.size(); ++w) {
      for (uint64_t left = words[w]; left != 0; left &= left - 1) {
        const auto id = static_cast<int32_t>(w * 64 + static_cast<size_t>(__builtin_ctzll(left)));
        ids.push_back(id);
        const std::string_view bytes = static_cast<size_t>(id) < vocabulary->size() ? vocabulary->bytes(id) : "";
        if (id == kStopId ||
            (bytes.size() == 1 && std::string_view("\"}]\n<").find(bytes[0]) != std::string_view::npos))
          closing.push_back(id);
      }
    }
    EXPECT_FALSE(ids.empty()) << "nothing may follow " << text;
    if (ids.empty()) return std::nullopt;
    const auto& from = !closing.empty() && random() % 200 < i ? closing : ids;
    const int32_t id = from[random() % from.size()];
    if (id == kStopId) return text;
    text += vocabulary->bytes(id);
    mask->accept(id);
  }
  return std::nullopt;
}

inline std::shared_ptr<TokenMask> mask_of(const Constraint& constraint, MaskOptions options = {}) {
  const auto grammar = compile(constraint);
  EXPECT_TRUE(grammar) << grammar.error().message;
  if (!grammar) return nullptr;
  options.stop_ids = {kStopId};
  return make_mask(mini_vocabulary(), *grammar, options);
}

// Whether the whole text is one of the grammar's, read byte by byte.
inline bool matches(const Constraint& constraint, std::string_view text) {
  const auto mask = mask_of(constraint);
  for (const char c : text) {
    const auto id = mini_source().tokenizer.find_token(std::string_view(&c, 1));
    EXPECT_TRUE(id);
    const auto words = mask->allowed();
    if ((words[static_cast<size_t>(*id) / 64] >> (*id % 64) & 1) == 0) return false;
    mask->accept(*id);
  }
  return (mask->allowed()[kStopId / 64] >> (kStopId % 64) & 1) != 0;
}

inline Constraint schema_of(std::string_view schema) {
  return {.kind = Constraint::Kind::kJsonSchema, .schema = json::parse(schema)};
}
inline Constraint regex_of(std::string_view pattern) {
  return {.kind = Constraint::Kind::kRegex, .text = std::string(pattern)};
}

}  // namespace glimpse
