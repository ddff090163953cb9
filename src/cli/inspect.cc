#include "model/inspect.h"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "bundle/embedded_model.h"
#include "cli/commands.h"
#include "weights/hub.h"

namespace glimpse {

namespace {

struct InspectOptions {
  std::string model;
  bool json = false;
};

Result<InspectReport> inspect_named(const std::string& model) {
  if (model.empty()) return inspect_model(embedded_model());
  ASSIGN_OR_RETURN(const std::string directory, resolve_model(model, hub_cache_from_environment()));
  ASSIGN_OR_RETURN(const FileSet files, FileSet::open(directory));
  return inspect_model(files);
}

}  // namespace

Command add_inspect(CLI::App& program) {
  CLI::App* app = program.add_subcommand("inspect", "Says what a checkpoint is and whether it will load");
  const auto options = std::make_shared<InspectOptions>();
  app->add_option("model", options->model, "Directory or hub id (default: glimpse-mini, built in)");
  app->add_flag("--json", options->json, "Print one JSON object");
  return {app, [options] {
            const auto report_or = inspect_named(options->model);
            if (!report_or) return report(report_or.error());
            fmt::print("{}\n", options->json ? to_text(inspect_json(*report_or)) : inspect_text(*report_or));
            return report_or->will_load() ? 0 : 2;
          }};
}

}  // namespace glimpse
