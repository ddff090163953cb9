// tokenize_lines TOKENIZER.json: answers records on stdin with records on stdout, for tests/python/test_tokenizer.py.
// A record is one operation byte, a 32-bit size and that many bytes; an answer is a 32-bit size and that many bytes.
//   'e'  text -> ids (int32) of trusted text        'd'  ids -> text
//   'u'  text -> ids of untrusted text              's'  ids -> text without special tokens
//   'i'  ids -> text by way of the Detokenizer, id by id

#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer.h"

namespace glimpse {
namespace {

std::string as_bytes(const std::vector<int32_t>& ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)};
}

std::string answer(const Tokenizer& tokenizer, char operation, const std::string& record) {
  if (operation == 'e') return as_bytes(*tokenizer.encode(record));
  if (operation == 'u') return as_bytes(*tokenizer.encode_untrusted(record));
  std::vector<int32_t> ids(record.size() / sizeof(int32_t));
  if (!ids.empty()) std::memcpy(ids.data(), record.data(), ids.size() * sizeof(int32_t));
  if (operation != 'i') return tokenizer.decode(ids, operation == 's');
  Detokenizer detokenizer(tokenizer, false);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.push(id);
  return text += detokenizer.finish();
}

int run(const char* path) {
  const auto tokenizer = Tokenizer::load(path);
  if (!tokenizer) {
    std::cerr << tokenizer.error().message << "\n";
    return exit_code(tokenizer.error().code);
  }
  char operation = 0;
  while (std::cin.get(operation)) {
    uint32_t size = 0;
    std::cin.read(reinterpret_cast<char*>(&size), sizeof size);
    std::string record(size, '\0');
    std::cin.read(record.data(), size);
    if (!std::cin) return 2;
    const std::string reply = answer(*tokenizer, operation, record);
    size = static_cast<uint32_t>(reply.size());
    std::cout.write(reinterpret_cast<const char*>(&size), sizeof size);
    std::cout.write(reply.data(), size);
  }
  return 0;
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: tokenize_lines TOKENIZER.json\n", stderr);
    return 2;
  }
  std::ios::sync_with_stdio(false);
  return glimpse::run(argv[1]);
}
