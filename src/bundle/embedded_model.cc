#include "bundle/embedded_model.h"

#define EMBEDDED_FILE(index, name)                   \
  extern "C" const std::byte glimpse_mini_##index[]; \
  extern "C" const std::byte glimpse_mini_##index##_end[];
#include "embedded_files.inc"
#undef EMBEDDED_FILE

namespace glimpse {

FileSet embedded_model() {
#define EMBEDDED_FILE(index, name) {name, {glimpse_mini_##index, glimpse_mini_##index##_end}},
  return FileSet::from_memory("glimpse-mini (built in)", {
#include "embedded_files.inc"
                                                         });
#undef EMBEDDED_FILE
}

}  // namespace glimpse
