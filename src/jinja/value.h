#pragma once

// The values a template computes with: Python's, as far as chat templates reach. Immutable but for namespaces, shared
// by reference count, and never cyclic except through namespaces, which the Runtime owns and empties at its end.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "jinja/text.h"

namespace glimpse::jinja {

class Runtime;
struct Seq;
struct Dict;
struct Namespace;
struct Loop;
struct Method;
struct Macro;

// jinja2's default Undefined: prints as nothing, is false, and is an error to look into. The name (owned by the
// template's tree) and the kind of value it was looked up in are for the message.
struct Undefined {
  const std::string* name = nullptr;
  const char* owner = nullptr;
};
struct None {};
enum class Function { kRange, kDict, kNamespace, kRaiseException, kStrftimeNow };

using SeqPtr = std::shared_ptr<const Seq>;
using DictPtr = std::shared_ptr<const Dict>;
using NamespacePtr = std::shared_ptr<Namespace>;
using LoopPtr = std::shared_ptr<const Loop>;
using MethodPtr = std::shared_ptr<const Method>;

class Value {
 public:
  Value() = default;
  Value(Undefined v) : state_(v) {}                // NOLINT: implicit by design, as all below
  Value(None v) : state_(v) {}                     // NOLINT
  Value(bool v) : state_(v) {}                     // NOLINT
  Value(int64_t v) : state_(v) {}                  // NOLINT
  Value(double v) : state_(v) {}                   // NOLINT
  Value(TextPtr v) : state_(std::move(v)) {}       // NOLINT
  Value(SeqPtr v) : state_(std::move(v)) {}        // NOLINT
  Value(DictPtr v) : state_(std::move(v)) {}       // NOLINT
  Value(NamespacePtr v) : state_(std::move(v)) {}  // NOLINT
  Value(LoopPtr v) : state_(std::move(v)) {}       // NOLINT
  Value(MethodPtr v) : state_(std::move(v)) {}     // NOLINT
  Value(const Macro* v) : state_(v) {}             // NOLINT
  Value(Function v) : state_(v) {}                 // NOLINT
  explicit Value(const char*) = delete;            // would be a bool

  template <typename T>
  bool is() const {
    return std::holds_alternative<T>(state_);
  }
  template <typename T>
  const T& as() const {
    return std::get<T>(state_);
  }

  bool is_undefined() const { return is<Undefined>(); }
  bool is_none() const { return is<None>(); }
  bool is_string() const { return is<TextPtr>(); }
  bool is_int() const { return is<int64_t>() || is<bool>(); }  // a bool is an int, as in Python
  bool is_number() const { return is_int() || is<double>(); }
  const Text& text() const { return *as<TextPtr>(); }
  int64_t integer() const { return is<bool>() ? as<bool>() : as<int64_t>(); }
  double number() const { return is<double>() ? as<double>() : static_cast<double>(integer()); }

 private:
  std::variant<Undefined, None, bool, int64_t, double, TextPtr, SeqPtr, DictPtr, NamespacePtr, LoopPtr, MethodPtr,
               const Macro*, Function>
      state_;
};

// Anything that is a row of values. Iterators are what Python's generators are here: true, without a length, and empty
// after their first use; they are computed at once instead of on demand.
struct Seq {
  enum class Kind { kList, kTuple, kRange, kView, kIterator };
  Kind kind = Kind::kList;
  std::vector<Value> items;
  int depth = 1;                  // of nesting, bounded by kMaxValueDepth
  std::string label;              // how a range, view or iterator prints: "range(0, 3)", "dict_keys"
  mutable bool consumed = false;  // iterators only
};

// Insertion-ordered, as Python's. Keys are what Python can hash: strings, numbers, None, tuples of these.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;

  const Value* find(std::string_view key) const;
  const Value* find(const Value& key) const;  // nullptr also for what cannot be hashed
  // False if the key cannot be hashed. An equal key keeps its place and takes the new value.
  bool insert(Value key, Value value);

 private:
  long index_of(const std::string& canonical_key) const;
  std::map<std::string, size_t> index_;  // ordered, so that chosen keys cannot make it slow; empty while small
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct Loop {
  SeqPtr items;
  size_t index = 0;  // from 0
  int depth = 1;     // of loops
};

// A method looked up and not called yet: "abc".upper
struct Method {
  Value receiver;
  std::string name;
};

inline constexpr int kMaxValueDepth = 100;

int depth_of(const Value& value);
// What Python calls its type: "str", "int", "NoneType", …
std::string type_name(const Value& value);
bool truthy(const Value& value);

// Python's ==. Charges the runtime for what it looks at. compare() is <, as -1, 0, 1; NaN is unordered and yields 2.
Result<bool> equal(Runtime& runtime, const Value& a, const Value& b);
Result<int> compare(Runtime& runtime, const Value& a, const Value& b);

// Python's str() and repr(), appended. A repr'd string is untrusted as a whole if any of it is.
Status append_str(Runtime& runtime, const Value& value, TextBuilder& out);
Status append_repr(Runtime& runtime, const Value& value, TextBuilder& out, int depth = 0);
std::string float_repr(double value);
Result<TextPtr> to_str(Runtime& runtime, const Value& value);

}  // namespace glimpse::jinja
