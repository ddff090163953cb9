// Input: a template, a zero byte, and the JSON of its variables. Whatever they are: a text or an error, in bounds.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json.h"
#include "jinja/template.h"
#include "jinja/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  // Small limits, so that the fuzzer sees many inputs; the code that enforces them is the same.
  const glimpse::jinja::Limits limits{.template_bytes = 1 << 16,
                                      .steps = 20'000,
                                      .output_bytes = 1 << 18,
                                      .value_bytes = 1 << 20,
                                      .call_depth = 64,
                                      .range_items = 10'000};
  const auto made = glimpse::jinja::Template::compile(input.substr(0, zero), limits);
  if (!made) return 0;
  glimpse::json::value variables =
      glimpse::json::object{{"messages", {{{"role", "user"}, {"content", "<|x|> é"}}}}, {"n", 3}};
  if (zero != std::string_view::npos) {
    auto parsed = glimpse::parse_json(input.substr(zero + 1));
    if (parsed && parsed->is_object()) variables = *std::move(parsed);
  }
  std::vector<glimpse::jinja::Variable> list;
  for (const auto& [name, value] : variables.get_object()) list.push_back({name, &value});
  const auto rendered = made->render(list);
  if (!rendered) return 0;
  size_t at = 0;
  for (const auto& range : rendered->untrusted) {
    if (range.begin < at || range.end <= range.begin || range.end > rendered->text.size()) std::abort();
    at = range.end;
  }
  if (!glimpse::jinja::is_valid_utf8(rendered->text)) std::abort();
  return 0;
}
