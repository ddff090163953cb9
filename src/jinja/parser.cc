#include "jinja/parser.h"

#include <algorithm>

#include "jinja/expression_parser.h"

namespace glimpse::jinja {

namespace {

// Statements: blocks of text, outputs and tags.
class Parser : private ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Result<Program> run() {
    std::string end;
    ASSIGN_OR_RETURN(program_.body, parse_block({}, end));
    return std::move(program_);
  }

 private:
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

  int loops_ = 0;
};

}  // namespace

Result<Program> parse(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace glimpse::jinja
