#include "server/sha256.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <vector>

#include "base/check.h"

namespace glimpse {

namespace {

EVP_MD_CTX* as_context(void* context) {
  return static_cast<EVP_MD_CTX*>(context);
}

template <typename Bytes>
std::string hex_of(const Bytes& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace

void Sha256::Free::operator()(void* context) const {
  EVP_MD_CTX_free(as_context(context));
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  CHECK(EVP_DigestInit_ex(as_context(context_.get()), EVP_sha256(), nullptr) == 1);
}

void Sha256::update(std::string_view bytes) {
  CHECK(EVP_DigestUpdate(as_context(context_.get()), bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest;
  CHECK(EVP_DigestFinal_ex(as_context(context_.get()), digest.data(), nullptr) == 1);
  CHECK(EVP_DigestInit_ex(as_context(context_.get()), EVP_sha256(), nullptr) == 1);
  return digest;
}

Sha256Digest Sha256::of(std::string_view bytes) {
  Sha256Digest digest;
  CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

std::string to_hex(const Sha256Digest& digest) {
  return hex_of(digest);
}

std::string random_hex(size_t bytes) {
  std::vector<uint8_t> random(bytes);
  CHECK(RAND_bytes(random.data(), static_cast<int>(bytes)) == 1);
  return hex_of(random);
}

}  // namespace glimpse
