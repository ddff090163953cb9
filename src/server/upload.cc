#include "server/upload.h"

#include <fmt/format.h>

#include "server/error_response.h"
#include "server/multipart.h"

namespace glimpse {

namespace {

constexpr size_t kMaxFieldBytes = size_t{64} << 20;  // a request's JSON may be a field

// A picture that is arriving.
struct Arriving {
  std::shared_ptr<Picture> picture = std::make_shared<Picture>();
  Sha256 hash;

  void add(std::string_view bytes) {
    hash.update(bytes);
    picture->bytes.append(bytes);
  }
  PicturePtr finish(int64_t begin_ns, int64_t end_ns) {
    picture->sha256 = hash.finish();
    picture->receive = {Span::kReceive, begin_ns, end_ns};
    return std::move(picture);
  }
};

}  // namespace

Task<Uploads> receive_multipart(Exchange& exchange, std::string boundary, uint64_t limit, const Clock& clock) {
  Uploads uploads;
  Multipart::Part part;
  std::optional<Arriving> file;
  Multipart parser(
      std::move(boundary),
      {.begin = [&](const Multipart::Part& next) -> Status {
         part = next;
         if (!part.filename.empty() || part.content_type.starts_with("image/") ||
             part.content_type == "application/octet-stream") {
           file.emplace();
         }
         return {};
       },
       .data = [&](std::string_view bytes) -> Status {
         if (file) {
           file->add(bytes);
           return {};
         }
         std::string& value = uploads.fields[part.name];
         if (value.size() + bytes.size() > kMaxFieldBytes) {
           return Error{ErrorCode::kTooLarge, "the field " + part.name + " is too large"};
         }
         value.append(bytes);
         return {};
       },
       .end = [&]() -> Status {
         if (!file) {
           uploads.fields[part.name];  // an empty one
           return {};
         }
         uploads.files.push_back({part.name, part.filename, file->finish(exchange.request.arrival_ns, clock.now_ns())});
         file.reset();
         return {};
       }});
  uint64_t total = 0;
  for (;;) {
    const Connection::Piece piece = co_await exchange.read_piece(limit - total);
    if (piece.fault) {
      uploads.failure = error_response(*piece.fault);
      co_return uploads;
    }
    if (piece.bytes.empty()) break;
    total += piece.bytes.size();
    const Status status = parser.push(piece.bytes);
    if (!status) {
      uploads.failure = error_response(to_api_error(status.error()));
      co_return uploads;
    }
  }
  const Status status = parser.finish();
  if (!status) uploads.failure = error_response(to_api_error(status.error()));
  co_return uploads;
}

Task<Uploads> receive_raw(Exchange& exchange, uint64_t limit, const Clock& clock) {
  Uploads uploads;
  Arriving file;
  uint64_t total = 0;
  for (;;) {
    const Connection::Piece piece = co_await exchange.read_piece(limit - total);
    if (piece.fault) {
      uploads.failure = error_response(*piece.fault);
      co_return uploads;
    }
    if (piece.bytes.empty()) break;
    if (total == 0)
      file.picture->bytes.reserve(std::min<uint64_t>(exchange.request.content_length.value_or(0), 1 << 20));
    total += piece.bytes.size();
    file.add(piece.bytes);
  }
  uploads.files.push_back({"file", "", file.finish(exchange.request.arrival_ns, clock.now_ns())});
  co_return uploads;
}

}  // namespace glimpse
