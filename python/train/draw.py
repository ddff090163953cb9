"""Draw lists for render.cc: primitives of 24 floats, one image record of 34 floats."""

import json
import math
import os

from . import words as W

HERE = os.path.dirname(os.path.abspath(__file__))
META = json.load(open(HERE + "/assets/meta.json"))
EMI = {e: i for i, e in enumerate(META["emoji"])}
NLAT, NF, EM = META["nlat"], len(META["table"]), META["em"]
TAB = META["table"]
NE, NS = len(EMI), len(W.SHAPES)
CH = sorted({c for t in TAB for c in t})
CHI = {c: NE + NS + 1 + i for i, c in enumerate(CH)}
NLABEL = NE + NS + 1 + len(CH)
SHK = {s[0]: (s[2], NE + 1 + i) for i, s in enumerate(W.SHAPES)}
MONO = {i for i, p in enumerate(META["fonts"]) if "Mono" in p}


class Canvas:
    def __init__(s, rng, th, tw):
        s.r, s.th, s.tw, s.H, s.W = rng, th, tw, th * 28, tw * 28
        s.p = []
        s.blur = 0.0
        s.bgname = None
        s.img = [0.0] * 34

    def add(
        s,
        kind,
        cx,
        cy,
        hw,
        hh,
        col=(255, 255, 255),
        ang=0.0,
        alpha=1.0,
        p0=0.0,
        p1=0.0,
        uv=(0, 0, 0, 0),
        label=0,
        flip=0,
        bias=0.0,
    ):
        c, sn = (1.0, 0.0) if ang == 0 else (math.cos(ang), math.sin(ang))
        ex, ey = abs(hw * c) + abs(hh * sn) + 1, abs(hw * sn) + abs(hh * c) + 1
        s.p.append(
            (
                kind,
                cx,
                cy,
                hw,
                hh,
                c,
                sn,
                col[0],
                col[1],
                col[2],
                alpha,
                p0,
                p1,
                uv[0],
                uv[1],
                uv[2],
                uv[3],
                label,
                flip,
                bias,
                cx - ex,
                cy - ey,
                cx + ex,
                cy + ey,
            )
        )

    def rect(s, x0, y0, x1, y1, col, r=0.0, alpha=1.0, p1=0.0, label=0):
        s.add(0, (x0 + x1) / 2, (y0 + y1) / 2, abs(x1 - x0) / 2, abs(y1 - y0) / 2, col, 0.0, alpha, r, p1, label=label)

    def line(s, x0, y0, x1, y1, w, col, alpha=1.0):
        L = math.hypot(x1 - x0, y1 - y0)
        s.add(0, (x0 + x1) / 2, (y0 + y1) / 2, L / 2 + w * 0.3, w / 2, col, math.atan2(y1 - y0, x1 - x0), alpha)

    def emoji(s, e, cx, cy, size, ang=0.0, flip=0, tint=(1, 1, 1), label=True):
        i = EMI[e]
        k = META["cols"]
        h = size * 72.0 / 132
        s.add(
            2,
            cx,
            cy,
            h,
            h,
            tint,
            ang,
            1.0,
            uv=((i % k) * 144, (i // k) * 144, 144, 144),
            label=i + 1 if label else 0,
            flip=flip,
            bias=s.blur,
        )

    def shape(s, zh, cx, cy, size, col, ang=0.0, outline=0.0):
        k, lab = SHK[zh]
        hw = hh = size / 2
        if zh == "长方形":
            hh *= 0.55
        elif zh == "椭圆":
            hh *= 0.6
        elif zh == "菱形":
            hw *= 0.75
        elif zh == "三角形":
            hh *= 0.88
        elif zh == "正方形":
            hw *= 0.86
            hh *= 0.86
        s.add(k, cx, cy, hw, hh, col, ang, 1.0, 0.0, outline, label=lab)

    def tw_(s, t, f, em):
        tab = TAB[f]
        w = 0.0
        for c in t:
            g = tab.get(c)
            w += g[6] if g else (EM * 0.3 if c == " " else EM)
        return w * em / EM

    def text(s, t, x, y, f, em, col, alpha=1.0, anchor="l", label=True, gap=0.0, ang=0.0, pivot=None):
        """y is the baseline; anchor l/m/r. Rotation turns glyph centres and glyphs about pivot."""
        k = em / EM
        tab = TAB[f]
        if anchor != "l":
            w = s.tw_(t, f, em) + gap * max(0, len(t) - 1)
            x -= w / 2 if anchor == "m" else w
        ca, sa = math.cos(ang), math.sin(ang)
        for c in t:
            g = tab.get(c)
            if g is None:
                x += (EM * 0.3 if c == " " else EM) * k + gap
                continue
            w, h = g[2] * k / 2 + k, g[3] * k / 2 + k
            cx, cy = x + (g[4] + g[2] / 2) * k, y + (g[5] + g[3] / 2) * k
            if ang:
                dx, dy = cx - pivot[0], cy - pivot[1]
                cx, cy = pivot[0] + dx * ca - dy * sa, pivot[1] + dx * sa + dy * ca
            s.add(
                3,
                cx,
                cy,
                w,
                h,
                col,
                ang,
                alpha,
                uv=(g[0] - 1, g[1] - 1, g[2] + 2, g[3] + 2),
                label=CHI[c] if label else 0,
                bias=s.blur,
            )
            x += g[6] * k + gap
        return x

    def font(s, cjk=False):
        return s.r.randrange(NLAT, NF) if cjk else s.r.randrange(NF)

    def setbg(s, kind, a, b=(0, 0, 0), q=()):
        im = s.img
        im[0], im[1], im[5] = s.H, s.W, kind
        im[6:9] = a
        im[9:12] = b
        for i, v in enumerate(q):
            im[12 + i] = v
        im[22] = s.r.randrange(1 << 20)

    def augment(s, strength=1.0):
        r = s.r
        im = s.img
        im[20], im[21] = 0.0, 1.0
        if r.random() < 0.35 * strength:
            im[18] = r.uniform(1, 9) * strength
        if r.random() < 0.4 * strength:
            im[19] = r.choice((30, 45, 60, 75, 85, 92))
        if r.random() < 0.3 * strength:
            im[21] = r.uniform(0.75, 1.15)
            im[20] = r.uniform(-18, 18)

    def record(s, patch0, prim0):
        im = list(s.img)
        im[2], im[3], im[4] = patch0, prim0, prim0 + len(s.p)
        return im
