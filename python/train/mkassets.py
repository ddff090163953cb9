"""Builds assets/emoji.png (RGBA), assets/glyphs.png (L) and assets/meta.json from the fonts that README.md lists."""

import json
import re

from PIL import Image, ImageDraw, ImageFont

from . import words as W

OUT = __file__.rsplit("/", 1)[0] + "/assets/"
F = "/usr/share/fonts/"
# ---- emoji: 144-px cells
ef = ImageFont.truetype(F + "truetype/noto/NotoColorEmoji.ttf", 109)
em = [t.emoji for t in W.THINGS]
em += [a[2] for a in W.APPS if a[2] not in em]
em = list(dict.fromkeys(em))
COLS = 24
rows = (len(em) + COLS - 1) // COLS
A = Image.new("RGBA", (COLS * 144, rows * 144), (0, 0, 0, 0))
missing = []
for i, e in enumerate(em):
    c = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    d = ImageDraw.Draw(c)
    s = e
    d.text((20, 20), s, font=ef, embedded_color=True)
    bb = c.getbbox()
    if bb is None and "\ufe0f" in s:
        s = e.replace("\ufe0f", "")
        d.text((20, 20), s, font=ef, embedded_color=True)
        bb = c.getbbox()
    if bb is None:
        missing.append(e)
        continue
    if bb[2] - bb[0] > 140:
        missing.append(e + " wide")
    c = c.crop((bb[0], bb[1], min(bb[2], bb[0] + 136), min(bb[3], bb[1] + 136)))
    x, y = (i % COLS) * 144 + (144 - c.width) // 2, (i // COLS) * 144 + (144 - c.height) // 2
    A.paste(c, (x, y))
A.save(OUT + "emoji.png", optimize=True)
print("emoji", len(em), A.size, "missing", missing)
# ---- glyphs, em = 40 px
LAT = [
    ("truetype/dejavu/DejaVuSans.ttf", 0),
    ("truetype/dejavu/DejaVuSans-Bold.ttf", 0),
    ("truetype/dejavu/DejaVuSerif.ttf", 0),
    ("truetype/dejavu/DejaVuSansMono.ttf", 0),
    ("truetype/dejavu/DejaVuSansCondensed.ttf", 0),
    ("truetype/liberation2/LiberationSans-Regular.ttf", 0),
    ("truetype/liberation2/LiberationSans-Bold.ttf", 0),
    ("truetype/liberation2/LiberationSerif-Regular.ttf", 0),
    ("truetype/liberation2/LiberationSerif-Italic.ttf", 0),
    ("truetype/liberation2/LiberationMono-Regular.ttf", 0),
    ("truetype/lato/Lato-Regular.ttf", 0),
    ("truetype/lato/Lato-Bold.ttf", 0),
    ("truetype/open-sans/OpenSans-Regular.ttf", 0),
    ("truetype/open-sans/OpenSans-CondBold.ttf", 0),
    ("truetype/roboto/unhinted/RobotoTTF/Roboto-Regular.ttf", 0),
    ("truetype/roboto/unhinted/RobotoTTF/Roboto-Bold.ttf", 0),
    ("opentype/comic-neue/ComicNeue-Bold.otf", 0),
]
CJK = [
    ("opentype/noto/NotoSansCJK-Regular.ttc", 2),
    ("opentype/noto/NotoSansCJK-Bold.ttc", 2),
    ("opentype/noto/NotoSerifCJK-Regular.ttc", 2),
    ("truetype/wqy/wqy-zenhei.ttc", 0),
    ("truetype/wqy/wqy-microhei.ttc", 0),
    ("truetype/arphic-gkai00mp/gkai00mp.ttf", 0),
    ("truetype/lxgw-wenkai/LXGWWenKai-Regular.ttf", 0),
]
ASCII = [chr(i) for i in range(33, 127)]
src = (
    "".join(W.COMMON)
    + "".join(W.SIGNS)
    + "".join(t.zh + t.mw for t in W.THINGS)
    + "".join(a[0] for a in W.APPS)
    + "".join(c[0] for c in W.COLORS)
    + "".join(s[0] for s in W.SHAPES)
)
src += "年月日时分秒周星期一二三四五六七八九十百千万元销量收入温度人数产品季度东南西北部门公司成绩人口价格增长占比城市项目班级组小大中用户访问次数语文数学英语科学体育美术音乐甲乙丙丁戊己销售额降雨成本利润"
hz = sorted(set(c for c in src if "\u4e00" <= c <= "\u9fff"))
PUNCT = list("，。！？：、（）¥％℃·")
chars_l = ASCII + ["¥", "°"]
cells = []
EM = 40
for fi, (p, idx) in enumerate(LAT + CJK):
    f = ImageFont.truetype(F + p, EM, index=idx)
    cs = chars_l if fi < len(LAT) else ASCII + PUNCT + hz
    tofu = None
    for ch in cs:
        im = Image.new("L", (80, 80), 0)
        ImageDraw.Draw(im).text((16, 56), ch, font=f, fill=255, anchor="ls")
        bb = im.getbbox()
        if bb is None:
            continue
        cells.append((fi, ch, im.crop(bb), bb[0] - 16, bb[1] - 56, f.getlength(ch)))
cells.sort(key=lambda c: -c[2].height)
Wd = 3072
x = y = 4
sh = 0
meta = {}
pos = []
for c in cells:
    w, h = c[2].size
    w4, h4 = (w + 11) // 4 * 4, (h + 11) // 4 * 4
    if x + w4 > Wd:
        x = 4
        y += sh
        sh = 0
    sh = max(sh, h4)
    pos.append((x, y))
    x += w4
H = (y + sh + 15) // 8 * 8
G = Image.new("L", (Wd, H), 0)
table = [dict() for _ in LAT + CJK]
for c, (x, y) in zip(cells, pos):
    fi, ch, im, ox, oy, adv = c
    G.paste(im, (x + 4, y + 4))
    table[fi][ch] = [x + 4, y + 4, im.width, im.height, ox, oy, round(adv, 2)]
G.save(OUT + "glyphs.png", optimize=True)
print("glyphs", len(cells), G.size, "hanzi", len(hz))
dic = [w.strip() for w in open("/usr/share/dict/american-english-small")]
dic = [w for w in dic if re.fullmatch(r"[a-z]{2,9}", w)]
json.dump(
    dict(emoji=em, cols=COLS, em=EM, nlat=len(LAT), table=table, hanzi=hz, words=dic, fonts=[p for p, _ in LAT + CJK]),
    open(OUT + "meta.json", "w"),
    ensure_ascii=False,
    separators=(",", ":"),
)
