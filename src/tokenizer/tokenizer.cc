#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <mutex>

#include "base/check.h"
#include "base/mmap.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/nfc.h"
#include "tokenizer/splitter.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/unicode.h"

namespace glimpse {

namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;

struct Scratch {
  BpeScratch bpe;
  std::vector<size_t> ends;
};

// Buffers lent to encode calls and kept between them, so that a word seen once is remembered.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void give_back(std::unique_ptr<Scratch> scratch) {
    // One huge word should not hold its buffers for ever.
    if (scratch->bpe.ids.capacity() > kMaxKept || scratch->ends.capacity() > kMaxKept) return;
    const std::lock_guard lock(mutex_);
    if (free_.size() < kMaxFree) free_.push_back(std::move(scratch));
  }

 private:
  static constexpr size_t kMaxFree = 16;
  static constexpr size_t kMaxKept = size_t{1} << 18;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

// The parts of [begin, end) outside `untrusted`, joined where nothing lies between them.
std::vector<ByteRange> trusted_parts(size_t size, std::span<const ByteRange> untrusted) {
  std::vector<ByteRange> parts;
  size_t at = 0;
  for (const ByteRange& range : untrusted) {
    CHECK(at <= range.begin && range.begin <= range.end && range.end <= size, at, range.begin, range.end, size);
    if (range.begin == range.end) continue;
    if (range.begin > at) parts.push_back({at, range.begin});
    at = range.end;
  }
  if (at < size) parts.push_back({at, size});
  return parts;
}

}  // namespace

struct Tokenizer::Impl {
  Bpe bpe;
  AddedTokenMatcher added;             // those matched first
  AddedTokenMatcher added_normalized;  // those matched in what is left
  bool nfc = false;
  std::vector<std::unique_ptr<Splitter>> splitters;
  mutable ScratchPool pool;

  using Matches = std::vector<AddedTokenMatcher::Match>;
  Matches find_added(std::string_view text, std::span<const ByteRange> trusted) const;
  Status encode_plain(std::string_view text, size_t depth, Scratch& scratch, std::vector<int32_t>& out) const;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::parse(std::string_view tokenizer_json) {
  ASSIGN_OR_RETURN(TokenizerFile file, parse_tokenizer_json(tokenizer_json));
  auto impl = std::make_unique<Impl>();
  impl->nfc = file.nfc;
  for (const std::string& pattern : file.split_patterns) {
    auto splitter = make_splitter(pattern);
    if (!splitter) return std::move(splitter).error().in("pre_tokenizer");
    impl->splitters.push_back(*std::move(splitter));
  }
  for (const AddedToken& token : file.added_tokens) {
    if (token.normalized && file.nfc) {
      return Error{ErrorCode::kUnsupported, "added_tokens: a token with \"normalized\" true, and a normalizer"};
    }
    (token.normalized ? impl->added_normalized : impl->added).add(token.content, token.id);
  }
  ASSIGN_OR_RETURN(impl->bpe, Bpe::make(std::move(file)));
  return Tokenizer(std::move(impl));
}

Result<Tokenizer> Tokenizer::load(const std::string& path) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() > kMaxFileBytes) {
    return Error{ErrorCode::kTooLarge, path + ": " + std::to_string(bytes.size()) + " bytes, at most " +
                                           std::to_string(kMaxFileBytes) + " are read"};
  }
  auto tokenizer = parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!tokenizer) return std::move(tokenizer).error().in(path);
  return tokenizer;
}

// All matches of both kinds in order. `trusted` is ascending; matches never reach out of one of its parts.
Tokenizer::Impl::Matches Tokenizer::Impl::find_added(std::string_view text, std::span<const ByteRange> trusted) const {
  Matches matches;
  const auto find_normalized = [&](size_t begin, size_t end) {
    if (added_normalized.empty()) return;
    while (const auto match = added_normalized.find(text.substr(0, end), begin)) {
      matches.push_back(*match);
      begin = match->end;
    }
  };
  for (const ByteRange& part : trusted) {
    const std::string_view visible = text.substr(0, part.end);
    size_t at = part.begin;
    while (const auto match = added.find(visible, at)) {
      find_normalized(at, match->begin);
      matches.push_back(*match);
      at = match->end;
    }
    find_normalized(at, part.end);
  }
  return matches;
}

// Text between added tokens, from splitter `depth` on.
Status Tokenizer::Impl::encode_plain(std::string_view text, size_t depth, Scratch& scratch,
                                     std::vector<int32_t>& out) const {
  if (text.empty()) return {};
  if (depth == splitters.size()) {
    bpe.encode_word(text, scratch.bpe, out);
    return {};
  }
  const bool last = depth + 1 == splitters.size();
  std::vector<size_t> own_ends;  // a step before the last one keeps its own
  std::vector<size_t>& ends = last ? scratch.ends : own_ends;
  RETURN_IF_ERROR(splitters[depth]->split(text, ends));
  size_t begin = 0;
  for (const size_t end : ends) {
    const std::string_view piece = text.substr(begin, end - begin);
    if (last) {
      bpe.encode_word(piece, scratch.bpe, out);
    } else {
      RETURN_IF_ERROR(encode_plain(piece, depth + 1, scratch, out));
    }
    begin = end;
  }
  return {};
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, std::span<const ByteRange> untrusted) const {
  if (text.size() > kMaxTextBytes) {
    return Error{ErrorCode::kTooLarge, "text: " + std::to_string(text.size()) + " bytes, at most " +
                                           std::to_string(kMaxTextBytes) + " are encoded"};
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 8);
  std::unique_ptr<Scratch> scratch = impl_->pool.take();
  const auto encode_between = [&](size_t begin, size_t end) -> Status {
    const std::string_view plain = text.substr(begin, end - begin);
    if (impl_->nfc) return impl_->encode_plain(to_nfc(plain), 0, *scratch, ids);
    return impl_->encode_plain(plain, 0, *scratch, ids);
  };
  size_t at = 0;
  for (const auto& match : impl_->find_added(text, trusted_parts(text.size(), untrusted))) {
    RETURN_IF_ERROR(encode_between(at, match.begin));
    ids.push_back(match.id);
    at = match.end;
  }
  RETURN_IF_ERROR(encode_between(at, text.size()));
  impl_->pool.give_back(std::move(scratch));
  return ids;
}

// Words are found from left to right, and where one ends depends on nothing but what it consists of and the character
// after it, except for white space: a run of it is divided by what follows the run. So the last run of white space and
// the word before it are open. Bytes of an unfinished character belong to that word or are one themselves.
Result<std::vector<int32_t>> Tokenizer::encode_stable(std::string_view text,
                                                      std::span<const ByteRange> untrusted) const {
  const Impl::Matches matches = impl_->find_added(text, trusted_parts(text.size(), untrusted));
  const size_t open = matches.empty() ? 0 : matches.back().end;  // what lies behind the last added token
  size_t word_end = text.size();
  const auto is_space = [&](size_t end, size_t& begin) {
    begin = end - 1;
    while (begin > open && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    const std::string_view character = text.substr(begin, end - begin);
    if (character.size() == 1)
      return std::string_view(" \t\r\n\v\f\x1c\x1d\x1e\x1f").find(character) != std::string_view::npos;
    return character == "\u00a0" || character == "\u0085" || character == "\u1680" || character == "\u3000" ||
           (character >= "\u2000" && character <= "\u200a") || character == "\u2028" || character == "\u2029" ||
           character == "\u202f" || character == "\u205f";
  };
  for (size_t begin = 0; word_end > open && is_space(word_end, begin);) word_end = begin;
  size_t keep = open;
  if (word_end > open && impl_->splitters.size() == 1 && !impl_->nfc) {
    std::vector<size_t> ends;
    RETURN_IF_ERROR(impl_->splitters[0]->split(text.substr(open, word_end - open), ends));
    if (ends.size() > 1) keep = open + ends[ends.size() - 2];
  }
  std::vector<ByteRange> ranges;
  for (const ByteRange& range : untrusted) {
    if (range.begin < keep) ranges.push_back({range.begin, std::min(range.end, keep)});
  }
  return encode(text.substr(0, keep), ranges);
}

Result<std::vector<int32_t>> Tokenizer::encode(std::span<const TextPiece> pieces) const {
  std::string text;
  std::vector<ByteRange> untrusted;
  for (const TextPiece& piece : pieces) {
    if (!piece.trusted) untrusted.push_back({text.size(), text.size() + piece.text.size()});
    text += piece.text;
  }
  return encode(text, untrusted);
}

Result<std::vector<int32_t>> Tokenizer::encode_untrusted(std::string_view text) const {
  const ByteRange all{0, text.size()};
  return encode(text, {&all, 1});
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!(skip_special && is_special(id))) bytes += token_bytes(id);
  }
  std::string text;
  text.reserve(bytes.size());
  append_lossy_utf8(text, bytes, true);
  return text;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return impl_->bpe.token_bytes(id);
}

std::optional<int32_t> Tokenizer::find_token(std::string_view bytes) const {
  const int32_t id = impl_->bpe.find_token(bytes);
  return id < 0 ? std::nullopt : std::optional(id);
}

bool Tokenizer::is_special(int32_t id) const {
  return impl_->bpe.is_special(id);
}
bool Tokenizer::is_added(int32_t id) const {
  return impl_->bpe.is_added(id);
}
int32_t Tokenizer::vocab_size() const {
  return impl_->bpe.vocab_size();
}

}  // namespace glimpse
