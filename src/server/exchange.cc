#include "server/exchange.h"

#include <fmt/format.h>

#include "server/error_response.h"

namespace glimpse {

void Exchange::release() {
  budget_.used -= budget_used_;
  budget_used_ = 0;
}

Task<Exchange::Body> Exchange::read_all(uint64_t limit) {
  Body body;
  if (!request.has_body && !request.content_length && request.method == "POST") {
    body.failure = error_response(HttpFault{411, "the request needs a body, with content-length or chunked"});
    co_return body;
  }
  if (request.content_length.value_or(0) > limit) {
    body.failure = error_response(
        HttpFault{413, fmt::format("the body has {} bytes; at most {} are taken", *request.content_length, limit)});
    co_return body;
  }
  // A declared length is not believed further than the first bytes: memory is taken as they come.
  for (;;) {
    const Connection::Piece piece = co_await read_piece(limit - body.bytes.size());
    if (piece.fault) {
      body.failure = error_response(*piece.fault);
      break;
    }
    if (piece.bytes.empty()) break;
    constexpr size_t kBelieved = 64 << 10;
    if (body.bytes.size() < kBelieved && body.bytes.size() + piece.bytes.size() >= kBelieved &&
        request.content_length) {
      body.bytes.reserve(std::min<uint64_t>(*request.content_length, uint64_t{4} << 20));
    }
    body.bytes.append(piece.bytes);
  }
  if (body.failure) body.bytes = {};
  co_return body;
}

Task<Connection::Piece> Exchange::read_piece(uint64_t limit) {
  Connection::Piece piece = co_await connection_.read_body();
  if (piece.fault || piece.bytes.empty()) co_return piece;
  if (piece.bytes.size() > limit) {
    piece.fault = HttpFault{413, "the request's body is too large"};
  } else if (budget_.used + piece.bytes.size() > budget_.limit) {
    piece.fault = HttpFault{503, "too many large requests are being received"};
  } else {
    budget_.used += piece.bytes.size();
    budget_used_ += piece.bytes.size();
  }
  co_return piece;
}

void Exchange::start_stream(const HttpResponse& head) {
  stream_started_ = true;
  stream_status_ = head.status;
  HttpResponse full = head;
  full.headers.insert(full.headers.end(), extra_headers_.begin(), extra_headers_.end());
  const bool reusable = keep_alive() && !request.http10 && connection_.body_done();
  connection_.write(format_head(full, request, std::nullopt, reusable), true);
}

bool Exchange::write_stream(std::string_view bytes) {
  if (bytes.empty()) return !connection_.broken();
  if (request.http10) return connection_.write(bytes, true);
  frame_.clear();
  fmt::format_to(std::back_inserter(frame_), "{:x}\r\n", bytes.size());
  frame_.append(bytes).append("\r\n");
  return connection_.write(frame_, true);
}

void Exchange::finish_stream() {
  stream_finished_ = true;
  if (!request.http10) connection_.write("0\r\n\r\n", false);
}

}  // namespace glimpse
