#pragma once

// What the routes share: the parts of the server, wired. Private to this folder.

#include <deque>
#include <map>

#include "server/device_watch.h"
#include "server/file_store.h"
#include "server/generation.h"
#include "server/http_server.h"
#include "server/media_fetch.h"
#include "server/metrics.h"
#include "server/picture_sources.h"
#include "server/preparation.h"
#include "server/traces.h"
#include "server/work_pool.h"

namespace glimpse {

class WebSocketSession;

struct Service {
  Service(asio::io_context& io_context, const ServerOptions& server_options, const Clock& the_clock,
          const ApiModel& api_model, Engine& the_engine, StepRing* step_ring, HttpServer& http_server);

  asio::io_context& io;
  const ServerOptions& options;
  const Clock& clock;
  const ApiModel& model;
  Engine& engine;
  StepRing* steps;
  int64_t started_s;  // Unix time

  Metrics metrics;
  Traces traces;
  FileStore files;
  WorkPool text_pool;  // parsing and tokenising
  DeviceWatch device;
  Preparation preparation;
  MediaFetch fetch;
  PictureSources pictures;
  GenerationService generations;
  HttpServer& http;

  // Drafts that run, oldest first, by owner.
  std::map<std::string, std::deque<std::pair<std::string, std::shared_ptr<Generation>>>> drafts;

  std::vector<std::weak_ptr<WebSocketSession>> sessions;

  // Moves the engine's step records into histograms and traces.
  void drain_steps();
  // A picture that has arrived: kept as a file, decoded and encoded at once. `on_prepared` and `on_encoded` (I/O
  // thread; may be empty) tell a WebSocket client.
  ApiResult<FilePtr> accept_picture(StoredFile file, std::string_view param, std::function<void(FilePtr)> on_prepared,
                                    std::function<void(FilePtr)> on_encoded);
  // Runs a draft within the owner's bound: the oldest one makes room.
  Task<ApiResult<GenerationService::DraftOutcome>> run_draft(std::string id, std::shared_ptr<Generation> job);
};

// "computed", "cancelled" or "empty".
std::string_view draft_status(const GenerationService::DraftOutcome& outcome);

// One file each.
void add_health_routes(Service& service);
void add_model_routes(Service& service);
void add_generation_routes(Service& service);
void add_file_routes(Service& service);
void add_draft_routes(Service& service);
void add_token_routes(Service& service);
void add_websocket_route(Service& service);
void add_page_routes(Service& service);

}  // namespace glimpse
