#pragma once

#include <cstdint>

namespace glimpse {

// Of a device with memory of its own, whoever uses it; all zero where the model runs on the host.
struct DeviceUsage {
  int64_t memory_used = 0;   // bytes
  int64_t memory_total = 0;  // bytes
  double load = -1;          // share of the last moments in which it worked; negative: not known
};

}  // namespace glimpse
