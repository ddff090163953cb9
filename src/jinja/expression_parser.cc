#include "jinja/expression_parser.h"

namespace glimpse::jinja {

Result<ExprPtr> ExpressionParser::parse_expression(bool with_condition) {
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

Result<ExprPtr> ExpressionParser::parse_chain(Op op, std::string_view word,
                                              Result<ExprPtr> (ExpressionParser::*next)()) {
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

Result<ExprPtr> ExpressionParser::parse_or() {
  return parse_chain(Op::kOr, "or", &ExpressionParser::parse_and);
}
Result<ExprPtr> ExpressionParser::parse_and() {
  return parse_chain(Op::kAnd, "and", &ExpressionParser::parse_not);
}
Result<ExprPtr> ExpressionParser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Nesting nesting(*this);
  RETURN_IF_ERROR(check_nesting());
  ExprPtr expr = make(Op::kNot, take().line);
  ASSIGN_OR_RETURN(ExprPtr operand, parse_not());
  expr->items.push_back(std::move(operand));
  return done(std::move(expr));
}

bool ExpressionParser::take_comparison(Compare& compare) {
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

Result<ExprPtr> ExpressionParser::parse_compare() {
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

Result<ExprPtr> ExpressionParser::parse_sum() {
  ASSIGN_OR_RETURN(ExprPtr expr, parse_concat());
  while (is_op("+") || is_op("-")) {
    const Token token = take();
    ASSIGN_OR_RETURN(ExprPtr right, parse_concat());
    ASSIGN_OR_RETURN(expr,
                     binary(token.text == "+" ? Op::kAdd : Op::kSub, token.line, std::move(expr), std::move(right)));
  }
  return expr;
}

Result<ExprPtr> ExpressionParser::parse_concat() {
  return parse_chain(Op::kConcat, "~", &ExpressionParser::parse_product);
}
Result<ExprPtr> ExpressionParser::parse_product() {
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

Result<ExprPtr> ExpressionParser::parse_power() {
  ASSIGN_OR_RETURN(ExprPtr expr, parse_unary(true));
  while (is_op("**")) {
    const int line = take().line;
    ASSIGN_OR_RETURN(ExprPtr right, parse_unary(true));
    ASSIGN_OR_RETURN(expr, binary(Op::kPow, line, std::move(expr), std::move(right)));
  }
  return expr;
}

Result<ExprPtr> ExpressionParser::parse_unary(bool with_filter) {
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

Result<ExprPtr> ExpressionParser::constant(int line, Value value) const {
  ExprPtr expr = make(Op::kConst, line);
  expr->constant = std::move(value);
  return expr;
}

Result<ExprPtr> ExpressionParser::parse_primary() {
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

Result<ExprPtr> ExpressionParser::parse_list() {
  ExprPtr list = make(Op::kList, take().line);
  while (!is_op("]")) {
    ASSIGN_OR_RETURN(ExprPtr item, parse_expression());
    list->items.push_back(std::move(item));
    if (!is_op("]")) RETURN_IF_ERROR(expect_op(","));
  }
  take();
  return done(std::move(list));
}

Result<ExprPtr> ExpressionParser::parse_dict() {
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

bool ExpressionParser::at_tuple_end() const {
  return now().type == TokenType::kVariableEnd || now().type == TokenType::kBlockEnd || is_op(")");
}

Result<ExprPtr> ExpressionParser::parse_tuple(bool with_condition, bool may_be_empty) {
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

Result<ExprPtr> ExpressionParser::parse_postfix(ExprPtr expr) {
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

Result<ExprPtr> ExpressionParser::parse_subscript(ExprPtr value) {
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

Status ExpressionParser::parse_arguments(Expr& call) {
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

Result<ExprPtr> ExpressionParser::parse_call(ExprPtr callee) {
  ExprPtr call = make(Op::kCall, now().line);
  call->items.push_back(std::move(callee));
  RETURN_IF_ERROR(parse_arguments(*call));
  return done(std::move(call));
}

Result<ExprPtr> ExpressionParser::parse_filters_and_tests(ExprPtr expr) {
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

Result<ExprPtr> ExpressionParser::parse_filter(ExprPtr value) {
  ExprPtr filter = make(Op::kFilter, now().line);
  ASSIGN_OR_RETURN(filter->name, expect_name());
  filter->filter = find_filter(filter->name);
  if (filter->filter == nullptr) return unsupported(filter->line, "filter \"" + filter->name + "\"");
  filter->items.push_back(std::move(value));
  if (is_op("(")) RETURN_IF_ERROR(parse_arguments(*filter));
  return done(std::move(filter));
}

Result<ExprPtr> ExpressionParser::parse_test(ExprPtr value) {
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

bool ExpressionParser::starts_test_argument() const {
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
}  // namespace glimpse::jinja
