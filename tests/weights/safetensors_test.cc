#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include "tests/weights/fixtures.h"

namespace glimpse {
namespace {

TEST(Safetensors, ReadsWhatTheFormatAllows) {
  // Data order differs from header order; a scalar, an empty tensor, escapes in a name, padding behind the JSON.
  const std::string file = safetensors_file(R"({"__metadata__":{"format":"pt","note":"\u00e9\n"},)"
                                            R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},)"
                                            R"("a\u0062":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]},)"
                                            R"("empty":{"data_offsets":[8,8],"dtype":"F16","shape":[0,5]},)"
                                            R"("scalar":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}    )",
                                            std::string(40, 'x'));
  const auto tensors = parse_safetensors(as_bytes(file), "f");
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 4U);
  EXPECT_EQ((*tensors)[0].name, "ab");
  EXPECT_EQ((*tensors)[0].dtype, DType::kBF16);
  EXPECT_EQ((*tensors)[0].bytes.size(), 8U);
  EXPECT_EQ((*tensors)[1].name, "empty");
  EXPECT_EQ((*tensors)[1].bytes.size(), 0U);
  EXPECT_EQ((*tensors)[2].name, "b");
  EXPECT_EQ((*tensors)[2].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ((*tensors)[2].bytes.data(), as_bytes(file).data() + file.size() - 32);
  EXPECT_EQ((*tensors)[3].name, "scalar");
  EXPECT_TRUE((*tensors)[3].shape.empty());
}

TEST(Safetensors, ReadsAFileWithoutTensors) {
  const auto tensors = parse_safetensors(as_bytes(safetensors_file("{}", "")), "f");
  ASSERT_TRUE(tensors);
  EXPECT_TRUE(tensors->empty());
}

struct BadFile {
  const char* name;
  std::string file;
  const char* expected;  // a part of the message that names field and reason
  ErrorCode code = ErrorCode::kInvalidData;
};

std::string one(const std::string& entry, size_t data_bytes = 8) {
  return safetensors_file(R"({"w":)" + entry + "}", std::string(data_bytes, '\0'));
}

std::string claims(uint64_t header_bytes, const std::string& rest) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &header_bytes, 8);
  return file + rest;
}

std::vector<BadFile> bad_files() {
  const std::string ok = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  return {
      {"empty", "", "0 bytes long, too short"},
      {"seven_bytes", "1234567", "7 bytes long, too short"},
      {"header_beyond_file", claims(3, "{}"), "claims 3 bytes, but the file ends after 2"},
      {"header_beyond_limit", claims(100'000'001, "{}"), "claims 100000001 bytes, more than the limit"},
      {"header_overflows", claims(~uint64_t{0}, "{}"), "claims 18446744073709551615 bytes"},
      {"header_length_zero", claims(0, "{}"), "not valid JSON"},
      {"not_json", safetensors_file("{\"w\":", ""), "not valid JSON at byte 5"},
      {"trailing_text", safetensors_file("{} x", ""), "not valid JSON at byte 3"},
      {"broken_utf8", safetensors_file("{\"\xff\":{}}", ""), "not valid JSON"},
      {"array", safetensors_file("[]", ""), "the header must not be an array"},
      {"entry_not_object", one("3"), "tensor \"w\" must not be a number"},
      {"metadata_not_object", safetensors_file(R"({"__metadata__":[1]})", ""), "\"__metadata__\" must not be an array"},
      {"metadata_not_strings", safetensors_file(R"({"__metadata__":{"a":1}})", ""), "\"__metadata__\": \"a\" must not"},
      {"metadata_nested", safetensors_file(R"({"__metadata__":{"a":{}}})", ""), "must not be an object"},
      {"deep", safetensors_file(R"({"w":{"shape":[[[[[[1]]]]]]}})", ""), "\"shape\" must not be an array"},
      {"unknown_field", one(R"({"dtype":"F32","colour":1})"), "\"colour\" is not a field"},
      {"no_dtype", one(R"({"shape":[2],"data_offsets":[0,8]})"), "tensor \"w\": \"dtype\" is missing"},
      {"no_shape", one(R"({"dtype":"F32","data_offsets":[0,8]})"), "\"shape\" is missing"},
      {"no_offsets", one(R"({"dtype":"F32","shape":[2]})"), "\"data_offsets\" is missing"},
      {"shape_twice", one(R"({"shape":[1],"shape":[2]})"), "\"shape\" is given twice"},
      {"dtype_twice", one(R"({"dtype":"F32","dtype":"F16"})"), "\"dtype\" is given twice"},
      {"dtype_unknown", one(R"({"dtype":"Q4","shape":[2],"data_offsets":[0,8]})"), "unknown dtype \"Q4\""},
      {"dtype_unsupported", one(R"({"dtype":"F64","shape":[1],"data_offsets":[0,8]})"),
       "tensor \"w\": dtype \"F64\" is not supported", ErrorCode::kUnsupported},
      {"dtype_number", one(R"({"dtype":1})"), "\"dtype\" must not be a number"},
      {"dtype_null", one(R"({"dtype":null})"), "\"dtype\" must not be null"},
      {"shape_negative", one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "holds -2, which is negative"},
      {"shape_fraction", one(R"({"dtype":"F32","shape":[2.5],"data_offsets":[0,8]})"), "not a whole one"},
      {"shape_beyond_int64", one(R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]})"),
       "9223372036854775808, which is too large"},
      {"shape_overflows", one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})"),
       "shape [4294967296,4294967296] overflows", ErrorCode::kTooLarge},
      {"bytes_overflow", one(R"({"dtype":"I64","shape":[2305843009213693952],"data_offsets":[0,8]})"),
       "does not fit data_offsets [0,8] (8 bytes)"},
      {"shape_rank", one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})"),
       "\"shape\" has more than 8 numbers"},
      {"shape_does_not_fit", one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
       "shape [3] of F32 does not fit data_offsets [0,8]"},
      {"zero_shape_with_bytes", one(R"({"dtype":"F32","shape":[0],"data_offsets":[0,8]})"), "shape [0] of F32"},
      {"empty_offsets_with_shape", one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,8]})"), "(0 bytes)"},
      {"offsets_one", one(R"({"dtype":"F32","shape":[2],"data_offsets":[8]})"), "must be two numbers, not 1"},
      {"offsets_three", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,8]})"), "must be two numbers, not 3"},
      {"offsets_negative", one(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})"), "holds -8"},
      {"offsets_reversed", one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), "end before they begin"},
      {"offsets_beyond_file", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 7),
       "reach beyond the file's 7 bytes"},
      {"offsets_huge", one(R"({"dtype":"F32","shape":[2],"data_offsets":[9223372036854775799,9223372036854775807]})"),
       "reach beyond"},
      {"offsets_float", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,1e300]})"), "not a whole one"},
      {"overlap",
       safetensors_file(R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},)"
                        R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                        std::string(8, '\0')),
       "tensor \"b\" overlaps tensor \"a\""},
      {"same_range",
       safetensors_file(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                        R"("b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
                        std::string(8, '\0')),
       "tensor \"b\" overlaps tensor \"a\""},
      {"hole",
       safetensors_file(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                        R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                        std::string(8, '\0')),
       "1 bytes before tensor \"b\" belong to no tensor"},
      {"rest", one(ok, 9), "1 bytes at the end belong to no tensor"},
      {"duplicate",
       safetensors_file(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                        R"("a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                        std::string(8, '\0')),
       "tensor \"a\" is defined twice"},
      {"name_with_newline", safetensors_file(R"({"a\nb":3})", ""), R"(tensor "a\x0ab" must not)"},
  };
}

TEST(Safetensors, RefusesBadFilesNamingFileAndReason) {
  for (const BadFile& bad : bad_files()) {
    SCOPED_TRACE(bad.name);
    // A copy of exactly the file's size, so that the sanitizer sees a read behind it.
    const std::vector<char> exact(bad.file.begin(), bad.file.end());
    const auto tensors = parse_safetensors(std::as_bytes(std::span(exact)), "dir/x.safetensors");
    ASSERT_FALSE(tensors);
    EXPECT_EQ(tensors.error().code, bad.code);
    EXPECT_TRUE(tensors.error().message.starts_with("dir/x.safetensors: ")) << tensors.error().message;
    EXPECT_NE(tensors.error().message.find(bad.expected), std::string::npos) << tensors.error().message;
    EXPECT_EQ(tensors.error().message.find('\n'), std::string::npos);
  }
}

TEST(Safetensors, RefusesEveryTruncation) {
  const std::string file = safetensors_file(R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},)"
                                            R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                                            std::string(8, '\1'));
  ASSERT_TRUE(parse_safetensors(as_bytes(file), "f"));
  for (size_t size = 0; size < file.size(); ++size) {
    const std::vector<char> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(parse_safetensors(std::as_bytes(std::span(cut)), "f")) << size;
  }
}

TEST(Safetensors, LongNamesAreCutInMessages) {
  const auto tensors = parse_safetensors(
      as_bytes(safetensors_file("{\"" + std::string(100'000, 'n') + "\":{\"dtype\":\"F32\"}}", "")), "f");
  ASSERT_FALSE(tensors);
  EXPECT_LT(tensors.error().message.size(), 300U);
}

}  // namespace
}  // namespace glimpse
