#pragma once

// A load generator: many HTTP/1.1 requests at once on one thread, with times on the client's clock. It does next to
// nothing with the answers, because it shares the processor with what it measures.

#include <cstdint>
#include <string>
#include <vector>

namespace glimpse {

struct LoadRequest {
  std::string bytes;     // the whole request on the wire
  int64_t start_ns = 0;  // relative to the run's begin
};

struct LoadResult {
  int status = 0;              // 0: no answer
  int64_t sent_ns = 0;         // relative to the run's begin, as the others
  int64_t first_event_ns = 0;  // of a stream: the first "data: " line
  int64_t end_ns = 0;
  int64_t num_events = 0;  // "data: " lines but [DONE]
  std::string tail;        // the answer's last 8 KiB: latency, usage
};

// A request for `path` with a JSON body, on a connection of its own or (keep_alive) one that goes on.
std::string post_bytes(const std::string& path, const std::string& body, const std::string& content_type,
                       bool keep_alive);

// Sends each request at its time over a connection of its own, and reads the answers. Returns when all have ended, or
// after timeout_s.
std::vector<LoadResult> run_load(const std::string& host, uint16_t port, const std::vector<LoadRequest>& requests,
                                 double timeout_s);

// CPU time of a process so far, user and system, in seconds (/proc); negative when it cannot be read.
double process_cpu_s(int pid);
// Resident memory in bytes, likewise.
int64_t process_rss_bytes(int pid);

}  // namespace glimpse
