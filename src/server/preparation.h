#pragma once

// Pictures on their way to the engine: vision cache, decode, resize, patches, each on threads of its own and into
// reused buffers.

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/content.h"
#include "api/error.h"
#include "base/clock.h"
#include "bundle/model_source.h"
#include "engine/engine.h"
#include "image/picture_block.h"
#include "server/picture.h"
#include "server/pixel_buffers.h"
#include "server/work_pool.h"

namespace glimpse {

struct PictureSize {
  int width = 0;
  int height = 0;
  int64_t num_tokens = 0;
};

class Preparation {
 public:
  Preparation(const ModelSource& source, Engine& engine, const Clock& clock, int threads);

  // What its header says; errors as the API names them, with `param`.
  ApiResult<PictureSize> inspect(const Picture& picture, std::string_view param) const;

  struct Order {
    PicturePtr picture;
    ImageDetail detail = ImageDetail::kAuto;
    Priority priority = Priority::kInteractive;
    std::string param;                 // for errors
    CancelFlag cancelled;              // may be null
    std::function<void()> on_encoded;  // on the engine's thread; may be empty; not called for a cache hit
  };
  // The picture's embeddings, queued or there already. Two orders for one picture at the same time do the work once.
  // Errors: 400 invalid_image; 429 when too many pictures wait.
  Task<ApiResult<PreparedPicture>> prepare(Order order);

  // The vision cache's name of a picture under `detail`.
  ImageKey key(const Sha256Digest& sha256, ImageDetail detail) const;

  size_t waiting() const { return pool_.waiting(); }
  void stop() { pool_.stop(); }

  struct Counters {
    int64_t hits = 0;      // the engine had the embeddings
    int64_t prepared = 0;  // decoded and resized
    int64_t failed = 0;
  };
  const Counters& counters() const { return counters_; }  // I/O thread

 private:
  // One of scratches_ for as long as it is in use.
  class Scratch {
   public:
    explicit Scratch(Preparation& owner);
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ImageScratch& get() const { return *scratch_; }

   private:
    Preparation& owner_;
    std::unique_ptr<ImageScratch> scratch_;
  };

  struct InFlight {
    explicit InFlight(asio::any_io_executor executor) : done(executor, asio::steady_timer::time_point::max()) {}
    std::atomic<int> interested{1};
    asio::steady_timer done;  // cancelled when the result is there
    std::optional<ApiResult<PreparedPicture>> result;
  };

  ApiResult<PreparedPicture> work(const Order& order, const ImageKey& key, int64_t given_ns, const InFlight& flight);
  ImageOptions options_for(ImageDetail detail) const;
  Result<int64_t> make_patches(const Picture& picture, const ImagePlan& plan, const ImageOptions& options,
                               PatchFormat format, ImageScratch& scratch, PixelValues& out);
  Result<int64_t> make_block(const Picture& picture, const ImagePlan& plan, const ImageOptions& options,
                             ImageScratch& scratch, PixelValues& out);

  const ModelSource& source_;
  Engine& engine_;
  const Clock& clock_;
  std::string options_text_;  // what beside the bytes decides the embeddings
  std::shared_ptr<PixelBuffers> buffers_;
  std::mutex scratch_mutex_;
  std::vector<std::unique_ptr<ImageScratch>> scratches_;  // guarded by scratch_mutex_
  std::map<ImageKey, std::shared_ptr<InFlight>> in_flight_;
  Counters counters_;
  WorkPool pool_;  // last: stopped first
};

}  // namespace glimpse
