#include <algorithm>
#include <cstdio>
#include <exception>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/serve_options.h"

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
  const Command commands[] = {add_ask(program), add_inspect(program), add_serve(program)};
  ConfiguredArguments configured;
  try {
    std::vector<std::string> arguments = with_dashes(argc, argv);
    if (!arguments.empty() && arguments.front() == "serve") {
      auto with_file = with_config_file(*program.get_subcommand("serve"), std::move(arguments));
      if (!with_file) return report(with_file.error());
      configured = *std::move(with_file);
      arguments = std::move(configured.arguments);
    }
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    program.parse(std::move(arguments));
  } catch (const CLI::ExtrasError& error) {
    const int code = program.exit(error);
    for (const std::string& argument : program.remaining(true)) {
      const CLI::App& command = program.get_subcommands().empty() ? program : *program.get_subcommands().front();
      const std::string nearest = nearest_option(command, argument);
      if (argument.starts_with("--") && !nearest.empty()) std::fprintf(stderr, "Did you mean %s?\n", nearest.c_str());
    }
    return code == 0 ? 0 : 2;
  } catch (const CLI::ParseError& error) {
    if (const std::string where = configured.where(error.what()); !where.empty()) {
      return report({ErrorCode::kInvalidArgument, where + ": " + error.what()});
    }
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
