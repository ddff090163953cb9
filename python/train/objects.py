"""Emoji-like things and coloured shapes on a background: describe, count, where, colours, boxes."""

from . import words as W
from .common import POS, Q_DESC, C, T, an, ask, background, bg_ans, jit, join, lum, pos9, the_one
from .draw import Canvas

Q_COUNT = C(
    "图里有几{m}{o}?|图中有多少{m}{o}?|有几{m}{o}?|一共有多少{m}{o}?|数一数有几{m}{o}|数一下{o}的数量|{o}有几{m}?|图片里{o}的数量是多少?|图里总共有几{m}{o}?|{o}有多少?|这里有几{m}{o}?",
    "How many {os} are there?|How many {os} are in the image?|How many {os} can you see?|Count the {os}|What is the number of {os}?|Tell me how many {os} there are|How many {os}?|How many {os} do you see in this picture?",
)
Q_TOTAL = C(
    "图里一共有几个东西?|总共有多少个物体?|一共有几个物体?|所有东西加起来有几个?|图中物体的总数是多少?|数一数总共有几个东西",
    "How many objects are there in total?|What is the total number of objects?|How many things are there altogether?|Count all the objects|How many items are in the image in total?",
)
Q_KIND = C(
    "图里有几种东西?|一共有几种物体?|有多少种不同的东西?|图中有几类物体?",
    "How many kinds of objects are there?|How many different things are there?|How many types of objects do you see?",
)
Q_LIST = C(
    "列出图中的物体|图里有哪些东西?|图中都有哪些物体?|有哪些东西?|列举图片里的东西|说出图中所有物体的名称",
    "List the objects in the image|Which objects are in the image?|What objects are there?|Name all the things in the picture|List everything you see",
)
Q_EXIST = C(
    "图里有{o}吗?|有没有{o}?|图中有{o}吗?|能看到{o}吗?|这张图里有没有{o}?|图片里存在{o}吗?",
    "Is there {a} in the image?|Is there {a}?|Do you see {a}?|Can you see {a} in the picture?|Does the image contain {a}?|Are there any {os}?",
)
Q_WHERE = C(
    "{o}在哪里?|{o}在图的什么位置?|{o}在哪?|{o}在图片的哪个位置?|指出{o}的位置|{o}位于哪里?",
    "Where is the {s}?|Where is the {s} in the image?|What is the position of the {s}?|In which part of the image is the {s}?|Where can I find the {s}?|Locate the {s}",
)
Q_AT = C(
    "{p}是什么?|图片{p}有什么?|{p}的东西是什么?|在{p}的是什么?|图的{p}是什么物体?",
    "What is at the {p}?|What object is at the {p} of the image?|What do you see at the {p}?|Which object is in the {p}?|What is in the {p} of the picture?",
)
Q_BG = C(
    "背景是什么颜色?|背景颜色是什么?|图片的背景是什么样的?|背景什么颜色?|底色是什么?",
    "What color is the background?|What is the background color?|What's the color of the background?|Describe the background",
)
Q_MOST = C(
    "哪种东西最多?|什么最多?|数量最多的是什么?|图里什么东西最多?",
    "Which object appears most often?|What is there the most of?|Which kind of object is the most frequent?|What is the most common object?",
)
Q_CMP = C(
    "{a}多还是{b}多?|{a}和{b}哪个多?|是{a}多还是{b}更多?|比较{a}和{b}的数量",
    "Are there more {a} or {b}?|Which are there more of, {a} or {b}?|Compare the number of {a} and {b}|More {a} or more {b}?",
)
Q_CAT = C(
    "图里有几个{c}?|一共有多少{c}?|有几种{c}?|数一数{c}有多少",
    "How many {c} are there?|Count the {c}|How many {c} do you see?",
)
Q_COL = C(
    "{o}是什么颜色?|{o}是什么颜色的?|{o}的颜色是什么?|这个{o}什么颜色?",
    "What color is the {s}?|What is the color of the {s}?|Which color does the {s} have?|Tell me the color of the {s}",
)
Q_BOX = C(
    "框出{o}|给出{o}的坐标框|{o}的边界框是什么?|用坐标框出{o}|检测图中的{o}|输出{o}的边界框坐标",
    "Give the bounding box of the {s}|Detect the {s}|Where is the bounding box of the {s}?|Output the box coordinates of the {s}|Box the {s}",
)
Q_CLICK = C("点击{o}|点一下{o}|用手指点{o}|我要点{o}", "Click the {s}|Tap the {s}|Tap on the {s}|Click on the {s}")
Q_NAME = C(
    "这是什么?|图中是什么?|这是什么东西?|图上画的是什么?|这个物体是什么?|请问这个叫什么?|识别图中的物体|这是啥?",
    "What is this?|What object is this?|What is in the picture?|Identify the object|What is this thing called?|Name the object in the image|What do you see here?",
)


class Kind:  # one kind of object in a scene
    __slots__ = ("t", "zh", "mw", "en", "ens", "n", "xy", "cat", "shape", "col", "boxes")

    def __init__(k, t=None, shape=None, col=None):
        k.t, k.shape, k.col = t, shape, col
        k.xy = []
        k.boxes = []
        if t:
            k.zh, k.mw, k.en, k.ens, k.cat = t.zh, t.mw, t.en, t.ens, t.cat
        else:
            k.zh, k.mw, k.cat = col[0] + shape[0], "个", "shape"
            k.en = col[1] + " " + shape[1]
            k.ens = col[1] + " " + W.SHAPE_PL.get(shape[1], shape[1] + "s")

    def nz(k, L, n=None):
        n = k.n if n is None else n
        return f"{n}{k.mw}{k.zh}" if L == "zh" else f"{n} {k.en if n == 1 else k.ens}"


def pick_kinds(r, n, mode=None):
    mode = mode or r.choices(("emoji", "shape", "mix"), (72, 20, 8))[0]
    out = []
    seen = set()
    if mode == "emoji" and r.random() < 0.2:
        c = r.choice(("animal", "fruit", "food", "vehicle", "thing", "veg", "sport"))
        pool = [t for t in T if t.cat == c]
    else:
        pool = T
    while len(out) < n:
        if mode == "emoji" or (mode == "mix" and r.random() < 0.5):
            k = Kind(t=r.choice(pool))
        else:
            k = Kind(shape=r.choice(W.SHAPES), col=r.choice(W.COLORS))
        if k.zh not in seen:
            seen.add(k.zh)
            out.append(k)
    return out


def place(cv, r, kinds, counts, bgc, smax=1.0):
    n = sum(counts)
    H, Wd = cv.H, cv.W
    best = None
    for nc in range(1, n + 6):
        nr = -(-n // nc)
        if r.random() < 0.35:
            nr += 1
        s = min(Wd / nc, H / nr)
        if best is None or s > best[0]:
            best = (s, nc, nr)
    s, nc, nr = best
    cw, ch = Wd / nc, H / nr
    cells = [(i, j) for i in range(nr) for j in range(nc)]
    r.shuffle(cells)
    grid = r.random() < 0.15
    base = s * r.uniform(0.5, 0.95) * smax
    base = max(base, min(24, s * 0.95))
    cv.blur = r.choice((0, 0, 0, 0.5, 1.0, 2.0)) if base > 90 else r.choice((0, 0, 0.5, 1.0)) if base > 55 else 0
    sj = r.choice((0, 0.1, 0.2))
    rot = r.choice((0, 0, 0.2, 0.5))
    ci = 0
    if n == 1 and r.random() < 0.5:
        base = min(H, Wd) * r.uniform(0.22, 0.9)
        cells = [(0, 0)]
        cw, ch = Wd, H
    for k, m in zip(kinds, counts):
        k.n = m
        tint = tuple(r.uniform(0.9, 1.0) for _ in range(3))
        col = jit(r, k.col[2], 14) if k.col else None
        if col and sum(abs(a - b) for a, b in zip(col, bgc)) < 110:
            col = None
        for _ in range(m):
            i, j = cells[ci]
            ci += 1
            sz = min(base * r.uniform(1 - sj, 1 + sj), cw * 0.98, ch * 0.98)
            mx, my = (cw - sz) / 2, (ch - sz) / 2
            if grid:
                mx = my = 0
            x, y = (j + 0.5) * cw + r.uniform(-mx, mx), (i + 0.5) * ch + r.uniform(-my, my)
            ang = r.uniform(-rot, rot) if rot else 0.0
            if k.t:
                cv.emoji(
                    k.t.emoji,
                    x,
                    y,
                    sz * 0.94,
                    ang,
                    1 if r.random() < 0.3 and k.cat in ("animal", "vehicle", "fruit", "veg", "food", "nature") else 0,
                    tint,
                )
            else:
                if col is None:  # low contrast with the background: put a plate behind the shape
                    pc = (250, 250, 250) if lum(k.col[2]) < 150 else (35, 35, 40)
                    cv.add(1, x, y, sz * 0.52, sz * 0.52, pc, label=-1)
                    cv.shape(k.shape[0], x, y, sz * 0.68, k.col[2], ang if k.shape[0] != "菱形" else 0)
                else:
                    cv.shape(k.shape[0], x, y, sz * 0.86, col, ang if k.shape[0] not in ("菱形", "正方形") else 0)
            k.xy.append((x / Wd, y / H))
            h = sz * 0.47
            k.boxes.append((x - h, y - h, x + h, y + h))


def size_objects(r):
    big = r.random() < 0.13
    while True:
        h, w = (r.randint(9, 16), r.randint(9, 16)) if big else (r.randint(4, 14), r.randint(4, 14))
        if 20 <= h * w <= (256 if big else 150) and 0.5 <= h / w <= 2:
            return h, w


def order(kinds):
    return sorted(kinds, key=lambda k: (-k.n, k.xy[0][0]))


def desc_objects(kinds, bg, L):
    ks = order(kinds)
    body = join([k.nz(L) for k in ks], L)
    tail = ""
    singles = [k for k in ks if k.n == 1]
    if len(ks) <= 3:
        for k in singles[:2]:
            p = POS[L][pos9(*k.xy[0])]
            tail += f"{k.zh}在{p}。" if L == "zh" else f" The {k.en} is at the {p}."
    if L == "zh":
        return f"图中有{body},背景是{bg[0]}。" + tail
    be = "are" if ks[0].n > 1 else "is"
    return f"There {be} {body} on a {bg[1]} background." + tail


def saw(kinds, L):
    if not kinds:
        return "图中没有物体。" if L == "zh" else "I see nothing."
    return (
        ("我看到" + "、".join(k.nz(L) for k in order(kinds)) + "。")
        if L == "zh"
        else ("I see " + ", ".join(k.nz(L) for k in order(kinds)) + ".")
    )


def blank(r, L, cv):
    bg, _ = background(cv, r, 0.75)
    cv.augment()
    z = L == "zh"
    no = f"图中没有物体,{bg_ans(bg, L)}" if z else f"There are no objects. {bg_ans(bg, L)}"
    S = saw([], L)
    k = pick_kinds(r, 1)[0]
    q1 = lambda: ("blank", ask(r, L, Q_DESC[L]), no, S)
    q2 = lambda: (
        "bg",
        ask(
            r,
            L,
            Q_BG[L]
            + (["这是什么颜色?", "图片是什么颜色的?"] if z else ["What color is this?", "What color is the image?"]),
        ),
        bg_ans(bg, L),
        S,
    )
    q3 = lambda: (
        "count",
        ask(r, L, [s.format(m=k.mw, o=k.zh, os=k.ens) for s in Q_COUNT[L]]),
        f"图中没有{k.zh}。" if z else f"There are no {k.ens} in the image.",
        S,
    )
    return [cv], [(q1, 2), (q2, 2), (q3, 1)]


def objects(r, L, force=None):
    h, w = size_objects(r)
    cv = Canvas(r, h, w)
    if force is None and r.random() < 0.025:
        return blank(r, L, cv)
    bg, bgc = background(cv, r)
    x = r.random()
    if force == "name" or (force is None and x < 0.22):
        kinds = pick_kinds(r, 1)
        counts = [1]
    elif force in ("count",) or x < 0.5:
        nk = r.choice((1, 1, 2, 2, 3))
        kinds = pick_kinds(r, nk)
        counts = (
            [r.randint(1, (12, 9, 7, 5)[nk]) for _ in kinds] if r.random() < 0.8 else [r.randint(1, 5) for _ in kinds]
        )
    else:
        nk = r.choice((2, 2, 3, 3, 4, 5))
        kinds = pick_kinds(r, nk)
        counts = [r.choice((1, 1, 1, 2, 2, 3, 4)) for _ in kinds]
    place(cv, r, kinds, counts, bgc)
    cv.augment()
    z = L == "zh"
    S = saw(kinds, L)
    tot = sum(counts)
    ks = order(kinds)

    def describe():
        return ("describe", ask(r, L, Q_DESC[L]), desc_objects(kinds, bg, L), S + bg_ans(bg, L))

    def count():
        if r.random() < (0.14 if force else 0.2):
            k = pick_kinds(r, 1)[0]
            if k.zh in {q.zh for q in kinds}:
                k = kinds[0]
            else:
                k.n = 0
        else:
            k = r.choice(kinds)
        q = ask(r, L, [s.format(m=k.mw, o=k.zh, os=k.ens) for s in Q_COUNT[L]])
        if k.n == 0:
            return (
                "count",
                q,
                f"图中没有{k.zh}。" if z else f"There are no {k.ens} in the image.",
                S + (f"没有{k.zh},数量是0。" if z else f" No {k.ens}, so 0."),
            )
        return (
            "count",
            q,
            f"图中有{k.nz(L)}。" if z else f"There {'is' if k.n == 1 else 'are'} {k.nz(L)}.",
            S + (f"{k.zh}的数量是{k.n}。" if z else f" The number of {k.ens} is {k.n}."),
        )

    def total():
        return (
            "total",
            ask(r, L, Q_TOTAL[L]),
            f"一共有{tot}个。" if z else f"There {'is' if tot == 1 else 'are'} {tot} in total.",
            S
            + (
                "+".join(str(k.n) for k in ks) + f"={tot}。" if z else " " + "+".join(str(k.n) for k in ks) + f"={tot}."
            ),
        )

    def kindsq():
        return (
            "kinds",
            ask(r, L, Q_KIND[L]),
            f"一共有{len(kinds)}种。"
            if z
            else f"There {'is' if len(kinds) == 1 else 'are'} {len(kinds)} kind{'s' * (len(kinds) > 1)}.",
            S,
        )

    def lst():
        return (
            "list",
            ask(r, L, Q_LIST[L]),
            (join([k.zh for k in ks], L) + "。") if z else (join([k.en for k in ks], L) + "."),
            S,
        )

    def exist():
        k = r.choice(kinds) if r.random() < 0.5 else pick_kinds(r, 1)[0]
        has = k.zh in {q.zh for q in kinds}
        n = next((q for q in kinds if q.zh == k.zh), None)
        a = k.en if k.en == k.ens else an(k.en)
        q = ask(r, L, [s.format(o=k.zh, a=a, os=k.ens) for s in Q_EXIST[L]])
        if has:
            return (
                "exist",
                q,
                f"有,图中有{n.nz(L)}。" if z else f"Yes, there {'is' if n.n == 1 else 'are'} {n.nz(L)}.",
                S,
            )
        return ("exist", q, f"没有,图中没有{k.zh}。" if z else f"No, there are no {k.ens}.", S)

    def where():
        c = [k for k in kinds if k.n == 1]
        if not c:
            return None
        k = r.choice(c)
        p = POS[L][pos9(*k.xy[0])]
        return (
            "where",
            ask(r, L, [s.format(o=k.zh, s=k.en) for s in Q_WHERE[L]]),
            f"{k.zh}在图片的{p}。" if z else f"The {k.en} is at the {p} of the image.",
            S,
        )

    def at():
        cells = {}
        for k in kinds:
            for xy in k.xy:
                cells.setdefault(pos9(*xy), set()).add(k)
        c = [(p, list(v)[0]) for p, v in sorted(cells.items()) if len(v) == 1]
        if not c:
            return None
        p, k = r.choice(c)
        return (
            "at",
            ask(r, L, [s.format(p=POS[L][p]) for s in Q_AT[L]]),
            f"{POS[L][p]}是{k.zh}。" if z else f"It is {an(k.en) if k.en != k.ens else k.en}.",
            S,
        )

    def bgq():
        return ("bg", ask(r, L, Q_BG[L]), bg_ans(bg, L), "我看一下背景。" if z else "I look at the background.")

    def most():
        if len(ks) < 2 or ks[0].n == ks[1].n:
            return None
        return (
            "most",
            ask(r, L, Q_MOST[L]),
            f"{ks[0].zh}最多,有{ks[0].n}{ks[0].mw}。" if z else f"There are the most {ks[0].ens}: {ks[0].n}.",
            S,
        )

    def cmp():
        if len(kinds) < 2:
            return None
        a, b = r.sample(kinds, 2)
        q = ask(r, L, [s.format(a=a.zh if z else a.ens, b=b.zh if z else b.ens) for s in Q_CMP[L]])
        if a.n == b.n:
            t = f"一样多,都是{a.n}。" if z else f"The same number: {a.n} each."
        else:
            m, o = (a, b) if a.n > b.n else (b, a)
            t = (
                f"{m.zh}更多,{m.zh}有{m.n}{m.mw},{o.zh}有{o.n}{o.mw}。"
                if z
                else f"There are more {m.ens}: {m.n} versus {o.n}."
            )
        return ("more", q, t, S)

    def cat():
        cs = sorted({k.cat for k in kinds if k.cat != "shape"})
        if not cs:
            return None
        c = r.choice(cs)
        n = sum(k.n for k in kinds if k.cat == c)
        zh, en = W.CATS[c][0], W.CATS[c][1]
        which = [k.nz(L) for k in ks if k.cat == c]
        return (
            "cat",
            ask(r, L, [s.format(c=zh if z else en) for s in Q_CAT[L] if "几种" not in s]),
            f"有{n}个{zh}。" if z else f"There {'is' if n == 1 else 'are'} {n}.",
            S + (f"{zh}有{'、'.join(which)}。" if z else f" The {en}: {', '.join(which)}."),
        )

    def col():
        c = [k for k in kinds if k.shape and sum(q.shape == k.shape for q in kinds if q.shape) == 1]
        if not c:
            return None
        k = r.choice(c)
        return (
            "color",
            ask(r, L, [s.format(o=k.shape[0], s=k.shape[1]) for s in Q_COL[L]]),
            f"{k.shape[0]}是{k.col[0]}的。" if z else f"The {k.shape[1]} is {k.col[1]}.",
            S,
        )

    def box():
        c = [k for k in kinds if k.n <= 3]
        if not c:
            return None
        k = r.choice(c)
        bs = sorted(
            tuple(max(0, min(999, int(v * 1000 / (cv.W, cv.H)[i & 1]))) for i, v in enumerate(b)) for b in k.boxes
        )
        return (
            "box",
            ask(r, L, [s.format(o=k.zh, s=k.en) for s in Q_BOX[L]]),
            "[" + ",".join("[%d,%d,%d,%d]" % b for b in bs) + "]",
            S,
        )

    def click():
        c = [k for k in kinds if k.n == 1]
        if not c:
            return None
        k = r.choice(c)
        x, y = k.xy[0]
        b = k.boxes[0]
        cv.tol = ((b[2] - b[0]) / 2 / cv.W * 1000, (b[3] - b[1]) / 2 / cv.H * 1000)
        return (
            "click",
            ask(r, L, [s.format(o=k.zh, s=k.en) for s in Q_CLICK[L]]),
            f'do(action="Tap", element=[{int(x * 1000)},{int(y * 1000)}])',
            S,
        )

    def name():
        if tot != 1:
            return None
        k = kinds[0]
        return (
            "name",
            ask(r, L, Q_NAME[L]),
            f"这是一{k.mw}{k.zh}。" if z else (f"This is {k.en}." if k.en == k.ens else f"This is {an(k.en)}."),
            ("图中是" + k.zh + "。") if z else f"The picture shows {the_one(k.t) if k.t else an(k.en)}.",
        )

    if tot == 1:
        Q = [(name, 4), (describe, 2), (where, 1), (bgq, 1), (exist, 1), (count, 1), (col, 2), (click, 1), (box, 1)]
    else:
        Q = [
            (describe, 3),
            (count, 4),
            (total, 1),
            (kindsq, 0.5),
            (lst, 1),
            (exist, 1),
            (where, 1.5),
            (at, 1),
            (bgq, 0.7),
            (most, 0.7),
            (cmp, 1),
            (cat, 0.7),
            (col, 1.5),
            (box, 1),
            (click, 0.7),
        ]
    return [cv], Q
