#include "base/json.h"

#include <gtest/gtest.h>

#include <limits>

namespace glimpse {
namespace {

TEST(Json, ParsesAndReadsTypedFields) {
  const auto document = parse_json(R"({"a": 3, "b": 1.5, "c": true, "d": "x", "e": null, "f": 4.0})");
  ASSERT_TRUE(document);
  const auto& object = document->as_object();
  EXPECT_EQ(*get_int(object, "a", 0), 3);
  EXPECT_EQ(*get_int(object, "f", 0), 4);
  EXPECT_EQ(*get_int(object, "e", 9), 9);
  EXPECT_EQ(*get_int(object, "missing", 8), 8);
  EXPECT_DOUBLE_EQ(*get_double(object, "b", 0), 1.5);
  EXPECT_TRUE(*get_bool(object, "c", false));
  EXPECT_EQ(*get_string(object, "d", ""), "x");
}

TEST(Json, WrongTypesNameTheField) {
  const auto document = parse_json(R"({"a": "three", "b": 1.5})");
  ASSERT_TRUE(document);
  const auto failed = get_int(document->as_object(), "a", 0);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "field \"a\" must be an integer, not \"three\"");
  EXPECT_FALSE(get_int(document->as_object(), "b", 0));
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "{\"a\": NaN}", "[1,]", "{} {}", "\"\xff\""}) {
    EXPECT_FALSE(parse_json(text)) << text;
  }
  const std::string deep = std::string(65, '[') + std::string(65, ']');
  EXPECT_FALSE(parse_json(deep));
}

TEST(Json, TextIsJsonWithPlainNumbers) {
  const json::value value = {{"ms", 417.378}, {"list", {1, -2.5, nullptr, true, "a\"b\n"}}, {"none", json::object{}}};
  const std::string text = to_text(value);
  EXPECT_EQ(text, R"({"ms":417.378,"list":[1,-2.5,null,true,"a\"b\n"],"none":{}})");
  EXPECT_EQ(*parse_json(text), value);
  EXPECT_EQ(to_text(json::value(std::numeric_limits<double>::infinity())), "null");
}

}  // namespace
}  // namespace glimpse
