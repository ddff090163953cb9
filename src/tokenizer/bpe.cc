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
  RETURN_IF_ERROR(bpe.add_merges(file));
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
Status Bpe::add_merges(const TokenizerFile& file) {
  pairs_.assign(std::bit_ceil(file.merges.size() * 3 / 2 + 2), kEmptyPair);
  pair_shift_ = 64 - std::countr_zero(pairs_.size());
  byte_pair_ranks_.assign(size_t{256} * 256, kNoRank);
  merged_.resize(file.merges.size());
  for (uint32_t rank = 0; rank < file.merges.size(); ++rank) {
    const TokenizerFile::Merge& merge = file.merges[rank];
    const std::string_view left(file.merge_bytes.data() + merge.begin, merge.left_length);
    const std::string_view right(left.data() + left.size(), merge.right_length);
    const std::string_view both(left.data(), left.size() + right.size());
    const int32_t left_id = find_token(left);
    const int32_t right_id = find_token(right);
    const int32_t both_id = find_token(both);
    if (left_id < 0 || right_id < 0 || both_id < 0) {
      const std::string_view missing = left_id < 0 ? left : right_id < 0 ? right : both;
      return invalid("model.merges[" + std::to_string(rank) + "]: token " + shown(missing) + " is not in model.vocab");
    }
    merged_[rank] = both_id;
    if (is_added(both_id)) continue;
    add_pair(static_cast<uint32_t>(left_id), static_cast<uint32_t>(right_id), rank);
    if (left.size() == 1 && right.size() == 1) {
      byte_pair_ranks_[static_cast<uint8_t>(left[0]) * 256 + static_cast<uint8_t>(right[0])] = rank;
    }
  }
  return {};
}

// A pair that is listed twice has the later rank, as in the `tokenizers` library.
void Bpe::add_pair(uint32_t left, uint32_t right, uint32_t rank) {
  const uint64_t key = pair_key(static_cast<int32_t>(left), static_cast<int32_t>(right));
  size_t place = key * kMultiplier >> pair_shift_;
  while (pairs_[place] != kEmptyPair && pairs_[place] >> 20 != key) place = (place + 1) & (pairs_.size() - 1);
  pairs_[place] = key << 20 | rank;
}

uint32_t Bpe::pair_rank(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  size_t place = key * kMultiplier >> pair_shift_;
  while (pairs_[place] != kEmptyPair) {
    if (pairs_[place] >> 20 == key) return static_cast<uint32_t>(pairs_[place] & 0xFFFFF);
    place = (place + 1) & (pairs_.size() - 1);
  }
  return kNoRank;
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
  if (word.size() <= kMaxScannedWord) {
    merge_short(word, scratch, out);
  } else {
    merge_long(word, scratch, out);
  }
}

// ids[i] are the symbols, ranks[i] the rank of merging ids[i] with ids[i + 1].
void Bpe::merge_short(std::string_view word, BpeScratch&, std::vector<int32_t>& out) const {
  std::array<int32_t, kMaxScannedWord> ids;
  std::array<uint32_t, kMaxScannedWord> ranks;
  size_t size = word.size();
  for (size_t i = 0; i < size; ++i) ids[i] = byte_ids_[static_cast<uint8_t>(word[i])];
  for (size_t i = 0; i + 1 < size; ++i) {
    ranks[i] = byte_pair_rank(static_cast<uint8_t>(word[i]), static_cast<uint8_t>(word[i + 1]));
  }
  while (size > 1) {
    const size_t at = static_cast<size_t>(std::min_element(ranks.begin(), ranks.begin() + size - 1) - ranks.begin());
    if (ranks[at] == kNoRank) break;
    ids[at] = merged_[ranks[at]];
    std::copy(ids.begin() + at + 2, ids.begin() + size, ids.begin() + at + 1);
    std::copy(ranks.begin() + at + 1, ranks.begin() + size - 1, ranks.begin() + at);
    --size;
    if (at > 0) ranks[at - 1] = pair_rank(ids[at - 1], ids[at]);
    if (at + 1 < size) ranks[at] = pair_rank(ids[at], ids[at + 1]);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + size);
}

// The same with the symbols in a linked list and the candidate merges in a heap, ordered by rank and then place. An
// entry whose pair has changed since is recognised by its rank and dropped when it comes up.
void Bpe::merge_long(std::string_view word, BpeScratch& s, std::vector<int32_t>& out) const {
  const size_t size = word.size();
  constexpr uint32_t kNone = 0xFFFFFFFF;
  CHECK(size < kNone, size);
  s.ids.resize(size);
  s.ranks.assign(size, kNoRank);
  s.next.resize(size);
  s.previous.resize(size);
  s.heap.clear();
  const auto entry = [](uint32_t rank, uint32_t at) { return static_cast<uint64_t>(rank) << 32 | at; };
  for (uint32_t i = 0; i < size; ++i) {
    s.ids[i] = byte_ids_[static_cast<uint8_t>(word[i])];
    s.next[i] = i + 1 < size ? i + 1 : kNone;
    s.previous[i] = i == 0 ? kNone : i - 1;
    if (i + 1 == size) break;
    s.ranks[i] = byte_pair_rank(static_cast<uint8_t>(word[i]), static_cast<uint8_t>(word[i + 1]));
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
  for (uint32_t at = 0; at != kNone; at = s.next[at]) out.push_back(s.ids[at]);
}

}  // namespace glimpse
