#pragma once

#include "weights/file_set.h"

namespace glimpse {

// glimpse-mini, the demonstration model that is part of the executable. Its pages are read from the executable's file
// when they are touched.
FileSet embedded_model();

}  // namespace glimpse
