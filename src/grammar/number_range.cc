#include "grammar/number_range.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>

namespace glimpse {

namespace {

constexpr int64_t kLargest = 999'999'999'999'999'999;  // 18 digits
constexpr int kMaxFractionDigits = 17;
constexpr int kMaxScale = 6;

// Numbers of as many digits as `low` and `high` have, between them.
void add_same_length(Nfa& nfa, int32_t from, const std::string& low, const std::string& high, int32_t to) {
  // A state per position and whether the digits so far are still those of low or of high.
  std::map<std::array<size_t, 3>, int32_t> states;
  const auto state_of = [&](size_t at, bool at_low, bool at_high) {
    if (at == low.size()) return to;
    const std::array<size_t, 3> key = {at, at_low ? 1U : 0U, at_high ? 1U : 0U};
    if (const auto found = states.find(key); found != states.end()) return found->second;
    const int32_t made = at == 0 ? from : nfa.add_state();
    states[key] = made;
    return made;
  };
  for (size_t at = 0; at < low.size(); ++at) {
    for (const bool at_low : {false, true}) {
      for (const bool at_high : {false, true}) {
        const std::array<size_t, 3> key = {at, at_low ? 1U : 0U, at_high ? 1U : 0U};
        if (at == 0 && !(at_low && at_high)) continue;
        if (at > 0 && !states.contains(key)) continue;
        const int32_t here = state_of(at, at_low, at_high);
        const char first = at_low ? low[at] : '0';
        const char last = at_high ? high[at] : '9';
        for (char digit = first; digit <= last; ++digit) {
          const int32_t next = state_of(at + 1, at_low && digit == first, at_high && digit == last);
          nfa.add_bytes(here, static_cast<uint8_t>(digit), static_cast<uint8_t>(digit), next);
        }
      }
    }
  }
}

// Decimal spellings of low to high, both at least 0.
void add_magnitudes(Nfa& nfa, int32_t from, int64_t low, int64_t high, int32_t to) {
  int64_t least = 0;
  int64_t most = 9;
  for (int digits = 1;; ++digits) {
    const int64_t begin = std::max(low, least);
    const int64_t end = std::min(high, most);
    if (begin <= end) {
      const int32_t start = nfa.add_state();
      nfa.add_free(from, start);
      add_same_length(nfa, start, std::to_string(begin), std::to_string(end), to);
    }
    if (digits == 18) break;  // ten times that does not fit
    least = most + 1;
    most = most * 10 + 9;
  }
}

// All integers of low to high with their signs.
void add_signed(Nfa& nfa, int32_t from, int64_t low, int64_t high, int32_t to) {
  if (high >= 0) add_magnitudes(nfa, from, std::max<int64_t>(low, 0), high, to);
  if (low < 0 && low <= high) add_magnitudes(nfa, nfa.add_text(from, "-"), std::max<int64_t>(-high, 1), -low, to);
}

struct IntegerBounds {
  int64_t low;
  int64_t high;
};

IntegerBounds integers_within(const NumberBounds& bounds) {
  IntegerBounds made{-kLargest, kLargest};
  if (bounds.minimum) {
    double low = std::ceil(*bounds.minimum);
    if (bounds.exclusive_minimum && low == *bounds.minimum) low += 1;
    made.low = low >= 1e18 ? kLargest + 1 : low <= -1e18 ? -kLargest : static_cast<int64_t>(low);
  }
  if (bounds.maximum) {
    double high = std::floor(*bounds.maximum);
    if (bounds.exclusive_maximum && high == *bounds.maximum) high -= 1;
    made.high = high >= 1e18 ? kLargest : high <= -1e18 ? -kLargest - 1 : static_cast<int64_t>(high);
  }
  return made;
}

void add_fraction(Nfa& nfa, int32_t from, int32_t to) {
  int32_t at = nfa.add_text(from, ".");
  for (int i = 0; i < kMaxFractionDigits; ++i) {
    const int32_t next = nfa.add_state();
    nfa.add_bytes(at, '0', '9', next);
    nfa.add_free(next, to);
    at = next;
  }
}

// Digits behind the point that tell the bound exactly, up to kMaxScale.
int scale_of(double value) {
  for (int scale = 0; scale < kMaxScale; ++scale) {
    const double scaled = value * std::pow(10, scale);
    if (std::fabs(scaled - std::round(scaled)) < 1e-9 * std::max(1.0, std::fabs(scaled))) return scale;
  }
  return kMaxScale;
}

std::string padded(int64_t number, int digits) {
  std::string text = std::to_string(number);
  return std::string(static_cast<size_t>(digits) - std::min(text.size(), static_cast<size_t>(digits)), '0') + text;
}

// Near a bound that is no integer: "unit.fraction" with fractions first to last of `scale` digits.
void add_edge(Nfa& nfa, int32_t from, int64_t unit, int64_t first, int64_t last, int scale, int32_t to) {
  if (first > last) return;
  const int32_t point = nfa.add_text(from, std::to_string(unit) + ".");
  add_same_length(nfa, point, padded(first, scale), padded(last, scale), to);
}

// The parts of units that only a part of lies within the bounds; numbers below 0 are left to the integers.
void add_edges(Nfa& nfa, int32_t from, const NumberBounds& bounds, int32_t to) {
  if (!bounds.minimum || !bounds.maximum || *bounds.maximum <= 0 || *bounds.maximum >= 1e9) return;
  const double low = std::max(*bounds.minimum, 0.0);
  const double high = *bounds.maximum;
  const int scale = std::max({scale_of(low), scale_of(high), 2});
  const auto factor = static_cast<int64_t>(std::llround(std::pow(10, scale)));
  auto first = static_cast<int64_t>(std::ceil(low * static_cast<double>(factor) - 1e-6));
  auto last = static_cast<int64_t>(std::floor(high * static_cast<double>(factor) + 1e-6));
  if (bounds.exclusive_minimum && low == *bounds.minimum) {
    first = static_cast<int64_t>(std::floor(low * static_cast<double>(factor) + 1e-6)) + 1;
  }
  if (bounds.exclusive_maximum) last = static_cast<int64_t>(std::ceil(high * static_cast<double>(factor) - 1e-6)) - 1;
  if (first > last) return;
  const int64_t low_unit = first / factor;
  const int64_t high_unit = last / factor;
  add_edge(nfa, from, low_unit, first % factor, low_unit == high_unit ? last % factor : factor - 1, scale, to);
  if (low_unit != high_unit) add_edge(nfa, from, high_unit, 0, last % factor, scale, to);
}

Error nothing_within() {
  return {ErrorCode::kInvalidArgument, "no number lies between minimum and maximum"};
}

}  // namespace

Result<int32_t> add_integer_range(Nfa& nfa, int32_t from, const NumberBounds& bounds) {
  const auto [low, high] = integers_within(bounds);
  if (low > high) return nothing_within();
  const int32_t to = nfa.add_state();
  add_signed(nfa, from, low, high, to);
  return to;
}

Result<int32_t> add_number_range(Nfa& nfa, int32_t from, const NumberBounds& bounds) {
  const auto [low, high] = integers_within(bounds);
  const int32_t to = nfa.add_state();
  const size_t before = nfa.size();
  if (low <= high) add_signed(nfa, from, low, high, to);
  // n.frac lies in [n, n + 1), so both have to be within; -m.frac in (-m - 1, -m].
  const int64_t high_unit =
      bounds.maximum ? static_cast<int64_t>(std::floor(std::clamp(*bounds.maximum, -1e18, 1e18 - 1e3))) - 1 : kLargest;
  const int64_t low_unit =
      bounds.minimum ? static_cast<int64_t>(std::ceil(std::clamp(*bounds.minimum, -1e18 + 1e3, 1e18))) + 1 : -kLargest;
  const int32_t whole = nfa.add_state();
  if (high_unit >= 0 && std::max<int64_t>(low, 0) <= high_unit) {
    add_magnitudes(nfa, from, std::max<int64_t>(low, 0), std::min(high_unit, kLargest), whole);
  }
  if (low_unit <= 0 && low_unit <= std::min<int64_t>(high, 0)) {
    add_magnitudes(nfa, nfa.add_text(from, "-"), -std::min<int64_t>(high, 0), std::min(-low_unit, kLargest), whole);
  }
  add_fraction(nfa, whole, to);
  add_edges(nfa, from, bounds, to);
  if (low > high && nfa.size() == before) return nothing_within();
  return to;
}

}  // namespace glimpse
