#include "grammar/regex.h"

#include <algorithm>
#include <memory>

#include "base/quote.h"
#include "grammar/code_points.h"
#include "tokenizer/unicode.h"

namespace glimpse {

namespace {

constexpr size_t kMaxPatternBytes = 4096;
constexpr int kMaxNesting = 64;
constexpr uint32_t kMaxRepeat = 1000;

struct Node {
  enum class Kind { kEmpty, kSet, kSequence, kEither, kRepeat };
  Kind kind = Kind::kEmpty;
  CodePointSet set;
  std::vector<std::unique_ptr<Node>> parts;
  uint32_t least = 0;
  uint32_t most = 0;
  bool unbounded = false;
};
using NodePtr = std::unique_ptr<Node>;

NodePtr make_node(Node::Kind kind) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  return node;
}

NodePtr set_node(CodePointSet set) {
  NodePtr node = make_node(Node::Kind::kSet);
  node->set = std::move(set);
  return node;
}

CodePointSet word_set() {
  CodePointSet set = CodePointSet::of('a', 'z');
  set.add('A', 'Z');
  set.add('0', '9');
  set.add('_', '_');
  return set;
}

CodePointSet space_set() {
  CodePointSet set = CodePointSet::of('\t', '\r');
  set.add(' ', ' ');
  return set;
}

class Parser {
 public:
  explicit Parser(std::string_view pattern) : pattern_(pattern) {}

  // The whole expression; where it is anchored.
  Result<NodePtr> parse(bool& at_begin, bool& at_end) {
    if (pattern_.size() > kMaxPatternBytes) {
      return Error{ErrorCode::kTooLarge, "the regular expression has " + std::to_string(pattern_.size()) +
                                             " bytes, at most " + std::to_string(kMaxPatternBytes) + " are allowed"};
    }
    if (take("^") || take("\\A")) at_begin = true;
    ASSIGN_OR_RETURN(NodePtr node, either(0));
    if (at_ < pattern_.size()) return bad("has a ) too many");
    at_end = ends_anchored_;
    // "^a|b$" anchors one branch each: no common ground with "the whole text".
    if ((at_begin || at_end) && node->kind == Node::Kind::kEither) {
      return unsupported("^ or $ beside | (write ^(?:a|b)$)");
    }
    return node;
  }

 private:
  bool at_end() const { return at_ >= pattern_.size(); }
  char peek() const { return pattern_[at_]; }
  bool take(std::string_view text) {
    if (!pattern_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }

  Error bad(std::string_view why) const {
    return {ErrorCode::kInvalidArgument, "the regular expression " + in_quotes(pattern_, 80) + " " + std::string(why)};
  }
  Error unsupported(std::string_view what) const {
    return {ErrorCode::kUnsupported,
            "the regular expression " + in_quotes(pattern_, 80) + " uses what is not supported: " + std::string(what)};
  }

  Result<NodePtr> either(int depth) {
    if (depth > kMaxNesting) return Error{ErrorCode::kTooLarge, "the regular expression is nested too deeply"};
    ASSIGN_OR_RETURN(NodePtr first, sequence(depth));
    if (at_end() || peek() != '|') return first;
    NodePtr node = make_node(Node::Kind::kEither);
    node->parts.push_back(std::move(first));
    while (take("|")) {
      ASSIGN_OR_RETURN(NodePtr next, sequence(depth));
      node->parts.push_back(std::move(next));
    }
    return node;
  }

  Result<NodePtr> sequence(int depth) {
    NodePtr node = make_node(Node::Kind::kSequence);
    while (!at_end() && peek() != '|' && peek() != ')') {
      if (depth == 0 &&
          (pattern_.substr(at_) == "$" || pattern_.substr(at_) == "\\Z" || pattern_.substr(at_) == "\\z")) {
        at_ = pattern_.size();
        ends_anchored_ = true;
        break;
      }
      ASSIGN_OR_RETURN(NodePtr part, atom(depth));
      ASSIGN_OR_RETURN(part, repeated(std::move(part)));
      node->parts.push_back(std::move(part));
    }
    return node;
  }

  Result<NodePtr> repeated(NodePtr part) {
    while (!at_end()) {
      uint32_t least = 0;
      uint32_t most = 0;
      bool unbounded = false;
      if (take("*")) {
        unbounded = true;
      } else if (take("+")) {
        least = 1;
        unbounded = true;
      } else if (take("?")) {
        most = 1;
      } else if (peek() == '{') {
        const size_t before = at_;
        if (!counts(least, most, unbounded)) {
          at_ = before;
          return bad("has a { that begins no repetition (write \\{)");
        }
      } else {
        break;
      }
      if (least > kMaxRepeat || (!unbounded && (most > kMaxRepeat || most < least))) {
        return bad("has a repetition out of range: at most " + std::to_string(kMaxRepeat));
      }
      if (take("+")) return unsupported("possessive repetition");
      take("?");
      NodePtr node = make_node(Node::Kind::kRepeat);
      node->least = least;
      node->most = most;
      node->unbounded = unbounded;
      node->parts.push_back(std::move(part));
      part = std::move(node);
    }
    return part;
  }

  bool number(uint32_t& out) {
    const size_t begin = at_;
    out = 0;
    while (!at_end() && peek() >= '0' && peek() <= '9' && at_ - begin < 6)
      out = out * 10 + static_cast<uint32_t>(pattern_[at_++] - '0');
    return at_ > begin;
  }

  bool counts(uint32_t& least, uint32_t& most, bool& unbounded) {
    take("{");
    const bool has_least = number(least);
    if (take("}")) {
      most = least;
      return has_least;
    }
    if (!take(",")) return false;
    if (take("}")) {
      unbounded = true;
      return has_least;
    }
    return number(most) && take("}");
  }

  Result<NodePtr> atom(int depth) {
    if (take("(")) return group(depth);
    if (take("[")) return char_class();
    if (take(".")) {
      CodePointSet set = CodePointSet::all();
      set.remove('\n', '\n');
      return set_node(std::move(set));
    }
    if (take("\\")) {
      ASSIGN_OR_RETURN(CodePointSet set, escape());
      return set_node(std::move(set));
    }
    const char c = peek();
    if (c == '*' || c == '+' || c == '?') return bad("repeats nothing");
    if (c == '^' || c == '$') return unsupported("^ or $ inside the expression");
    ASSIGN_OR_RETURN(const uint32_t code_point, literal());
    return set_node(CodePointSet::of(code_point, code_point));
  }

  Result<uint32_t> literal() {
    const DecodedChar c = decode_utf8(pattern_.data() + at_, pattern_.data() + pattern_.size());
    if (c.code_point == kInvalidByte) return bad("is not UTF-8");
    at_ += c.size;
    return c.code_point;
  }

  Result<NodePtr> group(int depth) {
    if (take("?")) {
      if (take("P<") || (pattern_.substr(at_).starts_with("<") && !pattern_.substr(at_).starts_with("<=") &&
                         !pattern_.substr(at_).starts_with("<!"))) {
        const size_t end = pattern_.find('>', at_);
        if (end == std::string_view::npos) return bad("has a group name without an end");
        at_ = end + 1;
      } else if (!take(":")) {
        return unsupported("(?" + std::string(pattern_.substr(at_, 2)) + "…)");
      }
    }
    ASSIGN_OR_RETURN(NodePtr node, either(depth + 1));
    if (!take(")")) return bad("lacks a )");
    return node;
  }

  Result<uint32_t> hex(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = at_end() ? ' ' : pattern_[at_++];
      const size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
      if (digit == std::string_view::npos || (c < '0')) return bad("has a broken hexadecimal escape");
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    return value;
  }

  // Behind a backslash: the set it stands for.
  Result<CodePointSet> escape() {
    if (at_end()) return bad("ends in a backslash");
    const auto one = [](uint32_t c) { return CodePointSet::of(c, c); };
    const char c = peek();
    if (static_cast<unsigned char>(c) >= 0x80) {
      ASSIGN_OR_RETURN(const uint32_t code_point, literal());
      return one(code_point);
    }
    ++at_;
    switch (c) {
      case 'd':
        return CodePointSet::of('0', '9');
      case 'D':
        return CodePointSet::of('0', '9').complement();
      case 'w':
        return word_set();
      case 'W':
        return word_set().complement();
      case 's':
        return space_set();
      case 'S':
        return space_set().complement();
      case 't':
        return one('\t');
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case '0':
        return one(0);
      case 'x':
      case 'u': {
        if (take("{")) {
          const size_t end = pattern_.find('}', at_);
          if (end == std::string_view::npos || end == at_ || end - at_ > 6) return bad("has a broken \\x{…} escape");
          ASSIGN_OR_RETURN(const uint32_t value, hex(static_cast<int>(end - at_)));
          ++at_;
          return one(value);
        }
        ASSIGN_OR_RETURN(const uint32_t value, hex(c == 'x' ? 2 : 4));
        return one(value);
      }
      default:
        break;
    }
    if ((c >= '1' && c <= '9') || c == 'k') return unsupported("back references");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return unsupported("\\" + std::string(1, c));
    return one(static_cast<uint32_t>(c));
  }

  Result<NodePtr> char_class() {
    const bool negated = take("^");
    CodePointSet set;
    bool first = true;
    while (true) {
      if (at_end()) return bad("lacks a ]");
      if (!first && take("]")) break;
      first = false;
      if (pattern_.substr(at_).starts_with("[:")) return unsupported("[:…:] classes");
      ASSIGN_OR_RETURN(CodePointSet low, class_item());
      const bool single = low.ranges().size() == 1 && low.ranges()[0].first == low.ranges()[0].second;
      if (single && pattern_.substr(at_).size() > 1 && peek() == '-' && pattern_[at_ + 1] != ']') {
        ++at_;
        ASSIGN_OR_RETURN(const CodePointSet high, class_item());
        if (high.ranges().size() != 1 || high.ranges()[0].first != high.ranges()[0].second ||
            high.ranges()[0].first < low.ranges()[0].first) {
          return bad("has a class with a range that is none");
        }
        low = CodePointSet::of(low.ranges()[0].first, high.ranges()[0].first);
      }
      set.add(low);
    }
    return set_node(negated ? set.complement() : std::move(set));
  }

  Result<CodePointSet> class_item() {
    if (take("\\b")) return CodePointSet::of('\b', '\b');
    if (take("\\")) return escape();
    if (at_end()) return bad("lacks a ]");
    ASSIGN_OR_RETURN(const uint32_t code_point, literal());
    return CodePointSet::of(code_point, code_point);
  }

  const std::string_view pattern_;
  size_t at_ = 0;
  bool ends_anchored_ = false;
};

class Emitter {
 public:
  Emitter(Nfa& nfa, RegexText text) : nfa_(nfa), text_(text) {}

  Result<int32_t> emit(const Node& node, int32_t from) {
    if (nfa_.size() > kMaxNfaStates) {
      return Error{ErrorCode::kTooLarge, "the regular expression is too large once its repetitions are written out"};
    }
    switch (node.kind) {
      case Node::Kind::kEmpty:
        return from;
      case Node::Kind::kSet:
        return any_of(node.set, from);
      case Node::Kind::kSequence:
        for (const NodePtr& part : node.parts) {
          ASSIGN_OR_RETURN(from, emit(*part, from));
        }
        return from;
      case Node::Kind::kEither: {
        const int32_t end = nfa_.add_state();
        for (const NodePtr& part : node.parts) {
          const int32_t begin = nfa_.add_state();
          nfa_.add_free(from, begin);
          ASSIGN_OR_RETURN(const int32_t last, emit(*part, begin));
          nfa_.add_free(last, end);
        }
        return end;
      }
      case Node::Kind::kRepeat:
        return repeat(node, from);
    }
    return from;
  }

  int32_t any_of(const CodePointSet& set, int32_t from) {
    const int32_t to = nfa_.add_state();
    if (text_ == RegexText::kJson) {
      add_json_escaped(nfa_, from, set, to);
    } else {
      add_utf8(nfa_, from, set, to);
    }
    return to;
  }

  int32_t anything(int32_t from) {
    const int32_t loop = nfa_.add_state();
    nfa_.add_free(from, loop);
    nfa_.add_free(any_of(CodePointSet::all(), loop), loop);
    return loop;
  }

 private:
  Result<int32_t> repeat(const Node& node, int32_t from) {
    const Node& part = *node.parts[0];
    for (uint32_t i = 0; i < node.least; ++i) {
      ASSIGN_OR_RETURN(from, emit(part, from));
    }
    if (node.unbounded) {
      const int32_t loop = nfa_.add_state();
      nfa_.add_free(from, loop);
      ASSIGN_OR_RETURN(const int32_t last, emit(part, loop));
      nfa_.add_free(last, loop);
      const int32_t end = nfa_.add_state();
      nfa_.add_free(loop, end);
      return end;
    }
    const int32_t end = nfa_.add_state();
    for (uint32_t i = node.least; i < node.most; ++i) {
      nfa_.add_free(from, end);
      const int32_t begin = nfa_.add_state();
      nfa_.add_free(from, begin);
      ASSIGN_OR_RETURN(from, emit(part, begin));
    }
    nfa_.add_free(from, end);
    return end;
  }

  Nfa& nfa_;
  const RegexText text_;
};

}  // namespace

Result<int32_t> add_regex(Nfa& nfa, int32_t from, std::string_view pattern, RegexText text, RegexAnchors anchors) {
  bool at_begin = false;
  bool at_end = false;
  Parser parser(pattern);
  ASSIGN_OR_RETURN(const NodePtr node, parser.parse(at_begin, at_end));
  Emitter emitter(nfa, text);
  const bool searched = anchors == RegexAnchors::kSearched;
  if (searched && !at_begin) from = emitter.anything(from);
  // Nothing before may lead back into the expression's own states.
  const int32_t begin = nfa.add_state();
  nfa.add_free(from, begin);
  ASSIGN_OR_RETURN(int32_t end, emitter.emit(*node, begin));
  if (searched && !at_end) end = emitter.anything(end);
  return end;
}

}  // namespace glimpse
