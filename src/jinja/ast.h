#pragma once

// The tree a template is compiled into. Plain data: the parser builds it, the evaluator walks it.

#include <memory>
#include <string>
#include <vector>

#include "jinja/runtime.h"
#include "jinja/value.h"

namespace glimpse::jinja {

// A filter or test: the value on the left, then the arguments.
using FilterFunction = Result<Value> (*)(Runtime&, const Value&, const Args&);
using TestFunction = Result<bool> (*)(Runtime&, const Value&, const Args&);
FilterFunction find_filter(std::string_view name);  // nullptr if there is none
TestFunction find_test(std::string_view name);

enum class Op {
  kConst,
  kName,
  kTuple,
  kList,
  kDict,  // kDict: key, value, key, value, …
  kNeg,
  kPos,
  kNot,
  kAnd,
  kOr,
  kConcat,
  kCond,  // kCond: condition, then, else (may be absent)
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kCompare,  // items are the operands, `compare` the operators between them
  kAttribute,
  kItem,
  kSlice,  // kSlice: value, start, stop, step, each may be null but the value
  kCall,
  kFilter,
  kTest,  // the first item is the callee or the value, then the arguments
};

enum class Compare { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  Op op;
  int line = 0;
  int depth = 1;     // of the tree below, bounded by the parser
  int name_id = -1;  // kName
  std::string name;  // kName, kAttribute, kFilter, kTest
  Value constant;    // kConst
  std::vector<ExprPtr> items;
  std::vector<Compare> compare;
  std::vector<std::pair<std::string, ExprPtr>> keyword;  // of calls
  ExprPtr star;                                          // f(*star, **double_star)
  ExprPtr double_star;
  FilterFunction filter = nullptr;
  TestFunction test = nullptr;
};

enum class StmtKind {
  kText,
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kFilterBlock,
  kWith,
  kScope,
  kBreak,
  kContinue,
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

// What a for or set assigns to: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  int name_id = -1;
  std::string name;
  std::string attribute;
  std::vector<Target> items;
  bool is_tuple = false;
};

struct Parameter {
  int name_id = -1;
  std::string name;
  ExprPtr fallback;  // may be null
};

struct Stmt {
  StmtKind kind;
  int line = 0;
  TextPtr text;                       // kText
  std::string name;                   // kMacro
  int name_id = -1;                   // kMacro
  std::vector<ExprPtr> exprs;         // kOutput: 1; kIf: conditions; kFor: iterable, filter (may be null); kSet: value;
                                      // kSetBlock: filter or null; kFilterBlock: filter; kWith: values
  std::vector<Target> targets;        // kFor, kSet, kSetBlock: 1; kWith: names
  std::vector<Block> blocks;          // kIf: one per condition, then maybe the else; kFor: body, else; others: body
  std::vector<Parameter> parameters;  // kMacro
};

// The values of names in one block, a macro's body, or one turn of a loop.
struct Scope {
  Scope* parent = nullptr;
  bool captured = false;  // a macro was made in or below it: it lives as long as the rendering
  std::vector<std::pair<int, Value>> names;
};

struct Macro {
  const Stmt* definition = nullptr;
  Scope* closure = nullptr;
};

}  // namespace glimpse::jinja
