#include "weights/safetensors_header.h"

#include <boost/json/basic_parser_impl.hpp>
#include <utility>

#include "base/quote.h"
#include "weights/safetensors.h"

namespace glimpse {

namespace {

namespace json = boost::json;

// Receives the parser's events. Depth 1 is the header object, 2 an entry (or the metadata), 3 an entry's array.
class HeaderHandler {
 public:
  // Limits that the parser asks for; the header's own length bounds them all.
  static constexpr size_t max_object_size = ~size_t{0};
  static constexpr size_t max_array_size = ~size_t{0};
  static constexpr size_t max_key_size = ~size_t{0};
  static constexpr size_t max_string_size = ~size_t{0};

  std::vector<HeaderEntry> entries;
  std::string failure;  // why parsing was stopped, when it was stopped from here

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }

  bool on_object_begin(json::error_code& code) {
    if (depth_ == 1 && !in_metadata_) entries.push_back({.name = key_, .dtype = {}, .shape = {}, .data_offsets = {}});
    if (depth_ >= 2) return unexpected("an object", code);
    ++depth_;
    return true;
  }
  bool on_object_end(size_t, json::error_code&) {
    --depth_;
    if (depth_ == 1) in_metadata_ = false;
    return true;
  }

  bool on_array_begin(json::error_code& code) {
    if (depth_ != 2 || in_metadata_) return unexpected("an array", code);
    if (key_ != "shape" && key_ != "data_offsets") return unexpected("an array", code);
    HeaderEntry& entry = entries.back();
    std::optional<std::vector<int64_t>>& field = key_ == "shape" ? entry.shape : entry.data_offsets;
    if (field.has_value()) return fail(where() + " is given twice", code);
    array_ = &field.emplace();
    ++depth_;
    return true;
  }
  bool on_array_end(size_t, json::error_code&) {
    array_ = nullptr;
    --depth_;
    return true;
  }

  bool on_key_part(std::string_view part, size_t, json::error_code&) {
    partial_ += part;
    return true;
  }
  bool on_key(std::string_view part, size_t, json::error_code& code) {
    key_ = std::exchange(partial_, {}).append(part);
    if (depth_ == 1) {
      entry_ = key_;
      in_metadata_ = key_ == "__metadata__";
      return true;
    }
    if (!in_metadata_ && key_ != "dtype" && key_ != "shape" && key_ != "data_offsets") {
      return fail(where() + " is not a field of the format", code);
    }
    return true;
  }

  bool on_string_part(std::string_view part, size_t, json::error_code&) {
    partial_ += part;
    return true;
  }
  bool on_string(std::string_view part, size_t, json::error_code& code) {
    std::string value = std::exchange(partial_, {}).append(part);
    if (in_metadata_ && depth_ == 2) return true;
    if (depth_ != 2 || key_ != "dtype") return unexpected("a string", code);
    if (entries.back().dtype.has_value()) return fail(where() + " is given twice", code);
    entries.back().dtype = std::move(value);
    return true;
  }

  bool on_number_part(std::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t value, std::string_view, json::error_code& code) {
    if (array_ == nullptr) return unexpected("a number", code);
    if (value < 0) return fail(where() + " holds " + std::to_string(value) + ", which is negative", code);
    if (array_->size() >= kMaxRank) {
      return fail(where() + " has more than " + std::to_string(kMaxRank) + " numbers", code);
    }
    array_->push_back(value);
    return true;
  }
  bool on_uint64(uint64_t value, std::string_view, json::error_code& code) {
    if (array_ == nullptr) return unexpected("a number", code);
    return fail(where() + " holds " + std::to_string(value) + ", which is too large", code);
  }
  bool on_double(double, std::string_view, json::error_code& code) {
    if (array_ == nullptr) return unexpected("a number", code);
    return fail(where() + " holds a number that is not a whole one in range", code);
  }
  bool on_bool(bool, json::error_code& code) { return unexpected("a boolean", code); }
  bool on_null(json::error_code& code) { return unexpected("null", code); }
  bool on_comment_part(std::string_view, json::error_code&) { return true; }
  bool on_comment(std::string_view, json::error_code&) { return true; }

 private:
  std::string where() const {
    if (depth_ == 0) return "the header";
    std::string text = "tensor " + in_quotes(entry_);
    if (in_metadata_) text = in_quotes(entry_);
    if (depth_ >= 2) text += ": " + in_quotes(key_);
    return text;
  }
  bool unexpected(std::string_view what, json::error_code& code) {
    return fail(where() + " must not be " + std::string(what), code);
  }
  bool fail(std::string message, json::error_code& code) {
    failure = std::move(message);
    code = json::error::syntax;  // any error stops the parser; `failure` is what we report
    return false;
  }

  int depth_ = 0;
  bool in_metadata_ = false;
  std::string entry_;                      // the key at depth 1
  std::string key_;                        // the last key seen
  std::string partial_;                    // a key or string that arrives in parts (escapes)
  std::vector<int64_t>* array_ = nullptr;  // in entries.back(), which is stable while an array is open
};

}  // namespace

Result<std::vector<HeaderEntry>> parse_safetensors_header(std::string_view text) {
  json::parse_options options;
  options.max_depth = 4;
  json::basic_parser<HeaderHandler> parser(options);
  json::error_code code;
  const size_t used = parser.write_some(false, text.data(), text.size(), code);
  HeaderHandler& handler = parser.handler();
  if (!handler.failure.empty()) return Error{ErrorCode::kInvalidData, std::move(handler.failure)};
  if (!code && used < text.size()) code = json::error::extra_data;
  if (code) {
    return Error{ErrorCode::kInvalidData,
                 "the header is not valid JSON at byte " + std::to_string(used) + ": " + code.message()};
  }
  return std::move(handler.entries);
}

}  // namespace glimpse
