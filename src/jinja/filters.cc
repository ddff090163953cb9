#include <algorithm>
#include <utility>

#include "jinja/ast.h"
#include "jinja/filters.h"
#include "jinja/tojson.h"

namespace glimpse::jinja {

namespace {

constexpr std::pair<std::string_view, FilterFunction> kFilters[] = {
    {"abs", filters::abs},
    {"attr", filters::attr},
    {"capitalize", filters::change_case<'c'>},
    {"center", filters::center},
    {"count", filters::length},
    {"d", filters::fallback},
    {"default", filters::fallback},
    {"dictsort", filters::dictsort},
    {"first", filters::first},
    {"float", filters::to_float},
    {"format", filters::format},
    {"indent", filters::indent},
    {"int", filters::to_int},
    {"items", filters::items},
    {"join", filters::join},
    {"last", filters::last},
    {"length", filters::length},
    {"list", filters::list},
    {"lower", filters::change_case<'l'>},
    {"map", filters::map},
    {"max", filters::extreme<1>},
    {"min", filters::extreme<-1>},
    {"reject", filters::select<false, false>},
    {"rejectattr", filters::select<false, true>},
    {"replace", filters::replace},
    {"reverse", filters::reverse},
    {"round", filters::round},
    {"safe", filters::string},
    {"select", filters::select<true, false>},
    {"selectattr", filters::select<true, true>},
    {"sort", filters::sort},
    {"string", filters::string},
    {"sum", filters::sum},
    {"title", filters::title},
    {"tojson", tojson},
    {"trim", filters::trim},
    {"unique", filters::unique},
    {"upper", filters::change_case<'u'>},
};

}  // namespace

FilterFunction find_filter(std::string_view name) {
  const auto* const found =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const auto& each) { return each.first == name; });
  return found == std::end(kFilters) ? nullptr : found->second;
}

}  // namespace glimpse::jinja
