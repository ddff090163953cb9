#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "grammar/nfa.h"

namespace glimpse {

// Bounds as a schema gives them.
struct NumberBounds {
  std::optional<double> minimum;
  std::optional<double> maximum;
  bool exclusive_minimum = false;
  bool exclusive_maximum = false;

  bool any() const { return minimum || maximum; }
};

// Integers within the bounds, of up to 18 digits, written without point and exponent. Errors: kInvalidArgument when
// there is none.
Result<int32_t> add_integer_range(Nfa& nfa, int32_t from, const NumberBounds& bounds);

// Decimal numbers within the bounds, without an exponent: the integers, fractions of up to 17 digits where the whole
// unit lies within, and near the bounds fractions of as many digits as the bounds have (at least two). Numbers that
// this leaves out are none that anyone needs. Errors: kInvalidArgument when nothing is left.
Result<int32_t> add_number_range(Nfa& nfa, int32_t from, const NumberBounds& bounds);

}  // namespace glimpse
