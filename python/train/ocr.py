"""Lines of printed text."""

from . import words as W
from .common import DICT, HANZI, Q_DESC, C, T, ask, background, jit, lum
from .draw import NLAT, Canvas

Q_OCR = C(
    "图中的文字是什么?|提取文字,不要解释|识别图中的文字|图片里写了什么?|图上写的是什么字?|读出图中的文字|提取图片中的文字|OCR识别|把图里的字写出来|图里的文字内容是什么?|写的是什么?|识别文字|提取图中所有文字|请输出图片中的文字内容,不要解释",
    "What does the text say?|What is the text in the image?|Extract the text|Read the text|OCR this image|What is written in the image?|Extract the text, no explanation|Transcribe the text|Read out the words in the picture|What does it say?|Recognize the text in the image|Output only the text in the image",
)
Q_NL = C(
    "有几行文字?|图里有几行字?|文字一共几行?",
    "How many lines of text are there?|How many lines does the text have?|Count the lines of text",
)
Q_LN = C(
    "第{n}行写的是什么?|第{n}行文字是什么?|读出第{n}行",
    "What does line {n} say?|Read line {n}|What is the text in line {n}?",
)
Q_TC = C(
    "文字是什么颜色?|字是什么颜色的?|文字的颜色是什么?",
    "What color is the text?|What is the color of the text?|Which color is the writing?",
)


def rand_line(r, maxn):
    x = r.random()
    if x < 0.17:
        s = "".join(r.choice("0123456789") for _ in range(r.randint(1, min(9, maxn))))
    elif x < 0.27:
        s = r.choice(
            (
                f"{r.randint(1, 23):02d}:{r.randint(0, 59):02d}",
                f"¥{r.randint(1, 999)}.{r.randint(0, 99):02d}",
                f"${r.randint(1, 99)}.{r.randint(0, 99):02d}",
                f"20{r.randint(10, 29)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}",
                f"{r.randint(1, 100)}%",
                f"{r.randint(100, 999)}-{r.randint(1000, 9999)}",
                f"No.{r.randint(1, 999)}",
                f"{r.randint(1, 99)}+{r.randint(1, 99)}={r.randint(2, 198)}",
                f"{r.choice('ABCDEFGHKLMN')}{r.randint(10, 9999)}",
            )
        )
    elif x < 0.55:
        s = r.choice(DICT)
        while len(s) < maxn - 3 and r.random() < 0.45:
            w = r.choice(DICT)
            if len(s) + 1 + len(w) > maxn:
                break
            s += " " + w
        y = r.random()
        s = s.upper() if y < 0.3 else s.title() if y < 0.6 else s
    elif x < 0.60:
        s = "".join(
            r.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
            for _ in range(r.randint(2, min(7, maxn)))
        )
    elif x < 0.72:
        s = r.choice(W.SIGNS)
    elif x < 0.80:
        s = r.choice(T).zh
    else:
        s = "".join(r.choice(HANZI) for _ in range(r.randint(1, max(2, min(8, maxn * 2 // 3)))))
    return s[: max(maxn, 2)].strip() or "A"


def is_cjk(s):
    return any(ord(c) > 0x2E00 for c in s)


def ocr(r, L, force=None):
    z = L == "zh"
    big = r.random() < 0.1
    while True:
        h, w = (r.randint(8, 16), r.randint(8, 16)) if big else (r.randint(2, 9), r.randint(5, 15))
        if 16 <= h * w <= (256 if big else 110):
            break
    cv = Canvas(r, h, w)
    bg, bgc = background(cv, r, 0.62)
    nl = r.choice((2, 3, 4, 5)) if big else r.choice((1, 1, 1, 2, 2, 3)) if h >= 3 else 1
    em = min(cv.H * r.uniform(0.4, 0.8) / nl, r.uniform(16, 90 if big else 64), cv.W / 2.2)
    em = max(em, 13.5)
    lh = em * r.uniform(1.15, 1.5)
    if lh * nl > cv.H - 4:
        lh = (cv.H - 4) / nl
        em = min(em, lh / 1.12)
    lines = []
    fonts = []
    same = r.random() < 0.8
    f0 = None
    for _ in range(nl):
        s = rand_line(r, max(2, int(cv.W * 0.93 / (em * 0.62))))
        f = cv.font(is_cjk(s)) if not (same and f0 is not None and (f0 >= NLAT or not is_cjk(s))) else f0
        f0 = f
        while len(s) > 1 and cv.tw_(s, f, em) > cv.W * 0.94:
            s = s[:-1].strip()
        lines.append(s.strip())
        fonts.append(f)
    cand = [c for c in W.COLORS if abs(lum(c[2]) - lum(bgc)) > 85]
    panel = None
    if not cand or bg[0] in ("花纹", "条纹", "格子") and r.random() < 0.6 or r.random() < 0.12:
        panel = r.choice(W.COLORS)
        cand = [c for c in W.COLORS if abs(lum(c[2]) - lum(panel[2])) > 85]
    tc = r.choice(cand)
    if r.random() < 0.35:
        tc = next((c for c in cand if c[0] in ("黑色", "白色")), tc)
    ws = [cv.tw_(s, f, em) for s, f in zip(lines, fonts)]
    wmax = max(ws)
    tot = lh * nl
    x0 = r.uniform(2, max(2.1, cv.W - wmax - 2))
    y0 = r.uniform(1, max(1.1, cv.H - tot - 1))
    al = r.choice("lm")
    if panel:
        cv.rect(
            max(0, x0 - em * 0.3),
            max(0, y0 - em * 0.1),
            min(cv.W, x0 + wmax + em * 0.3),
            min(cv.H, y0 + tot + em * 0.15),
            jit(r, panel[2], 10),
            r.uniform(0, em * 0.4),
            label=-1,
        )
    ang = r.uniform(-0.09, 0.09) if r.random() < 0.25 and wmax < cv.W * 0.85 and tot < cv.H * 0.75 else 0.0
    piv = (x0 + wmax / 2, y0 + tot / 2)
    cv.blur = r.choice((0, 0, 0, 0.3, 0.7)) if em > 22 else 0
    col = jit(r, tc[2], 12)
    for i, (s, f) in enumerate(zip(lines, fonts)):
        cv.text(
            s, x0 + ((wmax - ws[i]) / 2 if al == "m" else 0), y0 + lh * i + em * 0.88, f, em, col, ang=ang, pivot=piv
        )
    cv.augment(0.7)
    txt = "\n".join(lines)
    th = f"图中有{nl}行文字。" if z else f"There {'is' if nl == 1 else 'are'} {nl} line{'s' * (nl > 1)} of text."
    cn = "一二三四五"

    def read():
        return ("ocr", ask(r, L, Q_OCR[L]), txt, th)

    def describe():
        return (
            "describe_text",
            ask(r, L, Q_DESC[L][:14]),
            (f"图片上写着:{txt}") if z else f"The image shows the text: {txt}",
            th,
        )

    def nlq():
        return (
            "nlines",
            ask(r, L, Q_NL[L]),
            f"有{nl}行文字。" if z else f"There {'is' if nl == 1 else 'are'} {nl} line{'s' * (nl > 1)}.",
            th,
        )

    def ln():
        if nl < 2:
            return None
        i = r.randrange(nl)
        return (
            "line",
            ask(r, L, [s.format(n=cn[i] if z and r.random() < 0.5 else i + 1) for s in Q_LN[L]]),
            lines[i],
            th,
        )

    def tcq():
        return ("textcolor", ask(r, L, Q_TC[L]), f"文字是{tc[0]}的。" if z else f"The text is {tc[1]}.", th)

    return [cv], [(read, 8), (describe, 1), (nlq, 0.4), (ln, 1), (tcq, 0.7)]
