#pragma once

// What the tokenizer tests share: glimpse-mini's tokenizer, the strings, and small tokenizer files made to measure.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "base/mmap.h"
#include "tests/tokenizer/string_generator.h"
#include "tokenizer/tokenizer.h"

namespace glimpse {

inline std::string source_path(std::string_view path) {
  return std::string(GLIMPSE_SOURCE_DIR "/") + std::string(path);
}

inline std::string mini_path() {
  return source_path("models/glimpse-mini/tokenizer.json");
}

inline Tokenizer load_mini() {
  auto tokenizer = Tokenizer::load(mini_path());
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *std::move(tokenizer);
}

inline json::value read_json(const std::string& path) {
  auto text = read_file(path, 1 << 20);
  EXPECT_TRUE(text) << text.error().message;
  auto value = parse_json(*text);
  EXPECT_TRUE(value) << value.error().message;
  return *std::move(value);
}

inline std::vector<std::string> read_fragments() {
  std::vector<std::string> fragments;
  const json::value list = read_json(source_path("tests/tokenizer/fragments.json"));
  for (const json::value& value : list.as_array()) {
    fragments.emplace_back(value.as_string());
  }
  return fragments;
}

// A tokenizer file whose vocabulary is the 256 bytes, id = byte, and then `words`, with `merges` in order.
inline json::object small_file(const std::vector<std::string>& words, const std::vector<std::string>& merges) {
  json::object vocab;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    std::string spelled;
    append_utf8(spelled, static_cast<uint32_t>(printable ? byte : next++));
    vocab[spelled] = byte;
  }
  for (const std::string& word : words) vocab[word] = static_cast<int64_t>(vocab.size());
  json::array merge_list;
  for (const std::string& merge : merges) merge_list.emplace_back(merge);
  json::value value = *parse_json(R"({
      "added_tokens": [], "normalizer": null,
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
      "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE"}})");
  json::object& file = value.as_object();
  file["model"].as_object()["vocab"] = std::move(vocab);
  file["model"].as_object()["merges"] = std::move(merge_list);
  return file;
}

inline json::object added_token(int64_t id, std::string_view content, bool special = true) {
  json::object token;
  token["id"] = id;
  token["content"] = content;
  token["special"] = special;
  token["normalized"] = false;
  return token;
}

inline json::array list_of(std::vector<json::object> objects) {
  json::array list;
  for (json::object& object : objects) list.emplace_back(std::move(object));
  return list;
}

// A JSON literal.
inline json::value parsed(std::string_view text) {
  return *parse_json(text);
}

using Ids = std::vector<int32_t>;

}  // namespace glimpse
