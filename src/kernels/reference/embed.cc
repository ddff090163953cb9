#include "kernels/elements.h"
#include "kernels/reference/ops.h"

namespace glimpse::reference {

void embed(const EmbedArgs& args) {
  for (int64_t t = 0; t < *args.tokens.count; ++t) {
    const int32_t image_row = args.image_rows != nullptr ? args.image_rows[t] : -1;
    const int32_t token = args.token_ids[t];
    const int64_t id = token >= 0 ? token : args.last_ids[-1 - token];
    for (int64_t c = 0; c < args.x.cols; ++c) {
      put_element(args.x, t, c,
                  image_row >= 0 ? get_element(args.images, image_row, c) : get_element(args.table, id, c));
    }
  }
}

}  // namespace glimpse::reference
