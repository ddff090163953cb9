"""Phrases, places, colours and backgrounds that all scenes share. A QA is (task, question, answer, think)."""

import math

from . import words as W
from .draw import META

T = W.THINGS
FOODS = [t for t in T if t.cat in ("food", "fruit", "veg")]
DICT = META["words"]
HANZI = META["hanzi"]
POS = {
    "zh": ("左上角", "上方", "右上角", "左侧", "中间", "右侧", "左下角", "下方", "右下角"),
    "en": ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"),
}


def pos9(x, y):
    return min(2, int(y * 3)) * 3 + min(2, int(x * 3))


def an(w):
    return ("an " if w[0] in "aeioAEI" and not w.startswith(("unic", "one")) else "a ") + w


def the_one(t):
    return t.en if t.en == t.ens else an(t.en)


def join(xs, L):
    xs = list(xs)
    if L == "zh":
        return xs[0] if len(xs) == 1 else "、".join(xs[:-1]) + "和" + xs[-1]
    return xs[0] if len(xs) == 1 else ", ".join(xs[:-1]) + " and " + xs[-1]


def jit(r, c, s=16):
    return tuple(max(0, min(255, v + r.uniform(-s, s))) for v in c)


def lum(c):
    return 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2]


PZ = ["", "", "", "", "", "", "请问", "请问", "帮我看看,", "你好,", "看看这张图,", "麻烦问一下,", "请看图:"]
CZ = ["", "", "", "", "请", "请", "请你", "帮我", "麻烦你", "请帮我", "看图,"]
PE = ["", "", "", "", "", "", "Hi, ", "Please tell me, ", "Look at the image. ", "Question: ", "Can you tell me: "]
CE = ["", "", "", "", "Please ", "Please ", "Can you ", "Could you please ", "Hey, "]


def ask(r, L, opts):
    """Pick a paraphrase and vary its wrapping: politeness, case, final punctuation."""
    q = r.choice(opts)
    isq = q[-1] in "??"
    if L == "zh":
        if isq:
            q = r.choice(PZ) + q
            if r.random() < 0.25:
                q = q[:-1]
            elif r.random() < 0.5:
                q = q[:-1] + "?"
        else:
            q = r.choice(CZ) + q
            if r.random() < 0.4:
                q += r.choice("。。!")
    else:
        x = r.choice(PE if isq else CE)
        q = (x + q[0].lower() + q[1:]) if x and x[-2:] != ". " and x[-2:] != ": " and not q.startswith("I ") else x + q
        if not isq:
            q += r.choice(("", "", ".", "?" if x.startswith("C") else "."))
        elif r.random() < 0.25:
            q = q[:-1]
        if r.random() < 0.15:
            q = q.lower()
    return q


def C(zh, en):
    return {"zh": zh.split("|"), "en": en.split("|")}


Q_DESC = C(
    "描述这张图片的内容|描述一下这张图|描述图片|图里有什么?|这张图片里有什么?|图片里都有些什么?|详细描述这张图片|用一句话描述这张图|这张图是什么内容?|看图说话|你看到了什么?|你在图里看到了什么?|告诉我图中有什么|介绍一下这张图片|说说这幅图的内容|这是一张什么图?|说明一下图片内容|描述一下画面|用中文描述这张图片",
    "Describe this image|Describe the picture|Describe the image in detail|What is in this image?|What's in the picture?|What do you see?|What can you see in this image?|Tell me what is in the picture|Give a description of this image|What does this image show?|Explain what the picture shows|Summarize this image|Caption this image|Describe what you see|What is shown here?|What is this?",
)
BGN = {
    "grad": ("{a}到{b}的渐变色", "a {a}-to-{b} gradient"),
    "tex": ("花纹", "textured"),
    "stripe": ("{a}和{b}相间的条纹", "{a} and {b} striped"),
    "check": ("{a}和{b}相间的格子", "{a} and {b} checkered"),
}


def background(cv, r, simple=0.45):
    """Sets a background, returns ((zh, en) noun phrases, mean colour)."""
    x = r.random()
    a, b = r.sample(W.COLORS, 2)
    if x < simple:
        if r.random() < 0.25:
            a = W.COLORS[10]
        c = jit(r, a[2], 14)
        cv.setbg(0, c)
        return (a[0], a[1]), c
    if x < simple + 0.18:
        th = r.uniform(0, 6.283)
        cv.setbg(1, jit(r, a[2]), jit(r, b[2]), (math.cos(th), math.sin(th)))
        mean = tuple((p + q) / 2 for p, q in zip(a[2], b[2]))
        return ("渐变色", "gradient"), mean
    if x < simple + 0.24:
        cv.setbg(2, jit(r, a[2]), jit(r, b[2]), (r.uniform(0.2, 0.8), r.uniform(0.2, 0.8), r.uniform(0.8, 1.8)))
        return ("渐变色", "gradient"), a[2]
    A = tuple(r.uniform(20, 245) for _ in range(3))
    k = r.uniform(0.15, 0.7)
    B = tuple(v + (r.uniform(0, 255) - v) * k for v in A)
    M = tuple((p + q) / 2 for p, q in zip(A, B))
    if x < simple + 0.40:
        f = r.choice((0.006, 0.012, 0.025, 0.05))
        cv.setbg(6, A, B, (f * r.uniform(0.5, 2), f * r.uniform(0.5, 2), r.choice((0, 30, 80))))
        return ("花纹", "textured"), M
    if x < simple + 0.47:
        cv.setbg(3, A, B, tuple(r.uniform(0.005, 0.06) for _ in range(4)) + (r.uniform(0, 6), r.uniform(0, 6)))
        return ("花纹", "textured"), M
    if x < simple + 0.51:
        th = r.uniform(0, 3.14)
        cv.setbg(4, A, B, (math.cos(th), math.sin(th), r.uniform(0.08, 0.4), 0))
        return ("条纹", "striped"), M
    cv.setbg(5, A, B, (0, 0, r.uniform(12, 40)))
    return ("格子", "checkered"), M


def bg_ans(bg, L):
    if L == "zh":
        return f"背景是{bg[0]}。"
    return f"The background is {bg[1]}."
