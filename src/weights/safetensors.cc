#include "weights/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/quote.h"
#include "weights/safetensors_header.h"

namespace glimpse {

static_assert(std::endian::native == std::endian::little, "the files are little-endian and are used in place");

namespace {

struct DTypeName {
  std::string_view name;
  std::optional<DType> dtype;  // none: the format has it, we do not
};
constexpr std::array<DTypeName, 16> kDTypes = {{{"F32", DType::kF32},
                                                {"BF16", DType::kBF16},
                                                {"F16", DType::kF16},
                                                {"I8", DType::kI8},
                                                {"U8", DType::kU8},
                                                {"I32", DType::kI32},
                                                {"I64", DType::kI64},
                                                {"F8_E4M3", DType::kF8E4M3},
                                                {"F64", {}},
                                                {"I16", {}},
                                                {"U16", {}},
                                                {"U32", {}},
                                                {"U64", {}},
                                                {"BOOL", {}},
                                                {"F8_E5M2", {}},
                                                {"F8_E8M0", {}}}};

Error invalid(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

Result<DType> parse_dtype(std::string_view name) {
  for (const DTypeName& known : kDTypes) {
    if (known.name != name) continue;
    if (known.dtype) return *known.dtype;
    return Error{ErrorCode::kUnsupported, "dtype " + in_quotes(name) + " is not supported"};
  }
  return invalid("unknown dtype " + in_quotes(name));
}

// `data` is the part of the file behind the header.
Result<TensorView> resolve(HeaderEntry entry, std::span<const std::byte> data) {
  if (!entry.dtype) return invalid("\"dtype\" is missing");
  if (!entry.shape) return invalid("\"shape\" is missing");
  if (!entry.data_offsets) return invalid("\"data_offsets\" is missing");
  ASSIGN_OR_RETURN(const DType dtype, parse_dtype(*entry.dtype));
  ASSIGN_OR_RETURN(const int64_t elements, num_elements(*entry.shape));
  const std::vector<int64_t>& offsets = *entry.data_offsets;
  if (offsets.size() != 2)
    return invalid("\"data_offsets\" must be two numbers, not " + std::to_string(offsets.size()));
  const std::string offsets_text = "data_offsets " + shape_text(offsets);
  if (offsets[0] > offsets[1]) return invalid(offsets_text + " end before they begin");
  if (static_cast<uint64_t>(offsets[1]) > data.size()) {
    return invalid(offsets_text + " reach beyond the file's " + std::to_string(data.size()) + " bytes of data");
  }
  const int64_t bytes = offsets[1] - offsets[0];
  int64_t expected = 0;
  if (__builtin_mul_overflow(elements, static_cast<int64_t>(dtype_bytes(dtype)), &expected) || expected != bytes) {
    return invalid("shape " + shape_text(*entry.shape) + " of " + *entry.dtype + " does not fit " + offsets_text +
                   " (" + std::to_string(bytes) + " bytes)");
  }
  return TensorView{.name = std::move(entry.name),
                    .dtype = dtype,
                    .shape = *std::move(entry.shape),
                    .bytes = data.subspan(static_cast<size_t>(offsets[0]), static_cast<size_t>(bytes))};
}

// The tensors, sorted by position, must cover `data` exactly.
Status check_coverage(const std::vector<TensorView>& tensors, std::span<const std::byte> data) {
  const std::byte* end = data.data();
  const TensorView* before = nullptr;
  for (const TensorView& tensor : tensors) {
    const auto gap = tensor.bytes.data() - end;
    if (gap < 0) return invalid("tensor " + in_quotes(tensor.name) + " overlaps tensor " + in_quotes(before->name));
    if (gap > 0) {
      return invalid(std::to_string(gap) + " bytes before tensor " + in_quotes(tensor.name) + " belong to no tensor");
    }
    end = tensor.bytes.data() + tensor.bytes.size();
    before = &tensor;
  }
  const auto rest = data.data() + data.size() - end;
  if (rest > 0) return invalid(std::to_string(rest) + " bytes at the end belong to no tensor");
  return {};
}

Result<std::vector<TensorView>> parse(std::span<const std::byte> file) {
  if (file.size() < 8)
    return invalid("the file is " + std::to_string(file.size()) + " bytes long, too short for a header");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), 8);
  if (header_bytes > kMaxHeaderBytes) {
    return invalid("the header claims " + std::to_string(header_bytes) + " bytes, more than the limit of " +
                   std::to_string(kMaxHeaderBytes));
  }
  if (header_bytes > file.size() - 8) {
    return invalid("the header claims " + std::to_string(header_bytes) + " bytes, but the file ends after " +
                   std::to_string(file.size() - 8));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, header_bytes);
  ASSIGN_OR_RETURN(std::vector<HeaderEntry> entries, parse_safetensors_header(text));
  const auto data = file.subspan(8 + header_bytes);

  std::vector<TensorView> tensors;
  tensors.reserve(entries.size());
  for (HeaderEntry& entry : entries) {
    const std::string name = entry.name;
    auto tensor = resolve(std::move(entry), data);
    if (!tensor) return std::move(tensor).error().in("tensor " + in_quotes(name));
    tensors.push_back(*std::move(tensor));
  }
  std::unordered_set<std::string_view> names;
  for (const TensorView& tensor : tensors) {
    if (!names.insert(tensor.name).second) return invalid("tensor " + in_quotes(tensor.name) + " is defined twice");
  }
  // Empty tensors sort before the one that begins where they stand, so that they do not look like overlaps.
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  RETURN_IF_ERROR(check_coverage(tensors, data));
  return tensors;
}

}  // namespace

Result<std::vector<TensorView>> parse_safetensors(std::span<const std::byte> file, std::string_view file_name) {
  auto tensors = parse(file);
  if (!tensors) return std::move(tensors).error().in(file_name);
  return tensors;
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t extent : shape) {
    if (text.size() > 1) text += ',';
    text += std::to_string(extent);
  }
  return text + "]";
}

Result<int64_t> num_elements(std::span<const int64_t> shape) {
  int64_t product = 1;
  for (const int64_t extent : shape) {
    if (__builtin_mul_overflow(product, extent, &product)) {
      return Error{ErrorCode::kTooLarge, "shape " + shape_text(shape) + " overflows"};
    }
  }
  return product;
}

}  // namespace glimpse
