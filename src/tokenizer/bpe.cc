#include "tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "base/check.h"
#include "tokenizer/unicode.h"

namespace glimpse {

namespace {

constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio (Knuth, TAOCP 3, 6.4)

// Words up to this length are merged by scanning an array for the lowest rank, quadratic but with tiny steps; longer
// ones through a heap.
constexpr size_t kMaxScannedWord = 128;

uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * kMultiplier;
  return hash ^ hash >> 29;
}

uint64_t load(const char* from, size_t size) {
  uint64_t word = 0;
  std::memcpy(&word, from, size);
  return word;
}

uint64_t hash_bytes(std::string_view bytes) {
  uint64_t hash = bytes.size() * kMultiplier;
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) hash = mix(hash, load(at, 8));
  return mix(mix(hash, load(at, left)), 1);
}

bool is_continuation(char byte) {
  return (static_cast<uint8_t>(byte) & 0xC0) == 0x80;
}

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 22 | static_cast<uint64_t>(right);
}

std::string shown(std::string_view bytes) {
  std::string text;
  append_lossy_utf8(text, bytes.substr(0, 48), true);
  for (char& c : text) {
    if (static_cast<uint8_t>(c) < 0x20) c = '?';
  }
  return "\"" + text + "\"";
}

Error invalid(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

}  // namespace

inline uint32_t Bpe::pair_rank(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  const uint64_t hash = key * kMultiplier;
  if ((pair_filter_[hash >> filter_shift_ >> 6] >> (hash >> filter_shift_ & 63) & 1) == 0) return kNoRank;
  size_t place = hash >> pair_shift_;
  while (pairs_[place] != kEmptyPair) {
    if (pairs_[place] >> 20 == key) return static_cast<uint32_t>(pairs_[place] & 0xFFFFF);
    place = (place + 1) & (pairs_.size() - 1);
  }
  return kNoRank;
}

Result<Bpe> Bpe::make(TokenizerFile&& file) {
  Bpe bpe;
  bpe.ignore_merges_ = file.ignore_merges;
  int32_t max_id = -1;
  for (const auto& entry : file.vocab) max_id = std::max(max_id, entry.id);
  for (const AddedToken& token : file.added_tokens) max_id = std::max(max_id, token.id);
  bpe.tokens_.resize(static_cast<size_t>(max_id) + 1);
  bpe.slots_.assign(std::bit_ceil((file.vocab.size() + file.added_tokens.size()) * 2 + 2), Slot{0, -1});
  bpe.bytes_ = std::move(file.vocab_bytes);
  RETURN_IF_ERROR(bpe.add_vocab(file));
  RETURN_IF_ERROR(bpe.add_added_tokens(file));
  std::vector<std::pair<int32_t, int32_t>> sides;  // of each merge
  RETURN_IF_ERROR(bpe.add_merges(file, sides));
  bpe.add_whole_chars(file, sides);
  return bpe;
}

Status Bpe::add_token(std::string_view bytes, uint32_t begin, int32_t id, Kind kind) {
  Token& token = tokens_[id];
  if (token.kind != Kind::kNone) {
    return invalid("id " + std::to_string(id) + " stands for both " + shown(token_bytes(id)) + " and " + shown(bytes));
  }
  const uint64_t hash = hash_bytes(bytes);
  size_t place = hash & (slots_.size() - 1);
  for (; slots_[place].id >= 0; place = (place + 1) & (slots_.size() - 1)) {
    if (slots_[place].hash == hash >> 32 && token_bytes(slots_[place].id) == bytes) {
      return invalid("token " + shown(bytes) + " is listed twice, as " + std::to_string(slots_[place].id) + " and " +
                     std::to_string(id));
    }
  }
  slots_[place] = {static_cast<uint32_t>(hash >> 32), id};
  token.begin = begin;
  token.length = static_cast<uint32_t>(bytes.size()) & 0xFFFFFF;
  token.kind = kind;
  return {};
}

Status Bpe::add_vocab(const TokenizerFile& file) {
  byte_ids_.fill(-1);
  for (const auto& entry : file.vocab) {
    const std::string_view bytes(bytes_.data() + entry.begin, entry.length);
    if (Status status = add_token(bytes, entry.begin, entry.id, Kind::kVocab); !status) {
      return std::move(status).error().in("model.vocab");
    }
    if (entry.length == 1) byte_ids_[static_cast<uint8_t>(bytes[0])] = entry.id;
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    if (byte_ids_[byte] < 0) return invalid("model.vocab: no token for byte " + std::to_string(byte));
  }
  return {};
}

Status Bpe::add_added_tokens(const TokenizerFile& file) {
  for (size_t i = 0; i < file.added_tokens.size(); ++i) {
    const AddedToken& added = file.added_tokens[i];
    const Kind kind = added.special ? Kind::kSpecial : Kind::kAdded;
    const int32_t known = find_token(added.content);
    if (known == added.id && tokens_[known].kind == Kind::kVocab) {
      tokens_[known].kind = kind;  // the vocabulary lists it too, as some files do
      continue;
    }
    const size_t begin = bytes_.size();
    if (begin + added.content.size() > UINT32_MAX) return invalid("added_tokens: too long together");
    bytes_ += added.content;
    if (Status status = add_token(added.content, static_cast<uint32_t>(begin), added.id, kind); !status) {
      return std::move(status).error().in("added_tokens[" + std::to_string(i) + "]");
    }
  }
  return {};
}

// A merge that makes an added token is left out: text that spells such a token without being trusted must not become
// it, and text that is trusted was cut at it before any merge.
Status Bpe::add_merges(const TokenizerFile& file, std::vector<std::pair<int32_t, int32_t>>& sides) {
  sides.resize(file.merges.size());
  pairs_.assign(std::bit_ceil(file.merges.size() * 3 / 2 + 2), kEmptyPair);
  pair_shift_ = 64 - std::countr_zero(pairs_.size());
  const size_t filter_bits = std::bit_ceil(file.merges.size() * 8 + 64);
  pair_filter_.assign(filter_bits / 64, 0);
  filter_shift_ = 64 - std::countr_zero(filter_bits);
  byte_pair_ranks_.assign(size_t{256} * 256, kNoRank);
  merged_.resize(file.merges.size());
  for (uint32_t rank = 0; rank < file.merges.size(); ++rank) {
    const TokenizerFile::Merge& merge = file.merges[rank];
    const std::string_view both =
        std::string_view(file.merge_bytes).substr(merge.begin, merge.left_length + merge.right_length);
    const std::string_view left = both.substr(0, merge.left_length);
    const std::string_view right = both.substr(merge.left_length);
    const int32_t left_id = find_token(left);
    const int32_t right_id = find_token(right);
    const int32_t both_id = find_token(both);
    if (left_id < 0 || right_id < 0 || both_id < 0) {
      const std::string_view missing = left_id < 0 ? left : right_id < 0 ? right : both;
      return invalid("model.merges[" + std::to_string(rank) + "]: token " + shown(missing) + " is not in model.vocab");
    }
    merged_[rank] = both_id;
    sides[rank] = {left_id, right_id};
    if (is_added(both_id)) continue;
    add_pair(static_cast<uint32_t>(left_id), static_cast<uint32_t>(right_id), rank);
    if (left.size() == 1 && right.size() == 1) {
      byte_pair_ranks_[static_cast<uint8_t>(left[0]) * 256 + static_cast<uint8_t>(right[0])] = rank;
    }
  }
  return {};
}

// Chinese, Japanese and Korean text is three-byte characters, and most of a word's merges would only put them together.
// Where that provably changes nothing, a word begins with whole characters instead. A character c qualifies if
//   (1) its bytes alone merge into one token, the ranks on the way being at most h;
//   (2) no merge of a rank below h takes the beginning of c as its right side, or the end of c as its left side before
//       something that is no continuation byte;
//   (3) no merge of a rank below h has the whole of c as a side.
// As long as c is not whole, a merge of c's own with a rank of at most h is possible. So any other merge that comes
// before it has a lower rank: by (2) it does not touch c's parts, and by (3) it would also have come first had c been
// whole. Leaving c's own merges out of the sequence therefore leaves the rest of it as it is.
void Bpe::add_whole_chars(const TokenizerFile& file, const std::vector<std::pair<int32_t, int32_t>>& sides) {
  const size_t size = tokens_.size();
  std::vector<uint32_t> as_right(size, kNoRank);  // lowest rank with the token as right side
  std::vector<uint32_t> as_left(size, kNoRank);
  std::vector<uint32_t> before_char(size, kNoRank);  // as left side, the right one beginning a character
  for (uint32_t rank = 0; rank < file.merges.size(); ++rank) {
    if (is_added(merged_[rank])) continue;
    const TokenizerFile::Merge& merge = file.merges[rank];
    const auto [left, right] = sides[rank];
    as_right[right] = std::min(as_right[right], rank);
    as_left[left] = std::min(as_left[left], rank);
    if (!is_continuation(file.merge_bytes[merge.begin + merge.left_length])) {
      before_char[left] = std::min(before_char[left], rank);
    }
  }
  whole_chars_.assign(65536, -1);
  for (int32_t id = 0; id < vocab_size(); ++id) {
    const std::string_view bytes = token_bytes(id);
    if (bytes.size() != 3 || tokens_[id].kind != Kind::kVocab) continue;
    const DecodedChar c = decode_utf8(bytes.data(), bytes.data() + 3);
    if (c.size != 3) continue;
    const std::array<int32_t, 3> parts = {byte_ids_[static_cast<uint8_t>(bytes[0])],
                                          byte_ids_[static_cast<uint8_t>(bytes[1])],
                                          byte_ids_[static_cast<uint8_t>(bytes[2])]};
    const uint32_t front = pair_rank(parts[0], parts[1]);
    const uint32_t back = pair_rank(parts[1], parts[2]);
    const uint32_t first = std::min(front, back);
    if (first == kNoRank) continue;
    const int32_t middle = merged_[first];
    const uint32_t second = first == front ? pair_rank(middle, parts[2]) : pair_rank(parts[0], middle);
    if (second == kNoRank || merged_[second] != id) continue;
    const uint32_t highest = std::max(first, second);
    const uint32_t rival = std::min({as_right[parts[0]], before_char[parts[2]], as_right[id], as_left[id],
                                     first == front ? as_right[middle] : before_char[middle]});
    if (rival > highest) whole_chars_[c.code_point] = id;
  }
}

// A pair that is listed twice has the later rank, as in the `tokenizers` library.
void Bpe::add_pair(uint32_t left, uint32_t right, uint32_t rank) {
  const uint64_t key = pair_key(static_cast<int32_t>(left), static_cast<int32_t>(right));
  const uint64_t hash = key * kMultiplier;
  pair_filter_[hash >> filter_shift_ >> 6] |= uint64_t{1} << (hash >> filter_shift_ & 63);
  size_t place = hash >> pair_shift_;
  while (pairs_[place] != kEmptyPair && pairs_[place] >> 20 != key) place = (place + 1) & (pairs_.size() - 1);
  pairs_[place] = key << 20 | rank;
}

std::string_view Bpe::token_bytes(int32_t id) const {
  if (!has_token(id)) return {};
  return {bytes_.data() + tokens_[id].begin, tokens_[id].length};
}

const Bpe::Slot* Bpe::find_slot(std::string_view bytes, uint64_t hash) const {
  for (size_t place = hash & (slots_.size() - 1); slots_[place].id >= 0; place = (place + 1) & (slots_.size() - 1)) {
    if (slots_[place].hash == hash >> 32 && token_bytes(slots_[place].id) == bytes) return &slots_[place];
  }
  return nullptr;
}

int32_t Bpe::find_token(std::string_view bytes) const {
  const Slot* slot = find_slot(bytes, hash_bytes(bytes));
  return slot == nullptr ? -1 : slot->id;
}

int32_t Bpe::find_word(std::string_view word, uint64_t hash) const {
  const Slot* slot = find_slot(word, hash);
  return slot == nullptr || tokens_[slot->id].kind != Kind::kVocab ? -1 : slot->id;
}

void Bpe::encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (word.size() == 1) {
    out.push_back(byte_ids_[static_cast<uint8_t>(word[0])]);
    return;
  }
  if (word.size() > BpeScratch::kCachedWordBytes) {
    const int32_t whole = ignore_merges_ ? find_word(word, hash_bytes(word)) : -1;
    if (whole >= 0) {
      out.push_back(whole);
    } else {
      merge(word, scratch, out);
    }
    return;
  }
  std::array<uint64_t, 4> key{};
  std::memcpy(key.data(), word.data(), word.size());
  key[3] |= static_cast<uint64_t>(word.size()) << 56;
  const uint64_t hash = hash_bytes(word);
  if (scratch.cache.empty()) scratch.cache.resize(BpeScratch::kCachedWords);
  BpeScratch::CachedWord& cached = scratch.cache[hash >> 32 & (BpeScratch::kCachedWords - 1)];
  if (cached.num_ids != 0 && cached.key == key) {
    out.insert(out.end(), cached.ids.begin(), cached.ids.begin() + cached.num_ids);
    return;
  }
  const size_t before = out.size();
  const int32_t whole = ignore_merges_ ? find_word(word, hash) : -1;
  if (whole >= 0) {
    out.push_back(whole);
  } else {
    merge(word, scratch, out);
  }
  const size_t count = out.size() - before;
  if (count > cached.ids.size()) return;
  cached.key = key;
  cached.num_ids = static_cast<uint32_t>(count);
  std::copy(out.end() - static_cast<ptrdiff_t>(count), out.end(), cached.ids.begin());
}

void Bpe::merge(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  const size_t size = start_symbols(word, scratch);
  if (size <= kMaxScannedWord) {
    merge_short(size, scratch);
  } else {
    merge_long(size, scratch);
  }
  out.insert(out.end(), scratch.ids.begin(), scratch.ids.end());
}

// Sets scratch.ids and scratch.ranks to the word's first symbols: whole characters where that is sound, else bytes.
size_t Bpe::start_symbols(std::string_view word, BpeScratch& scratch) const {
  if (scratch.ids.size() < word.size()) {
    scratch.ids.resize(word.size());
    scratch.ranks.resize(word.size());
  }
  int32_t* const ids = scratch.ids.data();
  uint32_t* const ranks = scratch.ranks.data();
  const char* const end = word.data() + word.size();
  size_t size = 0;
  bool byte_before = false;
  for (const char* at = word.data(); at < end;) {
    const auto first = static_cast<uint8_t>(*at);
    int32_t id = -1;
    if (first >= 0xE0 && end - at >= 3 && !whole_chars_.empty() && (end - at == 3 || !is_continuation(at[3]))) {
      const DecodedChar c = decode_utf8(at, end);
      if (c.size == 3) id = whole_chars_[c.code_point];
    }
    const bool is_byte = id < 0;
    if (is_byte) id = byte_ids_[first];
    if (size > 0) {
      ranks[size - 1] =
          is_byte && byte_before ? byte_pair_rank(static_cast<uint8_t>(at[-1]), first) : pair_rank(ids[size - 1], id);
    }
    ids[size++] = id;
    at += is_byte ? 1 : 3;
    byte_before = is_byte;
  }
  scratch.ids.resize(size);
  scratch.ranks.resize(size);
  return size;
}

void Bpe::merge_short(size_t size, BpeScratch& scratch) const {
  int32_t* const ids = scratch.ids.data();
  uint32_t* const ranks = scratch.ranks.data();
  while (size > 1) {
    size_t at = 0;
    uint32_t lowest = ranks[0];
    for (size_t i = 1; i + 1 < size; ++i) {
      at = ranks[i] < lowest ? i : at;
      lowest = std::min(lowest, ranks[i]);
    }
    if (lowest == kNoRank) break;
    ids[at] = merged_[lowest];
    for (size_t i = at + 1; i + 1 < size; ++i) {
      ids[i] = ids[i + 1];
      ranks[i - 1] = ranks[i];
    }
    --size;
    if (at > 0) ranks[at - 1] = pair_rank(ids[at - 1], ids[at]);
    if (at + 1 < size) ranks[at] = pair_rank(ids[at], ids[at + 1]);
  }
  scratch.ids.resize(size);
}

// The same with the symbols in a linked list and the candidate merges in a heap, ordered by rank and then place. An
// entry whose pair has changed since is recognised by its rank and dropped when it comes up.
void Bpe::merge_long(size_t size, BpeScratch& s) const {
  constexpr uint32_t kNone = 0xFFFFFFFF;
  CHECK(size < kNone, size);
  s.ranks[size - 1] = kNoRank;
  s.next.resize(size);
  s.previous.resize(size);
  s.heap.clear();
  const auto entry = [](uint32_t rank, uint32_t at) { return static_cast<uint64_t>(rank) << 32 | at; };
  for (uint32_t i = 0; i < size; ++i) {
    s.next[i] = i + 1 < size ? i + 1 : kNone;
    s.previous[i] = i == 0 ? kNone : i - 1;
    if (s.ranks[i] != kNoRank) s.heap.push_back(entry(s.ranks[i], i));
  }
  std::make_heap(s.heap.begin(), s.heap.end(), std::greater<>{});
  const auto rerank = [&](uint32_t at) {
    s.ranks[at] = s.next[at] == kNone ? kNoRank : pair_rank(s.ids[at], s.ids[s.next[at]]);
    if (s.ranks[at] == kNoRank) return;
    s.heap.push_back(entry(s.ranks[at], at));
    std::push_heap(s.heap.begin(), s.heap.end(), std::greater<>{});
  };
  while (!s.heap.empty()) {
    const auto at = static_cast<uint32_t>(s.heap.front());
    const auto rank = static_cast<uint32_t>(s.heap.front() >> 32);
    std::pop_heap(s.heap.begin(), s.heap.end(), std::greater<>{});
    s.heap.pop_back();
    if (s.ranks[at] != rank) continue;
    const uint32_t gone = s.next[at];
    s.ids[at] = merged_[rank];
    s.ranks[gone] = kNoRank;
    s.next[at] = s.next[gone];
    if (s.next[at] != kNone) s.previous[s.next[at]] = at;
    rerank(at);
    if (s.previous[at] != kNone) rerank(s.previous[at]);
  }
  size_t count = 0;
  for (uint32_t at = 0; at != kNone; at = s.next[at]) s.ids[count++] = s.ids[at];
  s.ids.resize(count);
}

}  // namespace glimpse
