// Draws one picture of the synthetic world: a background, ordered primitives (shapes by signed distance, emoji sprites,
// tinted glyphs, pie sectors), then contrast, noise and JPEG artefacts. renderer.py compiles and calls it; the layouts
// of Prim and Img are draw.py's.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
struct Prim {
  float kind, cx, cy, hw, hh, c, s, r, g, b, a, p0, p1, u, v, sw, sh, label, flip, bias, x0, y0, x1, y1;
};
struct Img {
  float H, W, patch0, prim0, prim1, bg, a[3], b[3], q[6], noise, jpeg, bright, contrast, seed, pad[11];
};  // 34 floats
struct Atlas {
  const uint8_t* e;
  const uint8_t* g;
  int ew, eh, gw, gh;
};
static inline float clampf(float x, float l, float h) {
  return fminf(fmaxf(x, l), h);
}
static inline uint32_t hash3(uint32_t x, uint32_t y, uint32_t z) {
  uint32_t h = x * 0x9E3779B1u ^ y * 0x85EBCA77u ^ z * 0xC2B2AE3Du;
  h ^= h >> 15;
  h *= 0x2C1B3C6Du;
  h ^= h >> 12;
  h *= 0x297A2D39u;
  h ^= h >> 15;
  return h;
}
static inline float h01(uint32_t h) {
  return (float)(h >> 8) * (1.0f / 16777216.0f);
}
static inline float vnoise(float x, float y, uint32_t seed) {
  float fx = floorf(x), fy = floorf(y);
  float tx = x - fx, ty = y - fy;
  tx = tx * tx * (3 - 2 * tx);
  ty = ty * ty * (3 - 2 * ty);
  uint32_t ix = (uint32_t)(int)fx, iy = (uint32_t)(int)fy;
  float a = h01(hash3(ix, iy, seed)), b = h01(hash3(ix + 1, iy, seed)), c = h01(hash3(ix, iy + 1, seed)),
        d = h01(hash3(ix + 1, iy + 1, seed));
  return (a + (b - a) * tx) * (1 - ty) + (c + (d - c) * tx) * ty;
}
static inline void background(const Img& im, float x, float y, float* o) {
  int k = (int)im.bg;
  float t = 0;
  uint32_t sd = (uint32_t)im.seed;
  const float* q = im.q;
  float W = im.W, H = im.H;
  if (k == 1)
    t = clampf(0.5f + ((x - W * 0.5f) * q[0] + (y - H * 0.5f) * q[1]) / (fabsf(q[0]) * W + fabsf(q[1]) * H + 1e-3f), 0,
               1);
  else if (k == 2) {
    float dx = (x - W * q[0]) / W, dy = (y - H * q[1]) / H;
    t = clampf(sqrtf(dx * dx + dy * dy) * q[2], 0, 1);
  } else if (k == 3)
    t = clampf(0.5f + 0.25f * (sinf(x * q[0] + q[4]) + sinf(y * q[1] + q[5]) + sinf((x + y) * q[2] + q[5]) +
                               sinf((x - y) * q[3] + q[4])),
               0, 1);
  else if (k == 4) {
    float v = sinf((x * q[0] + y * q[1]) * q[2] + q[3]);
    t = clampf(v * 4 + 0.5f, 0, 1);
  } else if (k == 5) {
    int cx = (int)floorf(x / q[2]), cy = (int)floorf(y / q[2]);
    t = (float)((cx + cy) & 1);
  } else if (k == 6) {
    float s = 0, am = 0.5f, f = 1;
    for (int i = 0; i < 4; i++) {
      s += am * vnoise(x * q[0] * f + 7.3f * i, y * q[1] * f + 3.1f * i, sd + i);
      am *= 0.55f;
      f *= 2.03f;
    }
    t = clampf((s - 0.2f) * 1.6f, 0, 1);
  }
  for (int c = 0; c < 3; c++) o[c] = im.a[c] + (im.b[c] - im.a[c]) * t;
  if (k == 6 && q[2] > 0)
    for (int c = 0; c < 3; c++) o[c] += (vnoise(x * q[0] * 1.7f, y * q[1] * 1.7f, sd + 11 + c) - 0.5f) * q[2];
}
static inline void bil4(const uint8_t* p, int w, int h, float u, float v, float* o) {
  u = clampf(u - 0.5f, 0, w - 1.001f);
  v = clampf(v - 0.5f, 0, h - 1.001f);
  int x = (int)u, y = (int)v;
  float fx = u - x, fy = v - y;
  const uint8_t* a = p + ((size_t)y * w + x) * 4;
  const uint8_t* b = a + (size_t)w * 4;
  for (int c = 0; c < 4; c++)
    o[c] = (a[c] * (1 - fx) + a[4 + c] * fx) * (1 - fy) + (b[c] * (1 - fx) + b[4 + c] * fx) * fy;
}
static inline float bil1(const uint8_t* p, int w, int h, float u, float v) {
  u = clampf(u - 0.5f, 0, w - 1.001f);
  v = clampf(v - 0.5f, 0, h - 1.001f);
  int x = (int)u, y = (int)v;
  float fx = u - x, fy = v - y;
  const uint8_t* a = p + (size_t)y * w + x;
  const uint8_t* b = a + w;
  return (a[0] * (1 - fx) + a[1] * fx) * (1 - fy) + (b[0] * (1 - fx) + b[1] * fx) * fy;
}
static inline float sd_shape(const Prim& p, float x, float y) {
  int k = (int)p.kind;
  float hw = p.hw, hh = p.hh, ax = fabsf(x), ay = fabsf(y), d;
  if (k == 0 || k == 10) {
    float r = p.p0, qx = ax - hw + r, qy = ay - hh + r, mx = fmaxf(qx, 0), my = fmaxf(qy, 0);
    d = sqrtf(mx * mx + my * my) + fminf(fmaxf(qx, qy), 0) - r;
  } else if (k == 1 || k == 11) {
    float ex = x / hw, ey = y / hh;
    d = (sqrtf(ex * ex + ey * ey) - 1) * fminf(hw, hh);
  } else if (k == 4) {
    float r = sqrtf(x * x + y * y);
    d = r - hw;
    float an = atan2f(x, -y);
    if (an < 0) an += 6.2831853f;
    float m = 0.5f * (p.p0 + p.p1), h = 0.5f * (p.p1 - p.p0), da = fabsf(an - m);
    if (da > 3.14159265f) da = 6.2831853f - da;
    d = fmaxf(d, (da - h) * r);
  } else if (k == 5) {
    float L = sqrtf(4 * hh * hh + hw * hw);
    d = fmaxf(y - hh, (ax * 2 * hh - (y + hh) * hw) / L);
  } else if (k == 6) {
    float r = hw, px = ax, py = -y;
    const float kx = 0.809016994f, ky = -0.587785252f;
    float t = fmaxf(kx * px + ky * py, 0);
    px -= 2 * t * kx;
    py -= 2 * t * ky;
    t = fmaxf(-kx * px + ky * py, 0);
    px += 2 * t * kx;
    py -= 2 * t * ky;
    px = fabsf(px);
    py -= r;
    float bx = 0.42f * -ky, by = 0.42f * kx - 1;
    float h = clampf((px * bx + py * by) / (bx * bx + by * by), 0, r);
    float ex = px - bx * h, ey = py - by * h;
    float sg = py * bx - px * by;
    d = sqrtf(ex * ex + ey * ey) * (sg > 0 ? 1.f : -1.f);
  } else if (k == 8)
    d = (ax / hw + ay / hh - 1) * (hw * hh / sqrtf(hw * hw + hh * hh));
  else if (k == 12)
    d = fabsf(sqrtf(x * x + y * y) - 0.78f * hw) - 0.22f * hw;
  else if (k == 13) {
    float a1 = fmaxf(ax - hw * 0.32f, ay - hh), a2 = fmaxf(ax - hw, ay - hh * 0.32f);
    d = fminf(a1, a2);
  } else
    d = fmaxf(ax * 0.8660254f + ay * 0.5f, ay) - hw * 0.8660254f;
  if (p.p1 > 0 && k != 4) d = fabsf(d + 0.5f * p.p1) - 0.5f * p.p1;
  return d;
}
static inline void blend(const Prim& p, const Atlas& A, float x, float y, float* o, int* lab) {
  if (x < p.x0 || x > p.x1 || y < p.y0 || y > p.y1) return;
  float dx = x - p.cx, dy = y - p.cy, lx = dx * p.c + dy * p.s, ly = -dx * p.s + dy * p.c;
  int k = (int)p.kind;
  if (k == 2 || k == 3) {
    if (fabsf(lx) > p.hw || fabsf(ly) > p.hh) return;
    float fx = p.flip > 0 ? -lx : lx;
    float u = p.u + (fx / p.hw * 0.5f + 0.5f) * p.sw, v = p.v + (ly / p.hh * 0.5f + 0.5f) * p.sh;
    float lod = clampf(log2f(fmaxf(p.sw / (2 * p.hw), 1e-3f)) + p.bias, 0, k == 2 ? 2.999f : 1.999f);
    int l = (int)lod;
    float f = lod - l;
    if (k == 2) {
      float s0[4], s1[4];
      size_t off = 0;
      int w = A.ew, h = A.eh;
      for (int i = 0; i < l; i++) {
        off += (size_t)w * h * 4;
        w >>= 1;
        h >>= 1;
      }
      float sc = 1.0f / (float)(1 << l);
      bil4(A.e + off, w, h, u * sc, v * sc, s0);
      off += (size_t)w * h * 4;
      w >>= 1;
      h >>= 1;
      sc *= 0.5f;
      bil4(A.e + off, w, h, u * sc, v * sc, s1);
      float al = (s0[3] + (s1[3] - s0[3]) * f) * (1.f / 255) * p.a;
      float tint[3] = {p.r, p.g, p.b};
      for (int c = 0; c < 3; c++) o[c] = o[c] * (1 - al) + (s0[c] + (s1[c] - s0[c]) * f) * tint[c] * p.a;
      if (al > 0.35f && p.label != 0) *lab = (int)p.label;
    } else {
      size_t off = 0;
      int w = A.gw, h = A.gh;
      for (int i = 0; i < l; i++) {
        off += (size_t)w * h;
        w >>= 1;
        h >>= 1;
      }
      float sc = 1.0f / (float)(1 << l);
      float a0 = bil1(A.g + off, w, h, u * sc, v * sc);
      off += (size_t)w * h;
      w >>= 1;
      h >>= 1;
      sc *= 0.5f;
      float a1 = bil1(A.g + off, w, h, u * sc, v * sc);
      float al = (a0 + (a1 - a0) * f) * (1.f / 255) * p.a;
      o[0] += (p.r - o[0]) * al;
      o[1] += (p.g - o[1]) * al;
      o[2] += (p.b - o[2]) * al;
      if (p.label != 0) *lab = (int)p.label;
    }
    return;
  }
  float al = clampf(0.5f - sd_shape(p, lx, ly), 0, 1) * p.a;
  if (al <= 0) return;
  o[0] += (p.r - o[0]) * al;
  o[1] += (p.g - o[1]) * al;
  o[2] += (p.b - o[2]) * al;
  if (al > 0.35f && p.label != 0) *lab = p.label < 0 ? 0 : (int)p.label;
}
static inline void finish(const Img& im, int x, int y, float* o) {
  float n = 0;
  if (im.noise > 0) {
    uint32_t h = hash3(x, y, (uint32_t)im.seed + 77);
    n = (h01(h) + h01(hash3(h, x, y)) - 1.0f) * 2.45f * im.noise;
  }
  for (int c = 0; c < 3; c++) o[c] = clampf((o[c] - 128) * im.contrast + 128 + im.bright + n, 0, 255);
}
static const int QT[2][64] = {
    {16, 11,  10,  16, 24, 40, 51, 61, 12,  12,  14,  19,  26, 58, 60, 55,  14,  13,  16,  24, 40, 57,
     69, 56,  14,  17, 22, 29, 51, 87, 80,  62,  18,  22,  37, 56, 68, 109, 103, 77,  24,  35, 55, 64,
     81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,  112, 100, 103, 99},
    {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99,
     99, 99, 47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
     99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99}};
static inline float dctc(int k, int n) {
  return (k == 0 ? 0.35355339f : 0.5f) * cosf((2 * n + 1) * k * 0.19634954f);
}
static inline float qscale(float q) {
  return (q < 50 ? 5000.f / q : 200.f - 2 * q) * 0.01f;
}
extern "C" void render_cpu(const Img* im, const Prim* pr, const uint8_t* e, int ew, int eh, const uint8_t* g, int gw,
                           int gh, uint8_t* out, int16_t* labels) {
  Atlas A{e, g, ew, eh, gw, gh};
  int H = (int)im->H, W = (int)im->W, H8 = (H + 15) / 16 * 16, W8 = (W + 15) / 16 * 16;
  float* b = (float*)malloc(sizeof(float) * 3 * H8 * W8);
  for (int y = 0; y < H8; y++)
    for (int x = 0; x < W8; x++) {
      int xx = x < W ? x : W - 1, yy = y < H ? y : H - 1;
      float o[3];
      int lab = 0;
      background(*im, xx + 0.5f, yy + 0.5f, o);
      for (int i = (int)im->prim0; i < (int)im->prim1; i++) blend(pr[i], A, xx + 0.5f, yy + 0.5f, o, &lab);
      finish(*im, xx, yy, o);
      if (labels && x < W && y < H && x % 14 == 7 && y % 14 == 7) labels[(y / 14) * (W / 14) + x / 14] = lab;
      if (im->jpeg > 0) {
        float R = o[0], G = o[1], B = o[2];
        o[0] = 0.299f * R + 0.587f * G + 0.114f * B - 128;
        o[1] = -0.168736f * R - 0.331264f * G + 0.5f * B;
        o[2] = 0.5f * R - 0.418688f * G - 0.081312f * B;
      }
      for (int c = 0; c < 3; c++) b[((size_t)c * H8 + y) * W8 + x] = o[c];
    }
  if (im->jpeg > 0) {
    float D[8][8];
    for (int k = 0; k < 8; k++)
      for (int n = 0; n < 8; n++) D[k][n] = dctc(k, n);
    float qs = qscale(im->jpeg);
    for (int c = 0; c < 3; c++) {
      float* p = b + (size_t)c * H8 * W8;
      if (c && im->jpeg < 80)
        for (int y = 0; y < H8; y += 2)
          for (int x = 0; x < W8; x += 2) {
            float m = 0.25f * (p[y * W8 + x] + p[y * W8 + x + 1] + p[(y + 1) * W8 + x] + p[(y + 1) * W8 + x + 1]);
            p[y * W8 + x] = p[y * W8 + x + 1] = p[(y + 1) * W8 + x] = p[(y + 1) * W8 + x + 1] = m;
          }
      for (int by = 0; by < H8; by += 8)
        for (int bx = 0; bx < W8; bx += 8) {
          float t[8][8], f[8][8];
          for (int i = 0; i < 8; i++)
            for (int k = 0; k < 8; k++) {
              float s = 0;
              for (int n = 0; n < 8; n++) s += D[k][n] * p[(by + i) * W8 + bx + n];
              t[i][k] = s;
            }
          for (int k = 0; k < 8; k++)
            for (int j = 0; j < 8; j++) {
              float s = 0;
              for (int n = 0; n < 8; n++) s += D[k][n] * t[n][j];
              float q = fmaxf(1, floorf(QT[c > 0][k * 8 + j] * qs + 0.5f));
              f[k][j] = rintf(s / q) * q;
            }
          for (int i = 0; i < 8; i++)
            for (int j = 0; j < 8; j++) {
              float s = 0;
              for (int k = 0; k < 8; k++) s += D[k][i] * f[k][j];
              t[i][j] = s;
            }
          for (int i = 0; i < 8; i++)
            for (int j = 0; j < 8; j++) {
              float s = 0;
              for (int k = 0; k < 8; k++) s += D[k][j] * t[i][k];
              p[(by + i) * W8 + bx + j] = s;
            }
        }
    }
  }
  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++) {
      float o[3];
      for (int c = 0; c < 3; c++) o[c] = b[((size_t)c * H8 + y) * W8 + x];
      if (im->jpeg > 0) {
        float Y = o[0] + 128, U = o[1], V = o[2];
        o[0] = Y + 1.402f * V;
        o[1] = Y - 0.344136f * U - 0.714136f * V;
        o[2] = Y + 1.772f * U;
      }
      for (int c = 0; c < 3; c++) out[((size_t)y * W + x) * 3 + c] = (uint8_t)clampf(rintf(o[c]), 0, 255);
    }
  free(b);
}
