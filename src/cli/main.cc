#include <cstdio>
#include <exception>

#include "base/result.h"
#include "cli/commands.h"

namespace glimpse {

int report(const Error& error) {
  std::fprintf(stderr, "glimpse: %s\n", error.message.c_str());
  return exit_code(error.code);
}

namespace {

int run(int argc, char** argv) {
  CLI::App program{"Glimpse: answers questions about pictures with GLM vision-language models.", "glimpse"};
  program.set_version_flag("--version", "glimpse " GLIMPSE_VERSION);
  program.require_subcommand(1);
  const Command commands[] = {add_ask(program), add_inspect(program)};
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // 0 for --help and --version; a wrong command line is the user's fault like a wrong file.
    return program.exit(error) == 0 ? 0 : 2;
  }
  for (const Command& command : commands) {
    if (command.app->parsed()) return command.run();
  }
  return 2;
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  try {
    return glimpse::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("glimpse: out of memory\n", stderr);
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "glimpse: unexpected: %s\n", error.what());
    return 1;
  }
}
