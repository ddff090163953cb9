#pragma once

// `--config FILE.yaml`: flags of a command as the keys of a YAML file, as vLLM has it.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace glimpse {

// Command line arguments, and where those of them that a file gave come from.
struct ConfiguredArguments {
  struct Origin {
    std::string flag;   // as CLI11's messages name it
    std::string where;  // file:line
  };
  std::vector<std::string> arguments;
  std::vector<Origin> origins;

  // file:line of the flag that CLI11's message is about; empty if it is none of the file's.
  std::string where(const std::string& message) const;
};

// Command line arguments (the command's name first) with what the file of `--config` says appended as flags, and
// `--config` itself removed; as they are when it is not among them. A flag that is given on the command line wins over
// the file's. Keys are flags without the dashes in front, underscores allowed; a value is a scalar, a list of scalars
// for flags that take several, true or false for flags that take none, or a map, which becomes JSON. Errors: those of
// reading the file; kInvalidArgument with file and line for keys that `command` does not know and values of a wrong
// kind.
Result<ConfiguredArguments> with_config_file(const CLI::App& command, std::vector<std::string> arguments);

}  // namespace glimpse
