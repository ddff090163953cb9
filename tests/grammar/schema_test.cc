#include "grammar/schema_grammar.h"

#include "tests/grammar/json_check.h"
#include "tests/grammar/sampling.h"

namespace glimpse {
namespace {

const std::vector<std::string>& schemas() {
  static const std::vector<std::string> all = {
      R"({})",
      R"({"type":"object"})",
      R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"],"additionalProperties":false})",
      R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"number"},"c":{"type":"boolean"},"d":{"type":"null"}},"required":["c"]})",
      R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}}})",
      R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":4})",
      R"({"type":"array","items":{"type":"string","enum":["red","green \"x\"","蓝"]},"maxItems":3})",
      R"({"type":"array","maxItems":0})",
      R"({"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":false,"minItems":2,"maxItems":2})",
      R"({"type":"string","minLength":3,"maxLength":6})",
      R"({"type":"string","maxLength":2})",
      R"({"type":"string","minLength":2})",
      R"({"type":"string","pattern":"^[A-Z]{2}-\\d{3}$"})",
      R"({"type":"string","pattern":"b+c"})",
      R"({"type":"string","pattern":"^[\"\\\\\\n]{1,3}x$"})",
      R"({"type":"integer","minimum":-12,"maximum":347})",
      R"({"type":"integer","exclusiveMinimum":0})",
      R"({"type":"integer","minimum":1000000,"maximum":1000003})",
      R"({"type":"integer","maximum":-5})",
      R"({"type":"number","minimum":0,"maximum":1})",
      R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1})",
      R"({"type":"number","minimum":-2.5,"maximum":3.75})",
      R"({"type":"number","minimum":0.25,"maximum":0.75})",
      R"({"type":"number","exclusiveMinimum":10})",
      R"({"enum":[1,"two",null,true,[1,2],{"a":"b"}]})",
      R"({"type":["string","null"]})",
      R"({"type":["integer","boolean"],"minimum":3})",
      R"({"const":{"x":[1.5,"y"]}})",
      R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":3},{"type":"object","properties":{"k":{"const":"v"}},"required":["k"]}]})",
      R"({"oneOf":[{"type":"object","properties":{"kind":{"const":"a"},"x":{"type":"integer"}},"required":["kind","x"]},
                   {"type":"object","properties":{"kind":{"const":"b"},"y":{"type":"boolean"}},"required":["kind"]}]})",
      R"({"allOf":[{"$ref":"#/$defs/Base"},{"type":"object","properties":{"b":{"type":"integer","minimum":0,"maximum":9}},"required":["b"]}],
          "$defs":{"Base":{"type":"object","properties":{"a":{"type":"string","maxLength":4}},"required":["a"]}}})",
      R"({"$ref":"#/$defs/Node","$defs":{"Node":{"type":"object","properties":{"v":{"type":"integer"},
          "children":{"type":"array","items":{"$ref":"#/$defs/Node"},"maxItems":2}},"required":["v"]}}})",
      R"({"type":"object","properties":{"self":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["self"]})",
      R"({"type":"object","additionalProperties":{"type":"integer"}})",
      R"({"type":"object","additionalProperties":{"type":"boolean"},"propertyNames":{"pattern":"^[a-c]{1,2}$"},"maxProperties":3})",
      R"({"type":"object","additionalProperties":false})",
      R"({"type":"object","properties":{"a b\"c":{"type":"integer"},"é":{"$ref":"#/definitions/x~1y"}},"required":["é"],"definitions":{"x/y":{"type":"boolean"}}})",
      R"({"title":"T","description":"d","type":"object","properties":{"when":{"type":"string","format":"date-time","title":"W"},
          "id":{"type":"string","format":"uuid","default":"x"}},"required":["when","id"]})",
      R"({"type":"object","properties":{"a":{"type":"string"}},"required":["a","extra"]})",
      R"({"type":"object","properties":{"matrix":{"type":"array","items":{"type":"array","items":{"type":"number"},"minItems":1,"maxItems":2},"minItems":1,"maxItems":2}},"required":["matrix"]})",
  };
  return all;
}

// The main promise: whatever is drawn, at the stop token it is JSON and satisfies the schema.
TEST(Schema, DrawnTextsValidate) {
  std::mt19937_64 random(11);
  for (const std::string& text : schemas()) {
    const json::value schema = json::parse(text);
    int ended = 0;
    for (int i = 0; i < 25; ++i) {
      const auto drawn = draw(mask_of(schema_of(text)), random);
      if (!drawn) continue;
      ++ended;
      const auto value = parse_json(*drawn);
      ASSERT_TRUE(value) << text << "\n" << *drawn << "\n" << value.error().message;
      EXPECT_EQ(violation(schema, schema, *value), "") << text << "\n" << *drawn;
    }
    // Drawing blindly hardly ever meets a searched pattern; AdmitsWhatModelsWrite has that one.
    EXPECT_GT(ended, text.find("b+c") == std::string::npos ? 12 : -1) << text;
  }
}

TEST(Schema, AdmitsWhatModelsWrite) {
  const Constraint person = schema_of(
      R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}},"required":["name"]})");
  for (const char* text :
       {R"({"name": "Ann"})", R"({"name":"Ann","age":5})", R"({"name": "A\"\\\u00e9图", "tags": ["x", "y"]})",
        "{\n  \"name\": \"Ann\",\n  \"age\": 5,\n  \"tags\": [\n    \"a\"\n  ]\n}", R"({ "name": "Ann" })"}) {
    EXPECT_TRUE(matches(person, text)) << text;
  }
  for (const char* text : {R"({})", R"({"age":5})", R"({"name":5})", R"({"name":"A","other":1})", R"({"name":"A")",
                           R"({"name":"A"} )", R"({"name":"A\ud800"})", R"({"name":"A",})"}) {
    EXPECT_FALSE(matches(person, text)) << text;
  }
  const Constraint number = schema_of(R"({"type":"number"})");
  for (const char* text : {"0", "-1.5", "12e3", "1.5E-2"}) EXPECT_TRUE(matches(number, text)) << text;
  for (const char* text : {"01", "1.", ".5", "+1", "1e999", "NaN", "-"}) EXPECT_FALSE(matches(number, text)) << text;
  const Constraint searched = schema_of(R"({"type":"string","pattern":"b+c"})");
  EXPECT_TRUE(matches(searched, R"("a\nbbc\"")"));
  EXPECT_FALSE(matches(searched, R"("ab")"));
  EXPECT_TRUE(matches({.kind = Constraint::Kind::kJsonObject}, R"({"a": [1, {"b": null}], "c": "d"})"));
  EXPECT_FALSE(matches({.kind = Constraint::Kind::kJsonObject}, "[1]"));
}

TEST(Schema, IntegerRangesAreExact) {
  for (const auto& [low, high] :
       {std::pair{-12, 347}, {0, 0}, {-1, 1}, {99, 101}, {-1000, -998}, {7, 1234}, {10, 10}}) {
    const std::string schema =
        R"({"type":"integer","minimum":)" + std::to_string(low) + ",\"maximum\":" + std::to_string(high) + "}";
    for (int n = std::min(low, -20) - 2; n <= high + 12; n += (n > low + 30 && n < high - 30) ? 17 : 1) {
      EXPECT_EQ(matches(schema_of(schema), std::to_string(n)), low <= n && n <= high) << schema << " " << n;
    }
  }
}

TEST(Schema, RefusesByName) {
  const auto refused = [](const char* schema, const char* word) {
    const auto made = compile(schema_of(schema));
    ASSERT_FALSE(made) << schema;
    EXPECT_NE(made.error().message.find(word), std::string::npos) << schema << ": " << made.error().message;
  };
  refused(R"({"not":{"type":"string"}})", "not");
  refused(R"({"if":{}})", "if");
  refused(R"({"type":"object","patternProperties":{"a":{}}})", "patternProperties");
  refused(R"({"type":"array","uniqueItems":true})", "uniqueItems");
  refused(R"({"type":"integer","multipleOf":3})", "multipleOf");
  refused(R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "oneOf");
  refused(R"({"type":"text"})", "text");
  refused(R"({"$ref":"#"})", "itself");
  refused(R"({"anyOf":[{"$ref":"#"},{"$ref":"#"}]})", "itself");
  refused(R"({"$ref":"#/nowhere"})", "nothing");
  refused(R"({"$ref":"http://example.com/x"})", "$ref");
  refused(R"({"type":"object","properties":{"a":false},"required":["a"]})", "nothing can satisfy");
  refused(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "nothing can satisfy");
  refused(R"({"type":"integer","minimum":5,"maximum":4})", "minimum");
  refused(R"({"enum":[]})", "nothing can satisfy");
  refused(R"({"type":"string","minLength":5,"maxLength":2})", "minLength");
  refused(R"({"type":5})", "type");
  refused(R"({"properties":[]})", "properties");
  refused(R"({"anyOf":[]})", "anyOf");
  refused(R"({"type":"string","pattern":"(a)\\1"})", "back references");
  std::string patterns;  // each of them passes
  for (int i = 0; i < 500; ++i) patterns += "\"p" + std::to_string(i) + R"(":{"pattern":"(a|b)*a(a|b){11}"},)";
  refused(("{\"properties\":{" + patterns + "\"z\":true}}").c_str(), "too large");
  std::string branches;
  for (int i = 0; i < 10000; ++i) branches += R"({"type":"object","properties":{"p)" + std::to_string(i) + R"(":{}}},)";
  refused(("{\"anyOf\":[" + branches + "true]}").c_str(), "10001 branches");
}

TEST(Schema, TenThousandConstantsAreCheap) {
  std::string values;
  for (int i = 0; i < 10000; ++i) values += (i ? ",\"value" : "\"value") + std::to_string(i) + "\"";
  EXPECT_TRUE(matches(schema_of("{\"enum\":[" + values + "]}"), "\"value9999\""));
}

TEST(Schema, DeepRecursionInTheAnswer) {
  const auto mask =
      mask_of(schema_of(R"({"$ref":"#/$defs/L","$defs":{"L":{"type":"array","items":{"$ref":"#/$defs/L"}}}})"));
  const int32_t open = *mini_source().tokenizer.find_token("[");
  const int32_t close = *mini_source().tokenizer.find_token("]");
  for (int i = 0; i < 20000; ++i) {
    ASSERT_NE(mask->allowed()[static_cast<size_t>(open) / 64] >> (open % 64) & 1, 0U) << i;
    mask->accept(open);
  }
  for (int i = 0; i < 20000; ++i) {
    ASSERT_NE(mask->allowed()[static_cast<size_t>(close) / 64] >> (close % 64) & 1, 0U) << i;
    mask->accept(close);
  }
  EXPECT_NE(mask->allowed()[kStopId / 64] >> (kStopId % 64) & 1, 0U);
}

}  // namespace
}  // namespace glimpse
