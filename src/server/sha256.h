#pragma once

// SHA-256 of bytes that arrive in pieces (OpenSSL: uses the processor's SHA instructions).

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace glimpse {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  void update(std::string_view bytes);
  // Ends the message; the object starts anew.
  Sha256Digest finish();

  static Sha256Digest of(std::string_view bytes);

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

std::string to_hex(const Sha256Digest& digest);

// Random bytes from the operating system's generator, as lower-case hex: names that nobody can guess.
std::string random_hex(size_t bytes);

}  // namespace glimpse
