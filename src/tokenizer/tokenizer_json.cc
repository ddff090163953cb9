#include "tokenizer/tokenizer_json.h"

#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <optional>

#include "base/json.h"
#include "tokenizer/splitter.h"
#include "tokenizer/unicode.h"

namespace glimpse {

namespace {

Error invalid(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}
Error unsupported(std::string message) {
  return {ErrorCode::kUnsupported, std::move(message)};
}

// Quoted for a message: cut to a length, control characters shown as '?'.
std::string quoted(std::string_view text) {
  std::string shown;
  append_lossy_utf8(shown, text.substr(0, 48), true);
  for (char& c : shown) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return "\"" + shown + (text.size() > 48 ? "...\"" : "\"");
}

// The byte that each code point of the byte-level alphabet stands for, -1 for none: printable Latin-1 stands for
// itself, the other 68 bytes are U+0100 and up in order (GPT-2, encoder.py, bytes_to_unicode).
constexpr std::array<int16_t, 0x144> make_alphabet() {
  std::array<int16_t, 0x144> bytes{};
  bytes.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    bytes[printable ? byte : next++] = static_cast<int16_t>(byte);
  }
  return bytes;
}
constexpr std::array<int16_t, 0x144> kAlphabet = make_alphabet();

// Appends the bytes that `text` stands for; false (and nothing sensible appended) where it holds another character.
bool append_bytes_of(std::string& out, std::string_view text) {
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const DecodedChar c = decode_utf8(at, end);
    if (c.code_point >= kAlphabet.size() || kAlphabet[c.code_point] < 0) return false;
    out.push_back(static_cast<char>(kAlphabet[c.code_point]));
    at += c.size;
  }
  return true;
}

// A parser's handler: "model.vocab" and "model.merges", the half million strings of a large tokenizer, go straight into
// TokenizerFile; the rest becomes an ordinary JSON value. (As a tree of values they took three times as long.)
class Handler {
 public:
  static constexpr size_t max_object_size = size_t{1} << 24;
  static constexpr size_t max_array_size = size_t{1} << 24;
  static constexpr size_t max_key_size = size_t{1} << 20;
  static constexpr size_t max_string_size = size_t{1} << 24;

  TokenizerFile file;
  std::vector<std::pair<std::string, int32_t>> odd_tokens;  // of the vocabulary, outside the byte-level alphabet
  json::value_stack stack;
  bool has_vocab = false;
  bool has_merges = false;
  std::optional<Error> error;

  bool on_document_begin(json::error_code&) {
    stack.reset();
    return true;
  }
  bool on_document_end(json::error_code&) { return true; }

  bool on_object_begin(json::error_code& code) {
    if (at_model_field("vocab")) {
      part_ = Part::kVocab;
      has_vocab = true;
      return true;
    }
    if (part_ != Part::kRest) return fail_type(code);
    path_.emplace_back();
    return true;
  }
  bool on_object_end(size_t size, json::error_code&) {
    if (part_ == Part::kVocab) {
      part_ = Part::kRest;
      stack.push_null();
      return true;
    }
    path_.pop_back();
    stack.push_object(size);
    return true;
  }
  bool on_array_begin(json::error_code& code) {
    if (at_model_field("merges")) {
      part_ = Part::kMerges;
      has_merges = true;
      return true;
    }
    if (part_ == Part::kMerges) {
      part_ = Part::kMergePair;
      pair_.clear();
      return true;
    }
    if (part_ != Part::kRest) return fail_type(code);
    path_.emplace_back();
    return true;
  }
  bool on_array_end(size_t size, json::error_code& code) {
    if (part_ == Part::kMergePair) {
      part_ = Part::kMerges;
      if (pair_.size() != 2)
        return fail(code, invalid(merge_name() + " has " + std::to_string(pair_.size()) + " parts, not 2"));
      return add_merge(pair_[0], pair_[1], code);
    }
    if (part_ == Part::kMerges) {
      part_ = Part::kRest;
      stack.push_null();
      return true;
    }
    path_.pop_back();
    stack.push_array(size);
    return true;
  }
  bool on_key_part(json::string_view text, size_t, json::error_code&) {
    if (part_ == Part::kRest) stack.push_chars(text);
    partial_.append(text.data(), text.size());
    return true;
  }
  bool on_key(json::string_view text, size_t, json::error_code&) {
    if (part_ == Part::kRest) stack.push_key(text);
    key_ = whole(text);
    if (part_ == Part::kRest) path_.back() = key_;
    return true;
  }
  bool on_string_part(json::string_view text, size_t, json::error_code&) {
    if (part_ == Part::kRest) {
      stack.push_chars(text);
    } else {
      partial_.append(text.data(), text.size());
    }
    return true;
  }
  bool on_string(json::string_view text, size_t, json::error_code& code) {
    if (part_ == Part::kRest) {
      stack.push_string(text);
      return true;
    }
    if (part_ == Part::kVocab) return fail_type(code);
    const std::string_view string = whole(text);
    if (part_ == Part::kMergePair) {
      if (pair_.size() < 3) pair_.emplace_back(string);
      return true;
    }
    const size_t space = string.find(' ');
    if (space == std::string_view::npos || string.find(' ', space + 1) != std::string_view::npos) {
      return fail(code, invalid(merge_name() + " is " + quoted(string) + ", not two tokens and a blank between them"));
    }
    return add_merge(string.substr(0, space), string.substr(space + 1), code);
  }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t value, json::string_view, json::error_code& code) {
    if (part_ == Part::kVocab) return add_token(value, code);
    if (part_ != Part::kRest) return fail_type(code);
    stack.push_int64(value);
    return true;
  }
  bool on_uint64(uint64_t value, json::string_view, json::error_code& code) {
    if (part_ == Part::kVocab) return add_token(INT64_MAX, code);
    if (part_ != Part::kRest) return fail_type(code);
    stack.push_uint64(value);
    return true;
  }
  bool on_double(double value, json::string_view, json::error_code& code) {
    if (part_ != Part::kRest) return fail_type(code);
    stack.push_double(value);
    return true;
  }
  bool on_bool(bool value, json::error_code& code) {
    if (part_ != Part::kRest) return fail_type(code);
    stack.push_bool(value);
    return true;
  }
  bool on_null(json::error_code& code) {
    if (part_ != Part::kRest) return fail_type(code);
    stack.push_null();
    return true;
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  enum class Part { kRest, kVocab, kMerges, kMergePair };

  // Whether the value that begins now is the root's "model", field `name`.
  bool at_model_field(std::string_view name) const {
    return part_ == Part::kRest && path_.size() == 2 && path_[0] == "model" && path_[1] == name;
  }

  std::string_view whole(json::string_view last) {
    held_.clear();
    held_.swap(partial_);
    if (held_.empty()) return {last.data(), last.size()};
    held_.append(last.data(), last.size());
    return held_;
  }

  bool fail(json::error_code& code, Error reason) {
    error = std::move(reason);
    code = json::error::syntax;
    return false;
  }
  bool fail_type(json::error_code& code) {
    if (part_ == Part::kVocab)
      return fail(code, invalid("model.vocab: the id of " + quoted(key_) + " is not an integer"));
    return fail(code, invalid(merge_name() + " is neither a string nor an array of two strings"));
  }
  std::string merge_name() const { return "model.merges[" + std::to_string(file.merges.size()) + "]"; }

  bool add_token(int64_t id, json::error_code& code) {
    if (id < 0 || id > kMaxTokenId) {
      return fail(code,
                  invalid("model.vocab: the id of " + quoted(key_) + " is outside 0.." + std::to_string(kMaxTokenId)));
    }
    if (file.vocab.size() > static_cast<size_t>(kMaxTokenId))
      return fail(code, invalid("model.vocab: too many tokens"));
    const size_t begin = file.vocab_bytes.size();
    if (!append_bytes_of(file.vocab_bytes, key_)) {
      file.vocab_bytes.resize(begin);
      if (odd_tokens.size() >= 4096) return fail(code, invalid("model.vocab: not a byte-level vocabulary"));
      odd_tokens.emplace_back(key_, static_cast<int32_t>(id));
      return true;
    }
    const size_t length = file.vocab_bytes.size() - begin;
    if (length == 0) return fail(code, invalid("model.vocab: an empty token"));
    if (length > kMaxTokenBytes || file.vocab_bytes.size() > UINT32_MAX) {
      return fail(code, invalid("model.vocab: token " + quoted(key_) + " has " + std::to_string(length) + " bytes"));
    }
    file.vocab.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(length), static_cast<int32_t>(id)});
    return true;
  }

  bool add_merge(std::string_view left, std::string_view right, json::error_code& code) {
    if (file.merges.size() >= kMaxMerges) {
      return fail(code, Error{ErrorCode::kTooLarge, "model.merges: more than " + std::to_string(kMaxMerges)});
    }
    const size_t begin = file.merge_bytes.size();
    const bool left_ok = append_bytes_of(file.merge_bytes, left);
    const size_t middle = file.merge_bytes.size();
    const bool right_ok = append_bytes_of(file.merge_bytes, right);
    const size_t end = file.merge_bytes.size();
    if (!left_ok || !right_ok) {
      return fail(code, invalid(merge_name() + ": " + quoted(left_ok ? right : left) + " is not byte-level text"));
    }
    if (middle == begin || end == middle || end - begin > kMaxTokenBytes || end > UINT32_MAX) {
      return fail(code, invalid(merge_name() + ": an empty or overlong token"));
    }
    file.merges.push_back(
        {static_cast<uint32_t>(begin), static_cast<uint16_t>(middle - begin), static_cast<uint16_t>(end - middle)});
    return true;
  }

  Part part_ = Part::kRest;
  std::vector<std::string> path_;  // the key being read in each open container of the rest
  std::string key_;                // the last key
  std::string partial_;            // of a string that arrives in parts (escapes)
  std::string held_;
  std::vector<std::string> pair_;
};

Result<const json::object*> object_at(const json::object& parent, std::string_view key) {
  const json::value* value = find(parent, key);
  if (value == nullptr || !value->is_object()) return invalid("\"" + std::string(key) + "\" is missing or no object");
  return &value->get_object();
}

Status read_model(const json::object& model, TokenizerFile& file) {
  ASSIGN_OR_RETURN(const std::string type, get_string(model, "type", "BPE"));
  if (type != "BPE") return unsupported("type is " + quoted(type) + "; only BPE is read");
  ASSIGN_OR_RETURN(const double dropout, get_double(model, "dropout", 0));
  if (dropout != 0) return unsupported("dropout is not 0");
  ASSIGN_OR_RETURN(const bool byte_fallback, get_bool(model, "byte_fallback", false));
  if (byte_fallback) return unsupported("byte_fallback is true; only byte-level BPE is read");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSIGN_OR_RETURN(const std::string text, get_string(model, affix, ""));
    if (!text.empty()) return unsupported(std::string(affix) + " is not empty");
  }
  ASSIGN_OR_RETURN(file.ignore_merges, get_bool(model, "ignore_merges", false));
  return {};
}

Status read_added_token(const json::value& value, TokenizerFile& file) {
  if (!value.is_object()) return invalid("not an object");
  const json::object& object = value.get_object();
  AddedToken token;
  ASSIGN_OR_RETURN(token.content, get_string(object, "content", ""));
  if (token.content.empty()) return invalid("content is missing or empty");
  if (token.content.size() > kMaxAddedTokenBytes)
    return invalid("content is longer than " + std::to_string(kMaxAddedTokenBytes) + " bytes");
  ASSIGN_OR_RETURN(const int64_t id, get_int(object, "id", -1));
  if (id < 0 || id > kMaxTokenId) return invalid("id is missing or outside 0.." + std::to_string(kMaxTokenId));
  token.id = static_cast<int32_t>(id);
  ASSIGN_OR_RETURN(token.special, get_bool(object, "special", false));
  ASSIGN_OR_RETURN(token.normalized, get_bool(object, "normalized", !token.special));
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
    ASSIGN_OR_RETURN(const bool set, get_bool(object, flag, false));
    if (set) return unsupported(std::string(flag) + " is true");
  }
  file.added_tokens.push_back(std::move(token));
  return {};
}

Status read_added_tokens(const json::object& root, TokenizerFile& file) {
  const json::value* value = find(root, "added_tokens");
  if (value == nullptr) return {};
  if (!value->is_array()) return invalid("added_tokens: not an array");
  const json::array& array = value->get_array();
  if (array.size() > kMaxAddedTokens) return invalid("added_tokens: more than " + std::to_string(kMaxAddedTokens));
  for (size_t i = 0; i < array.size(); ++i) {
    if (Status status = read_added_token(array[i], file); !status) {
      return std::move(status).error().in("added_tokens[" + std::to_string(i) + "]");
    }
  }
  return {};
}

Status read_normalizer(const json::value& value, TokenizerFile& file, bool may_nest = true) {
  if (value.is_null()) return {};
  if (!value.is_object()) return invalid("not an object");
  const json::object& object = value.get_object();
  ASSIGN_OR_RETURN(const std::string type, get_string(object, "type", ""));
  if (type == "NFC") {
    file.nfc = true;
    return {};
  }
  const json::value* parts = find(object, "normalizers");
  if (type == "Sequence" && may_nest && parts != nullptr && parts->is_array()) {
    for (const json::value& part : parts->get_array()) RETURN_IF_ERROR(read_normalizer(part, file, false));
    return {};
  }
  return unsupported("type " + quoted(type) + "; only NFC and null are read");
}

Status read_split(const json::object& object, TokenizerFile& file) {
  ASSIGN_OR_RETURN(const json::object* pattern, object_at(object, "pattern"));
  ASSIGN_OR_RETURN(std::string regex, get_string(*pattern, "Regex", ""));
  if (regex.empty()) return unsupported("pattern without a Regex");
  ASSIGN_OR_RETURN(const std::string behavior, get_string(object, "behavior", ""));
  if (behavior != "Isolated") return unsupported("behavior " + quoted(behavior) + "; only Isolated is read");
  ASSIGN_OR_RETURN(const bool invert, get_bool(object, "invert", false));
  if (invert) return unsupported("invert is true");
  if (file.split_patterns.size() >= 8) return unsupported("more than 8 patterns");
  file.split_patterns.push_back(std::move(regex));
  return {};
}

// One of the sequence's steps. `byte_level` is set once the ByteLevel step has been seen: it ends the sequence.
Status read_pre_tokenizer(const json::value& value, TokenizerFile& file, bool& byte_level, bool may_nest = true) {
  if (!value.is_object()) return invalid("not an object");
  if (byte_level) return unsupported("a step after ByteLevel");
  const json::object& object = value.get_object();
  ASSIGN_OR_RETURN(const std::string type, get_string(object, "type", ""));
  if (type == "Split") return read_split(object, file);
  if (type == "ByteLevel") {
    ASSIGN_OR_RETURN(const bool prefix, get_bool(object, "add_prefix_space", true));
    if (prefix) return unsupported("add_prefix_space is true");
    ASSIGN_OR_RETURN(const bool use_regex, get_bool(object, "use_regex", true));
    if (use_regex) file.split_patterns.emplace_back(kGpt2Pattern);
    byte_level = true;
    return {};
  }
  const json::value* parts = find(object, "pretokenizers");
  if (type == "Sequence" && may_nest && parts != nullptr && parts->is_array()) {
    for (const json::value& part : parts->get_array())
      RETURN_IF_ERROR(read_pre_tokenizer(part, file, byte_level, false));
    return {};
  }
  return unsupported("type " + quoted(type) + "; only Split and ByteLevel are read");
}

// A file whose ids spell bytes must say so, or its text would come out as the alphabet's stand-ins.
Status read_decoder(const json::object& root) {
  ASSIGN_OR_RETURN(const json::object* decoder, object_at(root, "decoder"));
  ASSIGN_OR_RETURN(const std::string type, get_string(*decoder, "type", ""));
  if (type != "ByteLevel") return unsupported("decoder: type " + quoted(type) + "; only ByteLevel is read");
  return {};
}

Status read_rest(const json::object& root, TokenizerFile& file) {
  ASSIGN_OR_RETURN(const json::object* model, object_at(root, "model"));
  if (Status status = read_model(*model, file); !status) return std::move(status).error().in("model");
  RETURN_IF_ERROR(read_added_tokens(root, file));
  if (const json::value* normalizer = find(root, "normalizer")) {
    if (Status status = read_normalizer(*normalizer, file); !status) return std::move(status).error().in("normalizer");
  }
  const json::value* pre_tokenizer = find(root, "pre_tokenizer");
  if (pre_tokenizer == nullptr) return unsupported("pre_tokenizer: missing; only byte-level tokenizers are read");
  bool byte_level = false;
  if (Status status = read_pre_tokenizer(*pre_tokenizer, file, byte_level); !status) {
    return std::move(status).error().in("pre_tokenizer");
  }
  if (!byte_level) return unsupported("pre_tokenizer: no ByteLevel step; only byte-level tokenizers are read");
  return read_decoder(root);
}

// The vocabulary may repeat added tokens, and only they may be written in plain characters.
Status check_odd_tokens(const Handler& handler, const TokenizerFile& file) {
  for (const auto& [content, id] : handler.odd_tokens) {
    bool known = false;
    for (const AddedToken& token : file.added_tokens) known |= token.id == id && token.content == content;
    if (!known) return invalid("model.vocab: token " + quoted(content) + " holds a character that stands for no byte");
  }
  return {};
}

}  // namespace

Result<TokenizerFile> parse_tokenizer_json(std::string_view text) {
  json::parse_options options;
  options.max_depth = 64;
  json::basic_parser<Handler> parser(options);
  json::error_code code;
  const size_t used = parser.write_some(false, text.data(), text.size(), code);
  Handler& handler = parser.handler();
  if (handler.error) return *std::move(handler.error);
  if (!code && used < text.size()) code = json::error::extra_data;
  if (code) return invalid("not valid JSON at byte " + std::to_string(used) + ": " + code.message());
  const json::value root = handler.stack.release();
  if (!root.is_object()) return invalid("not a JSON object");
  if (find(root.get_object(), "model") == nullptr) return invalid("\"model\" is missing");
  TokenizerFile file = std::move(handler.file);
  RETURN_IF_ERROR(read_rest(root.get_object(), file));
  if (!handler.has_vocab) return invalid("model.vocab: missing or no object");
  if (!handler.has_merges) return invalid("model.merges: missing or no array");
  RETURN_IF_ERROR(check_odd_tokens(handler, file));
  return file;
}

}  // namespace glimpse
