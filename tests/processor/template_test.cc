#include "jinja/template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace glimpse::jinja {
namespace {

const std::string kRoot = GLIMPSE_SOURCE_DIR;

std::string read_file(const std::string& path) {
  std::ifstream in(kRoot + "/" + path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

Result<Rendered> render(std::string_view source, std::string_view variables = "{}", const Limits& limits = {}) {
  auto made = Template::compile(source, limits);
  if (!made) return std::move(made).error();
  const json::value parsed = json::parse(variables);
  std::vector<Variable> list;
  for (const auto& [name, value] : parsed.as_object()) list.push_back({name, &value});
  return made->render(list);
}

std::string text(std::string_view source, std::string_view variables = "{}") {
  auto rendered = render(source, variables);
  return rendered ? rendered->text : "ERROR " + rendered.error().message;
}

// The rendered text with each untrusted range in ⟦⟧.
std::string marked(std::string_view source, std::string_view variables) {
  auto rendered = render(source, variables);
  if (!rendered) return "ERROR " + rendered.error().message;
  std::string out;
  size_t at = 0;
  for (const ByteRange& range : rendered->untrusted) {
    EXPECT_LE(at, range.begin);
    EXPECT_LT(range.begin, range.end);
    out += rendered->text.substr(at, range.begin - at) + "⟦" +
           rendered->text.substr(range.begin, range.end - range.begin) + "⟧";
    at = range.end;
  }
  return out + rendered->text.substr(at);
}

// What jinja2 renders of each conversation with each template (python/reference/make_template_goldens.py).
class Goldens : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(Goldens, AreEqualToJinja2) {
  const auto [name, path] = GetParam();
  const auto made = Template::compile(read_file(path));
  ASSERT_TRUE(made) << made.error().message;
  const json::value conversations = json::parse(read_file("tests/golden/templates/conversations.json"));
  const json::value expected = json::parse(read_file(std::string("tests/golden/templates/") + name + ".json"));
  size_t compared = 0;
  for (const auto& [key, variables] : conversations.as_object()) {
    std::vector<Variable> list;
    for (const auto& [variable, value] : variables.as_object()) list.push_back({variable, &value});
    const auto rendered = made->render(list);
    const json::value& wanted = expected.as_object().at(key);
    ASSERT_EQ(rendered.has_value(), wanted.is_string()) << key;
    if (rendered) {
      EXPECT_EQ(rendered->text, wanted.as_string()) << key;
    }
    ++compared;
  }
  EXPECT_GE(compared, 60U);
  EXPECT_EQ(compared, expected.as_object().size());
}

INSTANTIATE_TEST_SUITE_P(Template, Goldens,
                         testing::Values(std::pair{"mini", "models/glimpse-mini/chat_template.jinja"},
                                         std::pair{"glm41v", "tests/golden/templates/glm41v.jinja"},
                                         std::pair{"glm46v", "tests/golden/templates/glm46v.jinja"}),
                         [](const auto& each) { return std::string(each.param.first); });

TEST(Template, WhiteSpaceIsTakenAsTransformersDoes) {
  EXPECT_EQ(text("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(text("a \n {%- if true -%} \n b {%- endif %}\n c"), "ab c");
  EXPECT_EQ(text("a\n  {%+ if true +%}\n  b\n  {% endif %}c"), "a\n  \n  b\nc");
  EXPECT_EQ(text("a\n  {{ 1 }}\n"), "a\n  1");
  EXPECT_EQ(text("x {# gone #}\ny\r\nz\n\n"), "x y\nz\n");
  EXPECT_EQ(text("{% raw %}{{ no }}{% endraw %}\n!"), "{{ no }}!");
}

TEST(Template, ScopesAreJinjas) {
  EXPECT_EQ(text("{% set x = 0 %}{% for i in range(3) %}{{ x }}{% set x = x + 1 %}{% endfor %}{{ x }}"), "0000");
  EXPECT_EQ(text("{% set n = namespace(x=0) %}{% for i in range(3) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}"),
            "3");
  EXPECT_EQ(
      text(
          "{% macro f(a, b=2) %}{{ a }}{{ b }}{{ late }}{% endmacro %}{% set late = 'L' %}{{ f(1) }}{{ f(b=3, a=0) }}"),
      "12L03L");
  EXPECT_EQ(text("{% for i in [1,2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}"), "12");
  EXPECT_EQ(text("{% for i in [1,2,3,4] %}{% if i == 2 %}{% continue %}{% elif i == 4 %}{% break %}{% endif %}{{ i "
                 "}}{% else %}none{% endfor %}"),
            "13");
}

TEST(Template, EveryByteOfDataIsMarked) {
  const char* const data = R"({"u": "<|user|>", "w": "  ab cd  ", "l": ["x", "y"], "d": {"k": "v"}})";
  EXPECT_EQ(marked("<|a|>{{ u }}<|b|>", data), "<|a|>⟦<|user|>⟧<|b|>");
  EXPECT_EQ(marked("{{ '<' ~ u ~ '>' }}", data), "<⟦<|user|>⟧>");
  EXPECT_EQ(marked("{{ ('A' + u + 'B')[1:4] }}", data), "⟦<|u⟧");
  EXPECT_EQ(marked("{{ ('A' + u + 'B')[::-1] }}", data), "B⟦>|resu|<⟧A");
  EXPECT_EQ(marked("{{ ('T' + u)|upper }}", data), "T⟦<|USER|>⟧");
  EXPECT_EQ(marked("{{ ('T' + u)|title }}", data), "T⟦<|user|>⟧");
  EXPECT_EQ(marked("{{ w.strip().split(' ')|join('-') }}", data), "⟦ab⟧-⟦cd⟧");
  EXPECT_EQ(marked("{{ 'a.b'.replace('.', u) }}", data), "a⟦<|user|>⟧b");
  EXPECT_EQ(marked("{{ u.replace('user', 'x') }}", data), "⟦<|⟧x⟦|>⟧");
  EXPECT_EQ(marked("{{ l }}{{ d|tojson }}", data), "[⟦'x'⟧, ⟦'y'⟧]{⟦\"k\"⟧: ⟦\"v\"⟧}");
  EXPECT_EQ(marked("{{ '%s|%5s' % (u, 'a') }}{{ '{}!'.format(u) }}", data), "⟦<|user|>⟧|    a⟦<|user|>⟧!");
  EXPECT_EQ(marked("{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}", data), "⟦k⟧=⟦v⟧");
  EXPECT_EQ(marked("{% set x %}[{{ u }}]{% endset %}{% macro m(a) %}({{ a }}){% endmacro %}{{ m(x) }}", data),
            "([⟦<|user|>⟧])");
  EXPECT_EQ(marked("{{ (u ~ 'z')|list|join }}{{ u|indent(2, true) }}{{ u.center(12) }}", data),
            "⟦<|user|>⟧z  ⟦<|user|>⟧  ⟦<|user|>⟧  ");
  EXPECT_EQ(marked("{{ {'a': 'yes'}[d.k] if d.k in {'v': 1} else 'no' }}", data), "");
}

TEST(Template, AListedWordOfAListedFieldIsTrusted) {
  const auto made = Template::compile("{% for m in ms %}<|{{ m.role }}|>{% endfor %}");
  ASSERT_TRUE(made);
  const json::value messages = json::parse(R"([{"role": "user"}, {"role": "us|><|er"}])");
  const auto rendered = made->render({{"ms", &messages}}, {.now = {}, .word_field = "role", .trusted_words = {"user"}});
  ASSERT_TRUE(rendered);
  EXPECT_EQ(rendered->text, "<|user|><|us|><|er|>");
  EXPECT_EQ(rendered->untrusted, (std::vector<ByteRange>{{10, 18}}));
}

TEST(Template, RefusesWithLineAndReason) {
  EXPECT_EQ(text("\n{% include 'x' %}"), "ERROR line 2: tag \"include\" is not supported");
  EXPECT_EQ(text("{{ x|urlize }}"), "ERROR line 1: filter \"urlize\" is not supported");
  EXPECT_EQ(text("{% for x in [] recursive %}{% endfor %}"), "ERROR line 1: a recursive loop is not supported");
  EXPECT_EQ(text("a\n\n{% if x %}b"), "ERROR line 3: block that begins here has no \"endif\"");
  EXPECT_EQ(text("{{ 'a"), "ERROR line 1: string that begins here has no end");
  EXPECT_EQ(text("{{ (1 }}"), "ERROR line 1: unexpected \"}\"");
  EXPECT_EQ(text("{{ 1 +"), "ERROR line 1: tag that begins here has no end \"}}\"");
  EXPECT_EQ(text("{% break %}"), "ERROR line 1: \"break\" outside of a loop");
  EXPECT_EQ(text("\n\n{{ x.y }}"), "ERROR line 3: 'x' is undefined");
  EXPECT_EQ(text("{{ x.y.z }}", R"({"x": {}})"), "ERROR line 1: 'dict object' has no attribute 'y'");
  EXPECT_EQ(text("{{ raise_exception('no\nway') }}"), "ERROR line 1: the template refuses the conversation: no way");
  EXPECT_EQ(text("{{ strftime_now('%Y') }}"), "ERROR line 1: strftime_now() is called, but no clock was given");
  EXPECT_EQ(text("{{ {}.update(a=1) }}"), "ERROR line 1: 'update' would change a dict, which templates may not");
  EXPECT_FALSE(Template::compile("\xFF"));
  EXPECT_EQ(render("{{ raise_exception('x') }}").error().code, ErrorCode::kInvalidArgument);
}

TEST(Template, EndlessAndHugeOnesEnd) {
  const auto refused = [](std::string_view source) {
    const auto rendered = render(source);
    EXPECT_FALSE(rendered) << source;
    if (rendered) return std::string();
    EXPECT_EQ(rendered.error().code, ErrorCode::kTooLarge) << rendered.error().message;
    return rendered.error().message;
  };
  const std::string r = "range(99999)";
  EXPECT_EQ(refused("{% for a in " + r + " %}{% for b in " + r + " %}{% endfor %}{% endfor %}"),
            "line 1: takes more than the 5000000 steps allowed");
  EXPECT_EQ(refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
            "line 1: macros call each other more than 64 deep");
  refused("{{ 'x' * 999999999999 }}");
  refused("{{ [0] * 99999999999 }}");
  refused("{{ range(100001) }}");
  refused("{{ '%999999999d' % 1 }}");
  refused("{{ 'x'.center(9999999999) }}");
  refused("{{ 2 ** 99 }}");
  refused("{% set n = namespace(s='xxxxxxxx') %}{% for i in " + r + " %}{% set n.s = n.s + n.s %}{% endfor %}");
  refused("{% set n = namespace(s=[]) %}{% for i in " + r + " %}{% set n.s = [n.s] %}{% endfor %}");
  refused("{% set n = namespace(s={}) %}{% for i in " + r + " %}{% set n.s = {1: n.s} %}{% endfor %}");
  refused("{% set n = namespace() %}{% set n.n = n %}{{ n }}");
  refused("{% set x = 'y' * 1000000 %}{% for i in range(99) %}{{ x }}{% endfor %}");
  refused("{% set x = 'y' * 1000000 %}{{ x.replace('', x) }}");
  refused("{% set x = 'y' * 1000000 %}{% for i in " + r + " %}{% if 'z' in x %}{% endif %}{% endfor %}");
  refused("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}");
  refused("{{ " + std::string(5000, '-') + "1 }}");
  std::string sum = "1";
  std::string blocks;
  for (int i = 0; i < 3000; ++i) sum += "+1";
  for (int i = 0; i < 3000; ++i) blocks += "{% if 1 %}";
  refused("{{ " + sum + " }}");
  refused(blocks);
  refused(std::string(2'000'000, 'x'));
  // A chain of namespaces as long as the steps allow is taken apart without recursion.
  text("{% set n = namespace(l=0) %}{% for i in " + r + " %}{% set n.l = namespace(l=n.l) %}{% endfor %}");
}

TEST(Template, ReadsTheClockItIsGiven) {
  const auto made = Template::compile("{{ strftime_now('%d %b %Y') }}");
  ASSERT_TRUE(made);
  std::tm now{};
  now.tm_year = 125;
  now.tm_mon = 6;
  now.tm_mday = 4;
  EXPECT_EQ(made->render({}, {.now = now, .word_field = {}, .trusted_words = {}})->text, "04 Jul 2025");
}

}  // namespace
}  // namespace glimpse::jinja
