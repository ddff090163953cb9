#pragma once

// What is answered while the model is being loaded: the address is taken first, so that a port in use is known at once
// and whoever starts the server can watch it start.

#include <mutex>
#include <string>
#include <string_view>

#include "server/http_server.h"

namespace glimpse {

class Startup {
 public:
  // From here to done() `http` answers by itself: liveness, the version and the page as ever, anything else with 503
  // and the progress. Both outlive this.
  Startup(HttpServer& http, const ServerOptions& options);

  // How far loading is: `share` from 0 to 1, negative when nobody can say. Any thread.
  void report(std::string_view what, double share);
  // The routes answer from now on. I/O thread.
  void done();

 private:
  HttpResponse answer(Exchange& exchange);

  HttpServer& http_;
  const ServerOptions& options_;
  std::mutex mutex_;
  std::string what_ = "starting";
  double share_ = -1;
};

}  // namespace glimpse
