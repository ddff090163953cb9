#include "jinja/parser.h"

#include <algorithm>
#include <map>

#include "jinja/lexer.h"

namespace glimpse::jinja {

namespace {

bool is_constant_name(std::string_view name) {
  return name == "true" || name == "True" || name == "false" || name == "False" || name == "none" || name == "None";
}

// Recursive descent in the order of jinja2's grammar: conditional, or, and, not, comparison, + -, ~, * / // %, **,
// sign, primary with its subscripts and calls, filters and tests.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Program> run() {
    std::string end;
    ASSIGN_OR_RETURN(program_.body, parse_block({}, end));
    return std::move(program_);
  }

 private:
  class Nesting {
   public:
    explicit Nesting(Parser& parser) : parser_(parser) { ++parser_.nesting_; }
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Parser& parser_;
  };

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is_op(std::string_view op) const { return now().type == TokenType::kOperator && now().text == op; }
  bool is_name(std::string_view name) const { return now().type == TokenType::kName && now().text == name; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }

  bool skip_op(std::string_view op) {
    if (!is_op(op)) return false;
    take();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!is_name(name)) return false;
    take();
    return true;
  }

  std::string shown() const {
    switch (now().type) {
      case TokenType::kVariableEnd:
        return "\"}}\"";
      case TokenType::kBlockEnd:
        return "\"%}\"";
      case TokenType::kEnd:
        return "the end of the template";
      case TokenType::kString:
        return "a string";
      default:
        return "\"" + now().text + "\"";
    }
  }

  Error unexpected(std::string_view wanted) const {
    return syntax_error(now().line, "expected " + std::string(wanted) + ", found " + shown());
  }
  static Error unsupported(int line, const std::string& what) {
    return {ErrorCode::kUnsupported, "line " + std::to_string(line) + ": " + what + " is not supported"};
  }

  Status check_nesting() const {
    if (nesting_ <= kMaxTreeDepth) return {};
    return Error{ErrorCode::kTooLarge,
                 "line " + std::to_string(now().line) + ": nested deeper than " + std::to_string(kMaxTreeDepth)};
  }

  Status expect_op(std::string_view op) {
    if (!skip_op(op)) return unexpected("\"" + std::string(op) + "\"");
    return {};
  }
  Status expect_block_end() {
    if (now().type != TokenType::kBlockEnd) return unexpected("\"%}\"");
    take();
    return {};
  }
  Result<std::string> expect_name() {
    if (now().type != TokenType::kName) return unexpected("a name");
    return take().text;
  }

  int intern(const std::string& name) {
    const auto [found, is_new] = name_ids_.emplace(name, static_cast<int>(program_.names.size()));
    if (is_new) program_.names.push_back(name);
    return found->second;
  }

  ExprPtr make(Op op, int line) const {
    auto expr = std::make_unique<Expr>();
    expr->op = op;
    expr->line = line;
    return expr;
  }

  // Every expression passes here once its parts are in place.
  Result<ExprPtr> done(ExprPtr expr) const {
    int depth = 0;
    const auto look = [&](const ExprPtr& part) {
      if (part != nullptr) depth = std::max(depth, part->depth);
    };
    for (const ExprPtr& item : expr->items) look(item);
    for (const auto& [name, value] : expr->keyword) look(value);
    look(expr->star);
    look(expr->double_star);
    expr->depth = depth + 1;
    if (expr->depth > kMaxTreeDepth) {
      return Error{ErrorCode::kTooLarge, "line " + std::to_string(expr->line) + ": expression nested deeper than " +
                                             std::to_string(kMaxTreeDepth)};
    }
    return expr;
  }

  Result<ExprPtr> binary(Op op, int line, ExprPtr left, ExprPtr right) const {
    ExprPtr expr = make(op, line);
    expr->items.push_back(std::move(left));
    expr->items.push_back(std::move(right));
    return done(std::move(expr));
  }

  // ---- expressions ----

  Result<ExprPtr> parse_expression(bool with_condition = true) {
    const Nesting nesting(*this);
    RETURN_IF_ERROR(check_nesting());
    ASSIGN_OR_RETURN(ExprPtr expr, parse_or());
    while (with_condition && is_name("if")) {
      ExprPtr conditional = make(Op::kCond, take().line);
      ASSIGN_OR_RETURN(ExprPtr condition, parse_or());
      conditional->items.push_back(std::move(condition));
      conditional->items.push_back(std::move(expr));
      if (skip_name("else")) {
        ASSIGN_OR_RETURN(ExprPtr otherwise, parse_expression());
        conditional->items.push_back(std::move(otherwise));
      }
      ASSIGN_OR_RETURN(expr, done(std::move(conditional)));
    }
    return expr;
  }

  // One or more operands of `next` separated by the word; n-ary, so that long chains stay shallow.
  Result<ExprPtr> parse_chain(Op op, std::string_view word, Result<ExprPtr> (Parser::*next)()) {
    const int line = now().line;
    ASSIGN_OR_RETURN(ExprPtr first, (this->*next)());
    if (!is_name(word) && !is_op(word)) return first;
    ExprPtr chain = make(op, line);
    chain->items.push_back(std::move(first));
    while (skip_name(word) || skip_op(word)) {
      ASSIGN_OR_RETURN(ExprPtr each, (this->*next)());
      chain->items.push_back(std::move(each));
    }
    return done(std::move(chain));
  }

  Result<ExprPtr> parse_or() { return parse_chain(Op::kOr, "or", &Parser::parse_and); }
  Result<ExprPtr> parse_and() { return parse_chain(Op::kAnd, "and", &Parser::parse_not); }

  Result<ExprPtr> parse_not() {
    if (!is_name("not")) return parse_compare();
    const Nesting nesting(*this);
    RETURN_IF_ERROR(check_nesting());
    ExprPtr expr = make(Op::kNot, take().line);
    ASSIGN_OR_RETURN(ExprPtr operand, parse_not());
    expr->items.push_back(std::move(operand));
    return done(std::move(expr));
  }

  bool take_comparison(Compare& compare) {
    static constexpr std::pair<std::string_view, Compare> kOperators[] = {{"==", Compare::kEq}, {"!=", Compare::kNe},
                                                                          {"<", Compare::kLt},  {"<=", Compare::kLe},
                                                                          {">", Compare::kGt},  {">=", Compare::kGe}};
    for (const auto& [op, value] : kOperators) {
      if (skip_op(op)) {
        compare = value;
        return true;
      }
    }
    if (skip_name("in")) {
      compare = Compare::kIn;
      return true;
    }
    if (is_name("not") && ahead().type == TokenType::kName && ahead().text == "in") {
      take();
      take();
      compare = Compare::kNotIn;
      return true;
    }
    return false;
  }

  Result<ExprPtr> parse_compare() {
    const int line = now().line;
    ASSIGN_OR_RETURN(ExprPtr first, parse_sum());
    Compare compare = Compare::kEq;
    if (!take_comparison(compare)) return first;
    ExprPtr expr = make(Op::kCompare, line);
    expr->items.push_back(std::move(first));
    do {
      ASSIGN_OR_RETURN(ExprPtr operand, parse_sum());
      expr->items.push_back(std::move(operand));
      expr->compare.push_back(compare);
    } while (take_comparison(compare));
    return done(std::move(expr));
  }

  Result<ExprPtr> parse_sum() {
    ASSIGN_OR_RETURN(ExprPtr expr, parse_concat());
    while (is_op("+") || is_op("-")) {
      const Token token = take();
      ASSIGN_OR_RETURN(ExprPtr right, parse_concat());
      ASSIGN_OR_RETURN(expr,
                       binary(token.text == "+" ? Op::kAdd : Op::kSub, token.line, std::move(expr), std::move(right)));
    }
    return expr;
  }

  Result<ExprPtr> parse_concat() { return parse_chain(Op::kConcat, "~", &Parser::parse_product); }

  Result<ExprPtr> parse_product() {
    ASSIGN_OR_RETURN(ExprPtr expr, parse_power());
    while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
      const Token token = take();
      const Op op = token.text == "*"    ? Op::kMul
                    : token.text == "/"  ? Op::kDiv
                    : token.text == "//" ? Op::kFloorDiv
                                         : Op::kMod;
      ASSIGN_OR_RETURN(ExprPtr right, parse_power());
      ASSIGN_OR_RETURN(expr, binary(op, token.line, std::move(expr), std::move(right)));
    }
    return expr;
  }

  Result<ExprPtr> parse_power() {
    ASSIGN_OR_RETURN(ExprPtr expr, parse_unary(true));
    while (is_op("**")) {
      const int line = take().line;
      ASSIGN_OR_RETURN(ExprPtr right, parse_unary(true));
      ASSIGN_OR_RETURN(expr, binary(Op::kPow, line, std::move(expr), std::move(right)));
    }
    return expr;
  }

  Result<ExprPtr> parse_unary(bool with_filter) {
    const Nesting nesting(*this);
    RETURN_IF_ERROR(check_nesting());
    ExprPtr expr;
    if (is_op("-") || is_op("+")) {
      const Token token = take();
      expr = make(token.text == "-" ? Op::kNeg : Op::kPos, token.line);
      ASSIGN_OR_RETURN(ExprPtr operand, parse_unary(false));
      expr->items.push_back(std::move(operand));
      ASSIGN_OR_RETURN(expr, done(std::move(expr)));
    } else {
      ASSIGN_OR_RETURN(expr, parse_primary());
    }
    ASSIGN_OR_RETURN(expr, parse_postfix(std::move(expr)));
    if (!with_filter) return expr;
    return parse_filters_and_tests(std::move(expr));
  }

  Result<ExprPtr> constant(int line, Value value) const {
    ExprPtr expr = make(Op::kConst, line);
    expr->constant = std::move(value);
    return expr;
  }

  Result<ExprPtr> parse_primary() {
    const Token token = now();
    switch (token.type) {
      case TokenType::kName: {
        take();
        if (token.text == "true" || token.text == "True") return constant(token.line, Value(true));
        if (token.text == "false" || token.text == "False") return constant(token.line, Value(false));
        if (is_constant_name(token.text)) return constant(token.line, Value(None{}));
        ExprPtr name = make(Op::kName, token.line);
        name->name = token.text;
        name->name_id = intern(token.text);
        return name;
      }
      case TokenType::kString: {
        std::string joined;
        while (now().type == TokenType::kString) joined += take().text;
        return constant(token.line, Value(trusted_text(joined)));
      }
      case TokenType::kInteger:
        take();
        return constant(token.line, Value(token.integer));
      case TokenType::kFloat:
        take();
        return constant(token.line, Value(token.number));
      default:
        break;
    }
    if (skip_op("(")) {
      ASSIGN_OR_RETURN(ExprPtr inner, parse_tuple(true, true));
      RETURN_IF_ERROR(expect_op(")"));
      return inner;
    }
    if (is_op("[")) return parse_list();
    if (is_op("{")) return parse_dict();
    return unexpected("an expression");
  }

  Result<ExprPtr> parse_list() {
    ExprPtr list = make(Op::kList, take().line);
    while (!is_op("]")) {
      ASSIGN_OR_RETURN(ExprPtr item, parse_expression());
      list->items.push_back(std::move(item));
      if (!is_op("]")) RETURN_IF_ERROR(expect_op(","));
    }
    take();
    return done(std::move(list));
  }

  Result<ExprPtr> parse_dict() {
    ExprPtr dict = make(Op::kDict, take().line);
    while (!is_op("}")) {
      ASSIGN_OR_RETURN(ExprPtr key, parse_expression());
      RETURN_IF_ERROR(expect_op(":"));
      ASSIGN_OR_RETURN(ExprPtr value, parse_expression());
      dict->items.push_back(std::move(key));
      dict->items.push_back(std::move(value));
      if (!is_op("}")) RETURN_IF_ERROR(expect_op(","));
    }
    take();
    return done(std::move(dict));
  }

  bool at_tuple_end() const {
    return now().type == TokenType::kVariableEnd || now().type == TokenType::kBlockEnd || is_op(")");
  }

  // An expression, or several with commas between.
  Result<ExprPtr> parse_tuple(bool with_condition, bool may_be_empty) {
    const int line = now().line;
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    while (!at_tuple_end()) {
      ASSIGN_OR_RETURN(ExprPtr item, parse_expression(with_condition));
      items.push_back(std::move(item));
      if (!is_op(",")) break;
      take();
      is_tuple = true;
    }
    if (!is_tuple && !items.empty()) return std::move(items[0]);
    if (!is_tuple && !may_be_empty) return unexpected("an expression");
    ExprPtr tuple = make(Op::kTuple, line);
    tuple->items = std::move(items);
    return done(std::move(tuple));
  }

  Result<ExprPtr> parse_postfix(ExprPtr expr) {
    while (true) {
      if (is_op(".")) {
        const int line = take().line;
        if (now().type == TokenType::kName) {
          ExprPtr attribute = make(Op::kAttribute, line);
          attribute->name = take().text;
          attribute->items.push_back(std::move(expr));
          ASSIGN_OR_RETURN(expr, done(std::move(attribute)));
        } else if (now().type == TokenType::kInteger) {
          ASSIGN_OR_RETURN(ExprPtr index, constant(line, Value(take().integer)));
          ASSIGN_OR_RETURN(expr, binary(Op::kItem, line, std::move(expr), std::move(index)));
        } else {
          return unexpected("a name or number after \".\"");
        }
      } else if (is_op("[")) {
        ASSIGN_OR_RETURN(expr, parse_subscript(std::move(expr)));
      } else if (is_op("(")) {
        ASSIGN_OR_RETURN(expr, parse_call(std::move(expr)));
      } else {
        return expr;
      }
    }
  }

  Result<ExprPtr> parse_subscript(ExprPtr value) {
    const int line = take().line;
    std::vector<ExprPtr> parts(3);
    size_t part = 0;
    bool is_slice = false;
    while (!is_op("]")) {
      if (skip_op(":")) {
        is_slice = true;
        if (++part > 2) return unexpected("\"]\"");
        continue;
      }
      if (is_op(",")) return unsupported(line, "a subscript with several parts");
      if (parts[part] != nullptr) return unexpected("\"]\"");
      ASSIGN_OR_RETURN(parts[part], parse_expression());
    }
    take();
    if (!is_slice) {
      if (parts[0] == nullptr) return syntax_error(line, "empty subscript []");
      return binary(Op::kItem, line, std::move(value), std::move(parts[0]));
    }
    ExprPtr slice = make(Op::kSlice, line);
    slice->items.push_back(std::move(value));
    for (ExprPtr& each : parts) slice->items.push_back(std::move(each));
    return done(std::move(slice));
  }

  Status parse_arguments(Expr& call) {
    RETURN_IF_ERROR(expect_op("("));
    while (!is_op(")")) {
      if (skip_op("**")) {
        if (call.double_star != nullptr) return unexpected("one ** argument");
        ASSIGN_OR_RETURN(call.double_star, parse_expression());
      } else if (skip_op("*")) {
        if (call.star != nullptr || call.double_star != nullptr) return unexpected("one * argument, before **");
        ASSIGN_OR_RETURN(call.star, parse_expression());
      } else if (now().type == TokenType::kName && ahead().type == TokenType::kOperator && ahead().text == "=") {
        if (call.double_star != nullptr) return unexpected("\")\" after the ** argument");
        std::string name = take().text;
        take();
        ASSIGN_OR_RETURN(ExprPtr value, parse_expression());
        call.keyword.emplace_back(std::move(name), std::move(value));
      } else {
        if (!call.keyword.empty() || call.star != nullptr || call.double_star != nullptr) {
          return syntax_error(now().line, "positional argument after a keyword or * argument");
        }
        ASSIGN_OR_RETURN(ExprPtr value, parse_expression());
        call.items.push_back(std::move(value));
      }
      if (!is_op(")")) RETURN_IF_ERROR(expect_op(","));
    }
    take();
    return {};
  }

  Result<ExprPtr> parse_call(ExprPtr callee) {
    ExprPtr call = make(Op::kCall, now().line);
    call->items.push_back(std::move(callee));
    RETURN_IF_ERROR(parse_arguments(*call));
    return done(std::move(call));
  }

  Result<ExprPtr> parse_filters_and_tests(ExprPtr expr) {
    while (true) {
      if (is_op("|")) {
        take();
        ASSIGN_OR_RETURN(expr, parse_filter(std::move(expr)));
      } else if (is_name("is")) {
        ASSIGN_OR_RETURN(expr, parse_test(std::move(expr)));
      } else if (is_op("(")) {
        ASSIGN_OR_RETURN(expr, parse_call(std::move(expr)));
      } else {
        return expr;
      }
    }
  }

  // After the "|". A null value stands for the text of a filter or set block.
  Result<ExprPtr> parse_filter(ExprPtr value) {
    ExprPtr filter = make(Op::kFilter, now().line);
    ASSIGN_OR_RETURN(filter->name, expect_name());
    filter->filter = find_filter(filter->name);
    if (filter->filter == nullptr) return unsupported(filter->line, "filter \"" + filter->name + "\"");
    filter->items.push_back(std::move(value));
    if (is_op("(")) RETURN_IF_ERROR(parse_arguments(*filter));
    return done(std::move(filter));
  }

  Result<ExprPtr> parse_test(ExprPtr value) {
    const int line = take().line;
    const bool negated = skip_name("not");
    ExprPtr test = make(Op::kTest, line);
    ASSIGN_OR_RETURN(test->name, expect_name());
    test->test = find_test(test->name);
    if (test->test == nullptr) return unsupported(line, "test \"" + test->name + "\"");
    test->items.push_back(std::move(value));
    if (is_op("(")) {
      RETURN_IF_ERROR(parse_arguments(*test));
    } else if (is_name("is")) {
      return syntax_error(line, "tests cannot be chained with \"is\"");
    } else if (starts_test_argument()) {
      ASSIGN_OR_RETURN(ExprPtr argument, parse_primary());
      ASSIGN_OR_RETURN(argument, parse_postfix(std::move(argument)));
      test->items.push_back(std::move(argument));
    }
    ASSIGN_OR_RETURN(test, done(std::move(test)));
    if (!negated) return test;
    ExprPtr negation = make(Op::kNot, line);
    negation->items.push_back(std::move(test));
    return done(std::move(negation));
  }

  bool starts_test_argument() const {
    switch (now().type) {
      case TokenType::kString:
      case TokenType::kInteger:
      case TokenType::kFloat:
        return true;
      case TokenType::kName:
        return !is_name("else") && !is_name("or") && !is_name("and");
      default:
        return is_op("[") || is_op("{");
    }
  }

  // ---- statements ----

  // Statements up to a tag whose name is one of `ends`, which is left in `end` with the tag's name consumed; with no
  // ends, up to the end of the template.
  Result<Block> parse_block(const std::vector<std::string_view>& ends, std::string& end) {
    Block block;
    const int line = now().line;
    while (true) {
      if (now().type == TokenType::kData) {
        auto text = statement(StmtKind::kText, now().line);
        text->text = trusted_text(take().text);
        block.push_back(std::move(text));
      } else if (now().type == TokenType::kVariableBegin) {
        auto output = statement(StmtKind::kOutput, take().line);
        ASSIGN_OR_RETURN(ExprPtr value, parse_tuple(true, false));
        if (now().type != TokenType::kVariableEnd) return unexpected("\"}}\"");
        take();
        output->exprs.push_back(std::move(value));
        block.push_back(std::move(output));
      } else if (now().type == TokenType::kBlockBegin) {
        take();
        if (now().type != TokenType::kName) return unexpected("a tag name");
        if (std::find(ends.begin(), ends.end(), now().text) != ends.end()) {
          end = take().text;
          return block;
        }
        ASSIGN_OR_RETURN(auto parsed, parse_statement());
        RETURN_IF_ERROR(expect_block_end());
        block.push_back(std::move(parsed));
      } else if (!ends.empty()) {
        return syntax_error(line, "block that begins here has no \"" + std::string(ends.back()) + "\"");
      } else {
        return block;
      }
    }
  }

  static std::unique_ptr<Stmt> statement(StmtKind kind, int line) {
    auto made = std::make_unique<Stmt>();
    made->kind = kind;
    made->line = line;
    return made;
  }

  // After "{%", up to but without the closing "%}" of the last tag that belongs to the statement.
  Result<std::unique_ptr<Stmt>> parse_statement() {
    const Nesting nesting(*this);
    RETURN_IF_ERROR(check_nesting());
    const Token tag = take();
    if (tag.text == "if") return parse_if(tag.line);
    if (tag.text == "for") return parse_for(tag.line);
    if (tag.text == "set") return parse_set(tag.line);
    if (tag.text == "macro") return parse_macro(tag.line);
    if (tag.text == "with") return parse_with(tag.line);
    if (tag.text == "filter") return parse_filter_block(tag.line);
    if (tag.text == "generation") return parse_body(statement(StmtKind::kScope, tag.line), "endgeneration");
    if (tag.text == "break" || tag.text == "continue") {
      if (loops_ == 0) return syntax_error(tag.line, "\"" + tag.text + "\" outside of a loop");
      return statement(tag.text == "break" ? StmtKind::kBreak : StmtKind::kContinue, tag.line);
    }
    return unsupported(tag.line, "tag \"" + tag.text + "\"");
  }

  Result<std::unique_ptr<Stmt>> parse_body(std::unique_ptr<Stmt> made, std::string_view closing) {
    RETURN_IF_ERROR(expect_block_end());
    std::string end;
    ASSIGN_OR_RETURN(Block body, parse_block({closing}, end));
    made->blocks.push_back(std::move(body));
    return made;
  }

  Result<std::unique_ptr<Stmt>> parse_if(int line) {
    auto made = statement(StmtKind::kIf, line);
    std::string end = "if";
    while (end != "endif") {
      if (end != "else") {
        ASSIGN_OR_RETURN(ExprPtr condition, parse_tuple(false, false));
        made->exprs.push_back(std::move(condition));
      }
      RETURN_IF_ERROR(expect_block_end());
      const bool is_last = end == "else";
      ASSIGN_OR_RETURN(Block body, is_last ? parse_block({"endif"}, end) : parse_block({"elif", "else", "endif"}, end));
      made->blocks.push_back(std::move(body));
    }
    return made;
  }

  Result<std::unique_ptr<Stmt>> parse_for(int line) {
    auto made = statement(StmtKind::kFor, line);
    ASSIGN_OR_RETURN(Target target, parse_target(false));
    made->targets.push_back(std::move(target));
    if (!skip_name("in")) return unexpected("\"in\"");
    ASSIGN_OR_RETURN(ExprPtr iterable, parse_tuple(false, false));
    made->exprs.push_back(std::move(iterable));
    made->exprs.push_back(nullptr);
    if (skip_name("if")) {
      ASSIGN_OR_RETURN(made->exprs[1], parse_expression());
    }
    if (is_name("recursive")) return unsupported(line, "a recursive loop");
    RETURN_IF_ERROR(expect_block_end());
    std::string end;
    ++loops_;
    ASSIGN_OR_RETURN(Block body, parse_block({"else", "endfor"}, end));
    --loops_;
    made->blocks.push_back(std::move(body));
    made->blocks.emplace_back();
    if (end == "else") {
      RETURN_IF_ERROR(expect_block_end());
      ASSIGN_OR_RETURN(made->blocks[1], parse_block({"endfor"}, end));
    }
    return made;
  }

  Result<Target> parse_target(bool with_namespace) {
    const Nesting nesting(*this);
    RETURN_IF_ERROR(check_nesting());
    Target tuple;
    tuple.is_tuple = true;
    bool comma = false;
    while (true) {
      if (is_op("(")) {
        take();
        ASSIGN_OR_RETURN(Target inner, parse_target(with_namespace));
        RETURN_IF_ERROR(expect_op(")"));
        tuple.items.push_back(std::move(inner));
      } else if (now().type == TokenType::kName && !is_name("in")) {
        Target target;
        target.name = take().text;
        if (is_constant_name(target.name)) return syntax_error(now().line, "cannot assign to \"" + target.name + "\"");
        target.name_id = intern(target.name);
        if (with_namespace && skip_op(".")) {
          ASSIGN_OR_RETURN(target.attribute, expect_name());
        }
        tuple.items.push_back(std::move(target));
      } else if (!comma) {
        return unexpected("a name to assign to");
      } else {
        return tuple;
      }
      if (!skip_op(",")) break;
      comma = true;
    }
    if (!comma) return std::move(tuple.items[0]);
    return tuple;
  }

  Result<std::unique_ptr<Stmt>> parse_set(int line) {
    auto made = statement(StmtKind::kSet, line);
    ASSIGN_OR_RETURN(Target target, parse_target(true));
    made->targets.push_back(std::move(target));
    if (skip_op("=")) {
      ASSIGN_OR_RETURN(ExprPtr value, parse_tuple(true, false));
      made->exprs.push_back(std::move(value));
      return made;
    }
    made->kind = StmtKind::kSetBlock;
    ASSIGN_OR_RETURN(ExprPtr filter, parse_filter_chain());
    made->exprs.push_back(std::move(filter));
    return parse_body(std::move(made), "endset");
  }

  // "| a | b(c)", maybe nothing (null).
  Result<ExprPtr> parse_filter_chain() {
    ExprPtr filter;
    while (skip_op("|")) {
      ASSIGN_OR_RETURN(filter, parse_filter(std::move(filter)));
    }
    return filter;
  }

  Result<std::unique_ptr<Stmt>> parse_filter_block(int line) {
    auto made = statement(StmtKind::kFilterBlock, line);
    ASSIGN_OR_RETURN(ExprPtr filter, parse_filter(nullptr));
    while (skip_op("|")) {
      ASSIGN_OR_RETURN(filter, parse_filter(std::move(filter)));
    }
    made->exprs.push_back(std::move(filter));
    return parse_body(std::move(made), "endfilter");
  }

  Result<std::unique_ptr<Stmt>> parse_with(int line) {
    auto made = statement(StmtKind::kWith, line);
    while (now().type != TokenType::kBlockEnd) {
      if (!made->targets.empty()) RETURN_IF_ERROR(expect_op(","));
      Target target;
      ASSIGN_OR_RETURN(target.name, expect_name());
      target.name_id = intern(target.name);
      RETURN_IF_ERROR(expect_op("="));
      ASSIGN_OR_RETURN(ExprPtr value, parse_expression());
      made->targets.push_back(std::move(target));
      made->exprs.push_back(std::move(value));
    }
    return parse_body(std::move(made), "endwith");
  }

  Result<std::unique_ptr<Stmt>> parse_macro(int line) {
    auto made = statement(StmtKind::kMacro, line);
    ASSIGN_OR_RETURN(made->name, expect_name());
    made->name_id = intern(made->name);
    RETURN_IF_ERROR(expect_op("("));
    while (!is_op(")")) {
      Parameter parameter;
      ASSIGN_OR_RETURN(parameter.name, expect_name());
      parameter.name_id = intern(parameter.name);
      if (skip_op("=")) {
        ASSIGN_OR_RETURN(parameter.fallback, parse_expression());
      } else if (!made->parameters.empty() && made->parameters.back().fallback != nullptr) {
        return syntax_error(line, "parameter \"" + parameter.name + "\" without a default follows one with a default");
      }
      made->parameters.push_back(std::move(parameter));
      if (!is_op(")")) RETURN_IF_ERROR(expect_op(","));
    }
    take();
    const int loops = std::exchange(loops_, 0);
    auto parsed = parse_body(std::move(made), "endmacro");
    loops_ = loops;
    return parsed;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  int loops_ = 0;
  Program program_;
  std::map<std::string, int> name_ids_;
};

}  // namespace

Result<Program> parse(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace glimpse::jinja
