#include "bench/server/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace glimpse {

namespace {

constexpr size_t kTailBytes = 8192;

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Conversation {
  int socket = -1;
  const LoadRequest* request = nullptr;
  size_t sent = 0;
  LoadResult result;
  std::string carry;  // the end of what was read, where a marker may be cut
  bool done = false;
};

int connect_to(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return -1;
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(socket);
    return -1;
  }
  return socket;
}

// Counts events and notes times; the answer ends with its connection ("connection: close").
void take(Conversation& c, std::string_view bytes, int64_t at_ns) {
  LoadResult& result = c.result;
  if (result.status == 0 && c.carry.size() + bytes.size() >= 12) {
    const std::string head = (c.carry + std::string(bytes.substr(0, 12))).substr(0, 12);
    result.status = std::atoi(head.c_str() + 9);
  }
  constexpr std::string_view kEvent = "\ndata: ";
  const std::string joined = c.carry + std::string(bytes);
  for (size_t at = joined.find(kEvent); at != std::string::npos; at = joined.find(kEvent, at + 1)) {
    if (at + kEvent.size() <= c.carry.size()) continue;  // counted before
    if (result.first_event_ns == 0) result.first_event_ns = at_ns;
    ++result.num_events;
  }
  c.carry = joined.substr(joined.size() - std::min(joined.size(), kEvent.size() - 1));
  result.tail.append(bytes);
  if (result.tail.size() > 2 * kTailBytes) result.tail.erase(0, result.tail.size() - kTailBytes);
}

void finish(Conversation& c, int64_t at_ns) {
  c.done = true;
  c.result.end_ns = at_ns;
  if (c.result.tail.find("data: [DONE]") != std::string::npos) --c.result.num_events;
  ::close(c.socket);
}

}  // namespace

std::string post_bytes(const std::string& path, const std::string& body, const std::string& content_type,
                       bool keep_alive) {
  return "POST " + path + " HTTP/1.1\r\nhost: bench\r\ncontent-type: " + content_type +
         "\r\ncontent-length: " + std::to_string(body.size()) + (keep_alive ? "" : "\r\nconnection: close") +
         "\r\n\r\n" + body;
}

std::vector<LoadResult> run_load(const std::string& host, uint16_t port, const std::vector<LoadRequest>& requests,
                                 double timeout_s) {
  std::vector<Conversation> conversations(requests.size());
  const int poll = ::epoll_create1(EPOLL_CLOEXEC);
  // Connections are made before the clock starts: they are not what is measured.
  for (size_t i = 0; i < requests.size(); ++i) {
    conversations[i].request = &requests[i];
    conversations[i].socket = connect_to(host, port);
    conversations[i].done = conversations[i].socket < 0;
  }
  const int64_t begin_ns = now_ns();
  std::vector<size_t> order(requests.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return requests[a].start_ns < requests[b].start_ns; });
  size_t next = 0;
  size_t left = static_cast<size_t>(
      std::count_if(conversations.begin(), conversations.end(), [](const Conversation& c) { return !c.done; }));
  std::vector<char> buffer(size_t{256} << 10);
  std::vector<epoll_event> events(256);
  while (left > 0 && static_cast<double>(now_ns() - begin_ns) / 1e9 < timeout_s) {
    while (next < order.size() && now_ns() - begin_ns >= requests[order[next]].start_ns) {
      Conversation& c = conversations[order[next]];
      if (!c.done) {
        c.result.sent_ns = now_ns() - begin_ns;
        epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.u64 = order[next]}};
        ::epoll_ctl(poll, EPOLL_CTL_ADD, c.socket, &event);
      }
      ++next;
    }
    const int wait_ms = next < order.size() ? 1 : 100;
    const int count = ::epoll_wait(poll, events.data(), static_cast<int>(events.size()), wait_ms);
    for (int i = 0; i < count; ++i) {
      Conversation& c = conversations[events[static_cast<size_t>(i)].data.u64];
      if (c.done) continue;
      if ((events[static_cast<size_t>(i)].events & EPOLLOUT) != 0) {
        const std::string& bytes = c.request->bytes;
        const ssize_t sent =
            ::send(c.socket, bytes.data() + c.sent, bytes.size() - c.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) c.sent += static_cast<size_t>(sent);
        if (c.sent == bytes.size()) {
          epoll_event event{.events = EPOLLIN, .data = {.u64 = events[static_cast<size_t>(i)].data.u64}};
          ::epoll_ctl(poll, EPOLL_CTL_MOD, c.socket, &event);
        }
      }
      if ((events[static_cast<size_t>(i)].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        const ssize_t got = ::recv(c.socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
        const int64_t at_ns = now_ns() - begin_ns;
        if (got > 0) {
          take(c, {buffer.data(), static_cast<size_t>(got)}, at_ns);
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
          finish(c, at_ns);
          --left;
        }
      }
    }
  }
  std::vector<LoadResult> results;
  for (Conversation& c : conversations) {
    if (!c.done) ::close(c.socket);
    results.push_back(std::move(c.result));
  }
  ::close(poll);
  return results;
}

double process_cpu_s(int pid) {
  std::FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "r");
  if (file == nullptr) return -1;
  char text[2048];
  const size_t size = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  text[size] = '\0';
  const char* rest = std::strrchr(text, ')');
  unsigned long user = 0;
  unsigned long system = 0;
  if (rest == nullptr ||
      std::sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
    return -1;
  }
  return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

int64_t process_rss_bytes(int pid) {
  std::FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/statm").c_str(), "r");
  if (file == nullptr) return -1;
  long pages = 0;
  const int read = std::fscanf(file, "%*d %ld", &pages);
  std::fclose(file);
  return read == 1 ? int64_t{pages} * ::sysconf(_SC_PAGESIZE) : -1;
}

}  // namespace glimpse
