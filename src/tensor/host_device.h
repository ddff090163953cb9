#pragma once

// Marks small functions that device code calls too; nothing elsewhere.

#ifdef __CUDACC__
#define GLIMPSE_HOST_DEVICE __host__ __device__
#else
#define GLIMPSE_HOST_DEVICE
#endif
