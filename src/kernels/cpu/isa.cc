#include "kernels/cpu/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace glimpse::cpu {

namespace {

// XCR0: which register states the operating system saves. Without its consent AVX-512 faults although cpuid lists it.
uint64_t saved_states() {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & bit_OSXSAVE) == 0) return 0;
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// The tile registers' 8 KiB are saved only for processes that asked (Linux 5.16 and later).
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

int detect() {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  const uint64_t saved = saved_states();
  constexpr uint64_t kYmm = 0x6;        // xmm and ymm
  constexpr uint64_t kZmm = 0xe6;       // and opmask, upper halves, zmm16..31
  constexpr uint64_t kTiles = 3 << 17;  // their configuration and their data
  if ((saved & kYmm) != kYmm) return -1;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return -1;
  const bool fma_f16c = (ecx & bit_FMA) != 0 && (ecx & bit_F16C) != 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return -1;
  if (!fma_f16c || (ebx & bit_AVX2) == 0) return -1;
  constexpr uint32_t kNeeded = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  if ((saved & kZmm) != kZmm || (ebx & kNeeded) != kNeeded) return static_cast<int>(CpuIsa::kAvx2);
  const bool vnni = (ecx & bit_AVX512VNNI) != 0;
  constexpr uint32_t kAmxBits = 1u << 22 | 1u << 24 | 1u << 25;  // bf16, tile, int8
  const bool amx = (edx & kAmxBits) == kAmxBits && (saved & kTiles) == kTiles;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) == 0) return static_cast<int>(CpuIsa::kAvx512);
  if (!vnni || (eax & bit_AVX512BF16) == 0) return static_cast<int>(CpuIsa::kAvx512);
  return static_cast<int>(amx && may_use_tiles() ? CpuIsa::kAmx : CpuIsa::kAvx512Bf16);
}

}  // namespace

int detect_isa() {
  static const int best = detect();
  return best;
}

const char* isa_name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx2:
      return "avx2";
    case CpuIsa::kAvx512:
      return "avx512";
    case CpuIsa::kAvx512Bf16:
      return "avx512bf16";
    case CpuIsa::kAmx:
      return "amx";
  }
  return "?";
}

}  // namespace glimpse::cpu
