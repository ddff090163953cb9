#pragma once

// The commands. Each adds its options to the program's command line and returns what to run when it was chosen: the
// exit code, after it printed its own error.

#include <CLI/CLI.hpp>
#include <functional>

namespace glimpse {

struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

Command add_ask(CLI::App& program);
Command add_inspect(CLI::App& program);
Command add_serve(CLI::App& program);

// "glimpse: MESSAGE" on stderr; returns the exit code of the error.
struct Error;
int report(const Error& error);

}  // namespace glimpse
