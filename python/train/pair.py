"""Two pictures that differ in a known way, or not at all."""

from . import words as W
from .common import C, ask, jit
from .draw import Canvas
from .objects import Kind, order, pick_kinds, place

Q_DIFF2 = C(
    "这两张图有什么不同?|比较这两张图片|两张图的区别是什么?|找出两张图的不同之处|对比一下这两张图片|两幅图有什么差别?|第一张图和第二张图有什么不一样?",
    "What is different between the two images?|Compare the two images|What are the differences between these pictures?|Find the difference|How do the two images differ?|What changed from the first image to the second?",
)
Q_SAME = C(
    "两张图一样吗?|这两张图片相同吗?|两张图有区别吗?",
    "Are the two images the same?|Are these pictures identical?|Is there any difference between the two images?",
)
Q_MORE2 = C(
    "哪张图的{o}更多?|哪一张图里{o}多?|{o}在哪张图里更多?",
    "Which image has more {os}?|In which picture are there more {os}?|Which one contains more {os}?",
)
Q_WHICH = C(
    "哪张图里有{o}?|{o}在第几张图?|哪一张图有{o}?",
    "Which image contains the {s}?|In which image is the {s}?|Which picture has the {s}?",
)


def pair(r, L, force=None):
    z = L == "zh"
    while True:
        h, w = r.randint(4, 9), r.randint(4, 9)
        if 20 <= h * w <= 64:
            break

    def colour():
        c = r.choice(W.COLORS)
        return c

    nk = r.choice((1, 2, 2, 3))
    k1 = pick_kinds(r, nk)
    cnt1 = [r.randint(1, 4) for _ in k1]
    c1 = colour()
    k2 = [Kind(k.t, k.shape, k.col) for k in k1]
    cnt2 = list(cnt1)
    c2 = c1
    what = r.choices(("count", "object", "bg", "same", "multi"), (36, 26, 16, 10, 12))[0]
    if what in ("count", "multi"):
        i = r.randrange(nk)
        cnt2[i] = r.choice([x for x in range(1, 6) if x != cnt1[i]])
    if what == "object":
        i = r.randrange(nk)
        new = pick_kinds(r, 1)[0]
        if new.zh in {k.zh for k in k1}:
            what = "same"
        else:
            k2[i] = new
    if what in ("bg", "multi"):
        c2 = r.choice([c for c in W.COLORS if c is not c1])
    cvs = []
    odd = r.random() < 0.3
    for j, (k, c, bc) in enumerate(((k1, cnt1, c1), (k2, cnt2, c2))):
        while odd and j:
            h, w = r.randint(4, 9), r.randint(4, 9)
            if 20 <= h * w <= 64:
                break
        cv = Canvas(r, h, w)
        col = jit(r, bc[2], 10)
        cv.setbg(0, col)
        place(cv, r, k, c, col)
        cv.augment(0.6)
        cvs.append(cv)

    def one(ks, L):
        return "、".join(k.nz(L) for k in order(ks)) if z else ", ".join(k.nz(L) for k in order(ks))

    n1 = {k.zh: k for k in k1}
    n2 = {k.zh: k for k in k2}
    d = []
    for k in order(k1):
        if k.zh in n2 and n2[k.zh].n != k.n:
            d.append(
                f"{k.zh}从{k.n}{k.mw}变成了{n2[k.zh].n}{k.mw}"
                if z
                else f"the number of {k.ens} changed from {k.n} to {n2[k.zh].n}"
            )
        elif k.zh not in n2:
            o = [q for q in k2 if q.zh not in n1][0]
            d.append(f"{k.zh}变成了{o.zh}" if z else f"the {k.en} was replaced by the {o.en}")
    if c1 is not c2:
        d.append(f"背景从{c1[0]}变成了{c2[0]}" if z else f"the background changed from {c1[1]} to {c2[1]}")
    S = (
        (f"第一张图:{one(k1, L)},{c1[0]}背景。第二张图:{one(k2, L)},{c2[0]}背景。")
        if z
        else f"Image 1: {one(k1, L)}, {c1[1]} background. Image 2: {one(k2, L)}, {c2[1]} background."
    )
    D = (
        ((",".join(d) + "。") if z else (lambda s: s[0].upper() + s[1:] + ".")("; ".join(d)))
        if d
        else ("两张图没有不同。" if z else "The two images show the same things.")
    )

    def diff():
        return (
            "compare",
            ask(r, L, Q_DIFF2[L]),
            (S + ("不同之处:" if d else "") + D) if z else (S + (" Difference: " if d else " ") + D),
            S,
        )

    def same():
        return (
            "same",
            ask(r, L, Q_SAME[L]),
            ("一样。" if not d else "不一样," + D)
            if z
            else ("Yes, they show the same things." if not d else "No. " + D),
            S,
        )

    def more():
        c = [k for k in k1 if k.zh in n2]
        if not c:
            return None
        k = r.choice(c)
        a, b = k.n, n2[k.zh].n
        q = ask(r, L, [s.format(o=k.zh, os=k.ens) for s in Q_MORE2[L]])
        t = (
            (f"一样多,都是{a}{k.mw}。" if z else f"The same: {a} in each.")
            if a == b
            else (
                f"第{'一' if a > b else '二'}张图更多,第一张有{a}{k.mw},第二张有{b}{k.mw}。"
                if z
                else f"The {'first' if a > b else 'second'} image: {a} in the first and {b} in the second."
            )
        )
        return ("more2", q, t, S)

    def which():
        c = [(k, 0) for k in k1 if k.zh not in n2] + [(k, 1) for k in k2 if k.zh not in n1]
        if not c:
            return None
        k, i = r.choice(c)
        return (
            "which",
            ask(r, L, [s.format(o=k.zh, s=k.en) for s in Q_WHICH[L]]),
            f"第{'一二'[i]}张图。" if z else f"The {('first', 'second')[i]} image.",
            S,
        )

    def describe():
        return (
            "describe2",
            ask(
                r,
                L,
                [
                    "描述这两张图片|分别描述两张图|两张图里各有什么?|说说这两张图".split("|"),
                    "Describe both images|What is in each image?|Describe the two pictures".split("|"),
                ][0 if z else 1],
            ),
            S,
            S,
        )

    return cvs, [(diff, 5), (same, 1), (more, 1.5), (which, 1.5), (describe, 1)]
