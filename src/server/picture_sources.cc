#include "server/picture_sources.h"

#include <fmt/format.h>

namespace glimpse {

Task<ApiResult<std::vector<PreparedPicture>>> PictureSources::resolve(std::vector<ImageSource> sources, Asker asker) {
  std::vector<PreparedPicture> pictures;
  if (sources.size() == 1) {  // the usual case, without a coroutine of its own
    ApiResult<PreparedPicture> one = co_await resolve_one(std::move(sources.front()), asker);
    if (!one) co_return std::move(one).error();
    pictures.push_back(*std::move(one));
    co_return pictures;
  }
  const auto executor = co_await asio::this_coro::executor;
  std::vector<std::optional<ApiResult<PreparedPicture>>> results(sources.size());
  size_t left = sources.size();
  asio::steady_timer done(executor, asio::steady_timer::time_point::max());
  for (size_t i = 0; i < sources.size(); ++i) {
    auto one = [this, &asker, &result = results[i], source = std::move(sources[i])]() mutable -> Task<void> {
      result.emplace(co_await resolve_one(std::move(source), asker));
    };
    asio::co_spawn(executor, std::move(one), [&left, &done](std::exception_ptr) {
      if (--left == 0) done.cancel();
    });
  }
  while (left > 0) {
    error_code ignored;
    co_await done.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  for (auto& result : results) {
    if (!result) co_return unavailable("out of memory", 5);
    if (!*result) co_return std::move(*result).error();
    pictures.push_back(**std::move(result));
  }
  co_return pictures;
}

Task<ApiResult<PreparedPicture>> PictureSources::resolve_one(ImageSource source, const Asker& asker) {
  FilePtr file;
  const int64_t begin_ns = clock_.now_ns();
  ApiResult<PicturePtr> picture = co_await find(source, asker, file);
  if (!picture) co_return std::move(picture).error();
  const int64_t found_ns = clock_.now_ns();
  Preparation::Order order{.picture = *picture,
                           .detail = source.detail,
                           .priority = asker.priority,
                           .param = source.param,
                           .cancelled = asker.cancelled};
  ApiResult<PreparedPicture> prepared = co_await preparation_.prepare(std::move(order));
  if (!prepared) co_return prepared;
  prepared->asked_ns = begin_ns;
  if (file != nullptr) {
    // What was done when it was uploaded belongs to the account, before the question.
    prepared->spans.insert(prepared->spans.end(), file->spans.begin(), file->spans.end());
    for (const SpanRecord& span : prepared->image->spans()) {
      if (span.end_ns <= begin_ns) prepared->spans.push_back(span);
    }
  } else if (source.kind != ImageSource::Kind::kFileId) {
    prepared->spans.push_back({Span::kReceive, begin_ns, found_ns});
  }
  co_return prepared;
}

Task<ApiResult<PicturePtr>> PictureSources::find(ImageSource& source, const Asker& asker, FilePtr& file) {
  switch (source.kind) {
    case ImageSource::Kind::kData: {
      auto hash = [&]() -> ApiResult<PicturePtr> {
        auto picture = std::make_shared<Picture>();
        picture->bytes = std::move(source.value);
        picture->sha256 = Sha256::of(picture->bytes);
        return PicturePtr(picture);
      };
      ApiResult<PicturePtr> picture = co_await pool_.run(hash);
      co_return picture;
    }
    case ImageSource::Kind::kHttpUrl: {
      ApiResult<PicturePtr> picture = co_await fetch_.fetch(source.value, source.param, asker.cancelled);
      co_return picture;
    }
    case ImageSource::Kind::kFileUrl: {
      ApiResult<PicturePtr> picture = co_await fetch_.read(source.value, source.param);
      co_return picture;
    }
    case ImageSource::Kind::kFileId:
      if (asker.attachments != nullptr) {
        const auto found = asker.attachments->find(source.value);
        if (found != asker.attachments->end()) {
          file = found->second.file;
          co_return found->second.picture;
        }
      }
      file = files_.find(asker.owner, source.value);
      if (file != nullptr) co_return file->picture;
      break;
    case ImageSource::Kind::kUuid:
      file = files_.find(asker.owner, source.uuid);
      if (file != nullptr) co_return file->picture;
      break;
  }
  ApiError error = invalid_image(source.param, "there is no such file, or it has expired; upload it again");
  error.code = "file_not_found";
  co_return error;
}

}  // namespace glimpse
