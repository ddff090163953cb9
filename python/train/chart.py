"""Bar, line and pie charts with exact values."""

import math

from .common import Q_DESC, C, ask, jit
from .draw import Canvas

CAT_ZH = [
    ["一月", "二月", "三月", "四月", "五月", "六月"],
    ["周一", "周二", "周三", "周四", "周五", "周六"],
    ["甲", "乙", "丙", "丁", "戊", "己"],
    ["北京", "上海", "广州", "深圳", "杭州", "成都"],
    ["苹果", "香蕉", "橘子", "葡萄", "草莓", "西瓜"],
    ["语文", "数学", "英语", "物理", "化学", "历史"],
    ["一班", "二班", "三班", "四班", "五班", "六班"],
]
CAT_EN = [
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun"],
    ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
    ["A", "B", "C", "D", "E", "F"],
    ["Q1", "Q2", "Q3", "Q4", "Q5", "Q6"],
    ["2019", "2020", "2021", "2022", "2023", "2024"],
    ["Red", "Blue", "Green", "Pink", "Gray", "Gold"],
    ["Tom", "Amy", "Bob", "Lily", "Max", "Eve"],
    ["North", "South", "East", "West", "Mid", "Far"],
]
TIT = {
    "zh": ["销售额", "收入", "产量", "人数", "温度", "降雨量", "成绩", "利润", "访问量", "用户数"],
    "en": ["Sales", "Income", "Output", "Visitors", "Temperature", "Rainfall", "Score", "Profit", "Users", "Orders"],
}
Q_VAL = C(
    "{c}是多少?|{c}的值是多少?|{c}的数值是多少?|{c}是几?|图中{c}对应的数值是多少?",
    "What is the value of {c}?|What is the value for {c}?|How much is {c}?|What value does {c} have?|Read the value of {c}",
)
Q_MAX = C(
    "哪个最高?|哪一项最大?|最大的是哪个?|数值最高的是哪一项?|哪个最多?",
    "Which is the highest?|Which category has the largest value?|What is the maximum?|Which one is the biggest?|Which has the highest value?",
)
Q_MIN = C(
    "哪个最低?|哪一项最小?|最小的是哪个?|数值最低的是哪一项?|哪个最少?",
    "Which is the lowest?|Which category has the smallest value?|What is the minimum?|Which one is the smallest?|Which has the lowest value?",
)
Q_DIF = C(
    "{a}比{b}多多少?|{a}和{b}相差多少?|{a}与{b}的差是多少?",
    "How much more is {a} than {b}?|What is the difference between {a} and {b}?|How far apart are {a} and {b}?",
)
Q_TREND = C(
    "趋势怎么样?|数据的变化趋势是什么?|整体趋势如何?|是上升还是下降?|分析一下趋势",
    "What is the trend?|How does the trend look?|Is it rising or falling?|Describe the trend|What trend does the chart show?",
)
Q_PRED = C(
    "预测下一个值|下一个值大概是多少?|按照这个趋势,下一个点是多少?|预测下一个点的数值|如果趋势不变,下一项会是多少?",
    "Predict the next value|What will the next value be?|If the trend continues, what is the next point?|Forecast the next data point|What comes next?",
)
Q_DATA = C(
    "列出所有数据|读出图表中的全部数值|图表里的数据是什么?|把数据都列出来|提取图表数据",
    "List all the data|Read all the values|What are the data in the chart?|Extract the chart data|Give me every value in the chart",
)
Q_TYPE = C(
    "这是什么图?|这是什么类型的图表?|图表类型是什么?",
    "What type of chart is this?|What kind of chart is it?|Which chart type is shown?",
)
Q_TITLE = C(
    "图表的标题是什么?|标题是什么?|这个图表的主题是什么?",
    "What is the title of the chart?|What is the chart about?|What does the title say?",
)
PAL = [
    (66, 133, 244),
    (219, 68, 55),
    (244, 180, 0),
    (15, 157, 88),
    (171, 71, 188),
    (0, 172, 193),
    (255, 112, 67),
    (120, 144, 156),
    (92, 107, 192),
    (240, 98, 146),
]


def chart(r, L, force=None):
    z = L == "zh"
    big = r.random() < 0.12
    while True:
        h, w = (r.randint(10, 16), r.randint(11, 16)) if big else (r.randint(7, 12), r.randint(8, 14))
        if 70 <= h * w <= (256 if big else 150):
            break
    cv = Canvas(r, h, w)
    kind = r.choices(("bar", "line", "pie"), (45, 35, 20))[0]
    if force == "predict":
        kind = r.choice(("line", "line", "bar"))
    dark = r.random() < 0.15
    bgc = jit(
        r, (30, 33, 40) if dark else r.choice(((255, 255, 255), (255, 255, 255), (246, 246, 240), (235, 242, 250))), 5
    )
    cv.setbg(0, bgc)
    ink = (225, 225, 225) if dark else jit(r, (40, 40, 45), 20)
    cl = L if r.random() < 0.8 else ("en" if z else "zh")
    pool = CAT_ZH if cl == "zh" else CAT_EN
    cats = list(r.choice(pool))
    n = r.randint(3, 6) if kind != "pie" else r.randint(2, 5)
    if cats[0] in ("甲", "A", "苹果", "北京", "语文", "Tom", "Red") and r.random() < 0.5:
        r.shuffle(cats)
    cats = cats[:n]
    title = r.choice(TIT[cl]) if r.random() < 0.75 else None
    f = cv.font(cl == "zh")
    pal = r.sample(PAL, len(PAL))
    em = max(11.5, min(24 if big else 18, cv.W / 22))
    top = em * 1.7 if title else em * 0.6
    lin = None
    show = True
    if title:
        cv.text(title, cv.W / 2, em * 1.25, f, em * 1.12, ink, anchor="m")
    if kind == "pie":
        while True:
            v = [r.randint(1, 12) * 5 for _ in range(n - 1)]
            if sum(v) < 100 and 100 - sum(v) >= 5:
                v.append(100 - sum(v))
                break
        r.shuffle(v)
        leg = r.random() < 0.6
        R = min(cv.W * (0.28 if leg else 0.27), (cv.H - top) * 0.40)
        cx, cy = (cv.W * 0.32 if leg else cv.W * 0.5), top + (cv.H - top) * 0.5
        a = r.choice((0.0, r.uniform(0, 6.28)))
        for i, (c, x) in enumerate(zip(cats, v)):
            b = a + x * 0.0628318
            m = (a + b) / 2
            a0, b0 = (a, b) if b <= 6.2831 else (a - 6.2831853, b - 6.2831853)
            cv.add(4, cx, cy, R, R, pal[i], 0, 1, a0, b0)
            a = b
            if leg:
                y = top + (cv.H - top) * (i + 0.5) / n
                cv.rect(cv.W * 0.64, y - em * 0.4, cv.W * 0.64 + em * 0.8, y + em * 0.4, pal[i])
                cv.text(
                    f"{c} {x}%",
                    cv.W * 0.64 + em * 1.1,
                    y + em * 0.36,
                    f,
                    min(em, cv.W * 0.30 / max(1, len(c) * (1 if cl == "zh" else 0.6) + 2.4)),
                    ink,
                )
            else:
                s = f"{c} {x}%"
                wd = cv.tw_(s, f, em * 0.85)
                tx, ty = cx + math.sin(m) * R * 1.12, cy - math.cos(m) * R * 1.12 + em * 0.3
                tx = tx if math.sin(m) > 0 else tx - wd
                tx = max(1, min(cv.W - wd - 1, tx))
                cv.text(s, tx, ty, f, em * 0.85, ink)
    else:
        show = r.random() < 0.62
        step = r.choice((1, 2, 5, 10, 20, 50) if show else (2, 4, 10, 20, 100))
        nt = r.randint(4, 6)
        vm = step * nt
        q = 1 if show else max(1, step // 2)
        isl = force == "predict" or r.random() < 0.42
        if isl:
            for _ in range(50):
                d = r.choice((1, 2, 3, 5)) * q * r.choice((1, 1, -1))
                s0 = r.randint(0, vm // q) * q
                vs = [s0 + d * i for i in range(n)]
                if min(vs) >= (q if d < 0 else 0) + (0 if d > 0 else -d) and max(vs) <= vm:
                    lin = d
                    v = vs
                    break
        if lin is None:
            v = [r.randint(max(1, vm // q // 10), vm // q) * q for _ in range(n)]
        x0 = em * (0.75 + 0.62 * len(str(vm)))
        x1 = cv.W - em * 0.6
        y1 = cv.H - em * 1.6
        y0 = top + em * 0.9
        gcol = (80, 84, 92) if dark else (215, 215, 215)
        for k in range(nt + 1):
            y = y1 - (y1 - y0) * k / nt
            if k == 0 or r.random() < 0.97:
                cv.line(x0, y, x1, y, 1.0, gcol)
            cv.text(str(step * k), x0 - em * 0.3, y + em * 0.3, f, em * 0.82, ink, anchor="r")
        cv.line(x0, y1, x1, y1, 1.6, ink)
        cw = (x1 - x0) / n
        one = r.random() < 0.5
        bw = cw * r.uniform(0.45, 0.8)
        pts = []
        fem = em * 0.9
        wl = max(cv.tw_(c, f, fem) for c in cats)
        fem *= min(1.0, cw * 0.96 / wl)
        for i, (c, x) in enumerate(zip(cats, v)):
            cx = x0 + cw * (i + 0.5)
            yt = y1 - (y1 - y0) * x / vm
            pts.append((cx, yt))
            cv.text(c, cx, cv.H - em * 0.45, f, fem, ink, anchor="m")
            if kind == "bar":
                cv.rect(cx - bw / 2, yt, cx + bw / 2, y1, pal[0] if one else pal[i])
        if kind == "line":
            for a, b in zip(pts, pts[1:]):
                cv.line(a[0], a[1], b[0], b[1], r.choice((2.0, 2.6)), pal[0])
            for a in pts:
                cv.add(1, a[0], a[1], 3.6, 3.6, pal[0])
        if show:
            for (cx, yt), x in zip(pts, v):
                cv.text(str(x), cx, yt - em * 0.32, f, em * 0.85, ink, anchor="m")
    cv.augment(0.6)
    u = "%" if kind == "pie" else ""
    mx, mn = max(v), min(v)
    name = {"bar": ("柱状图", "bar chart"), "line": ("折线图", "line chart"), "pie": ("饼图", "pie chart")}[kind]
    data = (
        ",".join(f"{c}{x}{u}" if not c[-1].isdigit() else f"{c}:{x}{u}" for c, x in zip(cats, v))
        if z
        else ", ".join(f"{c} {x}{u}" for c, x in zip(cats, v))
    )
    S = (f"数据是:{data}。") if z else f"The data are: {data}."

    def val():
        i = r.randrange(n)
        return (
            "chart_value",
            ask(
                r,
                L,
                [s.format(c=cats[i]) for s in Q_VAL[L]]
                + (
                    [f"{cats[i]}的{title}是多少?"] * 3
                    if z and title
                    else [
                        f"What is the {title} of {cats[i]}?",
                        f"What is the {title} for {cats[i]}?",
                        f"How much {title} does {cats[i]} have?",
                    ]
                    if title
                    else []
                ),
            ),
            f"{cats[i]}是{v[i]}{u}。" if z else f"{cats[i]} is {v[i]}{u}.",
            S,
        )

    def hi():
        if v.count(mx) > 1:
            return None
        c = cats[v.index(mx)]
        return (
            "chart_max",
            ask(
                r,
                L,
                Q_MAX[L]
                + (
                    [f"哪一项的{title}最高?", f"{title}最高的是哪个?"]
                    if z and title
                    else [f"Which has the highest {title}?", f"Where is the {title} highest?"]
                    if title
                    else []
                ),
            ),
            f"{c}最高,是{mx}{u}。" if z else f"{c} is the highest, at {mx}{u}.",
            S,
        )

    def lo():
        if v.count(mn) > 1:
            return None
        c = cats[v.index(mn)]
        return (
            "chart_min",
            ask(
                r,
                L,
                Q_MIN[L]
                + (
                    [f"哪一项的{title}最低?", f"{title}最低的是哪个?"]
                    if z and title
                    else [f"Which has the lowest {title}?", f"Where is the {title} lowest?"]
                    if title
                    else []
                ),
            ),
            f"{c}最低,是{mn}{u}。" if z else f"{c} is the lowest, at {mn}{u}.",
            S,
        )

    def dif():
        i, j = r.sample(range(n), 2)
        if v[i] < v[j]:
            i, j = j, i
        d = v[i] - v[j]
        return (
            "chart_diff",
            ask(r, L, [s.format(a=cats[i], b=cats[j]) for s in Q_DIF[L]]),
            f"相差{d}{u}。" if z else f"The difference is {d}{u}.",
            S + (f"{v[i]}-{v[j]}={d}。" if z else f" {v[i]}-{v[j]}={d}."),
        )

    def trend():
        if kind == "pie":
            return None
        up = all(a <= b for a, b in zip(v, v[1:]))
        dn = all(a >= b for a, b in zip(v, v[1:]))
        t = 2 if mx == mn else 0 if up else 1 if dn else 3
        return (
            "chart_trend",
            ask(r, L, Q_TREND[L]),
            (("一直上升。", "一直下降。", "保持不变。", "有升有降,上下波动。")[t])
            if z
            else ("It keeps rising.", "It keeps falling.", "It stays flat.", "It goes up and down.")[t],
            S,
        )

    def pred():
        if lin is None:
            return None
        nx = v[-1] + lin
        return (
            "chart_predict",
            ask(r, L, Q_PRED[L]),
            f"下一个值大约是{nx}。" if z else f"The next value is about {nx}.",
            S
            + (
                f"每次{'增加' if lin > 0 else '减少'}{abs(lin)},{v[-1]}{'+' if lin > 0 else '-'}{abs(lin)}={nx}。"
                if z
                else f" Each step {'adds' if lin > 0 else 'drops'} {abs(lin)}: {v[-1]}{'+' if lin > 0 else '-'}{abs(lin)}={nx}."
            ),
        )

    def lst():
        return (
            "chart_list",
            ask(r, L, Q_DATA[L]),
            data + ("。" if z else "."),
            "逐项读取图表。" if z else "I read the chart item by item.",
        )

    def typ():
        return (
            "chart_type",
            ask(r, L, Q_TYPE[L]),
            f"这是{name[0]}。" if z else f"This is a {name[1]}.",
            f"看形状是{name[0]}。" if z else f"By its shape it is a {name[1]}.",
        )

    def ttl():
        return (
            "chart_title",
            ask(r, L, Q_TITLE[L]),
            (title or ("图表没有标题。" if z else "The chart has no title.")),
            "看图表上方。" if z else "I look at the top of the chart.",
        )

    def num():
        return (
            "chart_n",
            ask(
                r,
                L,
                [
                    "图表里有几项?|一共有几个类别?|有多少项数据?".split("|"),
                    "How many items are in the chart?|How many categories are there?|How many data points are there?".split(
                        "|"
                    ),
                ][0 if z else 1],
            ),
            f"有{n}项。" if z else f"There are {n} items.",
            S,
        )

    def describe():
        t = (
            (f"这是一张{name[0]}" + (f",标题是“{title}”" if title else "") + f",有{n}项:{data}。")
            if z
            else (f"This is a {name[1]}" + (f' titled "{title}"' if title else "") + f" with {n} items: {data}.")
        )
        return ("describe_chart", ask(r, L, Q_DESC[L]), t, f"这是{name[0]}。" if z else f"It is a {name[1]}.")

    return [cv], [
        (val, 4),
        (hi, 2),
        (lo, 1.5),
        (dif, 1),
        (trend, 1.5),
        (pred, 7),
        (lst, 2),
        (typ, 0.6),
        (ttl, 0.6),
        (num, 0.4),
        (describe, 1.5),
    ]
