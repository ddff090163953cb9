#include "engine/block_hash.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/check.h"

namespace glimpse {

struct BlockHasher::Context {
  EVP_MD* md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();

  ~Context() {
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
  }
  void begin() { CHECK(EVP_DigestInit_ex2(ctx, md, nullptr) == 1); }
  void add(const void* data, size_t bytes) { CHECK(EVP_DigestUpdate(ctx, data, bytes) == 1); }
  BlockHash end() {
    BlockHash hash;
    static_assert(sizeof(hash.words) == 32);
    CHECK(EVP_DigestFinal_ex(ctx, reinterpret_cast<unsigned char*>(hash.words.data()), nullptr) == 1);
    return hash;
  }
};

BlockHasher::BlockHasher() : context_(std::make_unique<Context>()) {
  CHECK(context_->md != nullptr && context_->ctx != nullptr);
}

BlockHasher::~BlockHasher() = default;

BlockHash BlockHasher::seed(std::string_view model, std::string_view salt) {
  const uint64_t lengths[] = {model.size(), salt.size()};  // so that no text moves from one to the other
  context_->begin();
  context_->add(lengths, sizeof lengths);
  context_->add(model.data(), model.size());
  context_->add(salt.data(), salt.size());
  return context_->end();
}

BlockHash BlockHasher::next(const BlockHash& previous, std::span<const int32_t> token_ids, int32_t first,
                            std::span<const ImageSpan> images) {
  context_->begin();
  context_->add(previous.words.data(), sizeof previous.words);
  context_->add(token_ids.data(), token_ids.size_bytes());
  const int32_t end = first + static_cast<int32_t>(token_ids.size());
  // The ids are as many as in every block, so what follows cannot be taken for them.
  for (const ImageSpan& image : images) {
    if (image.end <= first || image.begin >= end) continue;
    const int32_t begin = std::max(image.begin, first);
    const int32_t place[] = {
        begin - first, std::min(image.end, end) - begin, begin - image.begin, image.grid.t, image.grid.h, image.grid.w};
    context_->add(image.key.sha256.data(), image.key.sha256.size());
    context_->add(place, sizeof place);
  }
  return context_->end();
}

void extend_hashes(BlockHasher& hasher, const BlockHash& seed, std::span<const int32_t> token_ids, int32_t block_size,
                   std::span<const ImageSpan> images, std::vector<BlockHash>& hashes) {
  const size_t size = static_cast<size_t>(block_size);
  while ((hashes.size() + 1) * size <= token_ids.size()) {
    const size_t first = hashes.size() * size;
    const BlockHash& previous = hashes.empty() ? seed : hashes.back();
    hashes.push_back(hasher.next(previous, token_ids.subspan(first, size), static_cast<int32_t>(first), images));
  }
}

}  // namespace glimpse
