"""A phone's home screen and where to tap."""

from . import words as W
from .common import DICT, Q_DESC, C, ask, background, jit
from .draw import Canvas

Q_OPEN = C(
    "打开{o}|点击{o}|启动{o}|帮我打开{o}应用|点开{o}|进入{o}|我想用{o}|点一下{o}图标",
    "Open {o}|Tap {o}|Launch {o}|Open the {o} app|Start {o}|Click the {o} icon|Go to {o}",
)
Q_APPS = C(
    "屏幕上有哪些应用?|列出所有应用|手机上有什么应用?|有哪些App?|读出屏幕上的应用名称",
    "Which apps are on the screen?|List all apps|What apps do you see?|Name the apps on this screen",
)
Q_TIME = C(
    "现在几点?|屏幕上显示的时间是几点?|状态栏的时间是多少?",
    "What time is it?|What time does the screen show?|What is the time in the status bar?",
)
Q_RC = C(
    "第{r}行第{c}个是什么应用?|第{r}行第{c}列的应用是什么?",
    "Which app is in row {r}, column {c}?|What is the app in row {r} column {c}?",
)
Q_HAS = C("有{o}应用吗?|屏幕上有{o}吗?|有没有{o}?", "Is there a {o} app?|Is {o} on the screen?|Do you see the {o} app?")


def phone(r, L, force=None):
    z = L == "zh"
    h, w = r.choice(((12, 6), (13, 7), (14, 7), (14, 8), (15, 8), (16, 8), (16, 9), (18, 9), (18, 10)))
    cv = Canvas(r, h, w)
    background(cv, r, 0.35)
    cl = "zh" if z == (r.random() < 0.85) else "en"
    nc = r.choice((3, 4, 4)) if w <= 8 else 4
    f = cv.font(cl == "zh")
    sb = cv.H * 0.045
    hh, mm = r.randint(0, 23), r.randint(0, 59)
    tm = f"{hh}:{mm:02d}" if r.random() < 0.5 else f"{hh:02d}:{mm:02d}"
    bar = r.choice(((255, 255, 255), (20, 20, 22)))
    ink = (20, 20, 22) if bar[0] > 128 else (250, 250, 250)
    em0 = max(11.5, sb * 0.78)
    sb = max(sb, em0 * 1.25)
    cv.rect(0, 0, cv.W, sb, bar, label=-1)
    cv.text(tm, 6, sb * 0.5 + em0 * 0.36, f, em0, ink)
    cv.rect(cv.W - em0 * 2, sb * 0.3, cv.W - em0 * 0.5, sb * 0.72, ink, 1.5, 1.0, 1.2)
    cv.rect(cv.W - em0 * 1.9, sb * 0.36, cv.W - em0 * (0.6 + r.random()), sb * 0.66, ink)
    cw = cv.W / nc
    ich = cw * r.uniform(1.2, 1.4)
    nr = min(int((cv.H - sb * 1.6) / ich), 6)
    nr = r.randint(max(1, nr - 3), nr)
    m = r.randint(max(2, (nr - 1) * nc + 1), nr * nc)
    apps = r.sample(W.APPS, min(m, len(W.APPS)))
    si = cw * r.uniform(0.56, 0.68)
    pos = []
    tile = r.choice((None, "w", "c", "c"))
    rad = si * r.choice((0.12, 0.22, 0.3, 0.5))
    lc = r.choice(((255, 255, 255), (20, 20, 22)))
    strip = r.random() < 0.5
    for i, a in enumerate(apps):
        cx, cy = cw * (i % nc + 0.5), sb + ich * (i // nc) + si * 0.5 + cw * 0.12
        pos.append((cx, cy))
        if tile:
            cv.add(
                0,
                cx,
                cy,
                si / 2,
                si / 2,
                (250, 250, 250) if tile == "w" else jit(r, r.choice(W.COLORS[:9])[2], 20),
                0,
                1,
                rad,
            )
        cv.emoji(a[2], cx, cy, si * (0.66 if tile else 0.92))
        lb = a[0] if cl == "zh" else a[1]
        em = max(10.5, min(cw * 0.235, 16))
        wd = cv.tw_(lb, f, em)
        if wd > cw * 0.98:
            em *= cw * 0.98 / wd
            wd = cw * 0.98
        ly = cy + si / 2 + em * 1.02
        if strip:
            cv.add(0, cx, ly - em * 0.34, wd / 2 + 2, em * 0.62, tuple(255 - v for v in lc), 0, 0.75, 3)
        cv.text(lb, cx, ly, f, em, lc, anchor="m")
    cv.tol = (si / 2 / cv.W * 1000, si / 2 / cv.H * 1000)
    cv.augment(0.5)
    nmz = lambda a: a[0] if z else a[1]
    rows = [apps[i : i + nc] for i in range(0, len(apps), nc)]
    pt = lambda i: f"{min(999, int(pos[i][0] / cv.W * 1000))},{min(999, int(pos[i][1] / cv.H * 1000))}"

    def tap():
        if r.random() < 0.2:
            a = r.choice(W.APPS)
            if a not in apps:
                return (
                    "tap_absent",
                    ask(r, L, [s.format(o=nmz(a)) for s in Q_OPEN[L]]),
                    f'finish(message="屏幕上没有找到{a[0]}")'
                    if z
                    else f'finish(message="{a[1]} is not on the screen")',
                    f"屏幕上没有{a[0]}。" if z else f"{a[1]} is not on the screen.",
                )
        i = r.randrange(len(apps))
        rr, cc = i // nc + 1, i % nc + 1
        return (
            "tap",
            ask(r, L, [s.format(o=nmz(apps[i])) for s in Q_OPEN[L]]),
            f'do(action="Tap", element=[{pt(i)}])',
            f"{apps[i][0]}在第{rr}行第{cc}个。" if z else f"{apps[i][1]} is in row {rr}, column {cc}.",
        )

    def lst():
        return (
            "apps",
            ask(r, L, Q_APPS[L]),
            ("、".join(nmz(a) for a in apps) + "。") if z else ", ".join(nmz(a) for a in apps) + ".",
            f"一共{len(rows)}行。" if z else f"There are {len(rows)} rows.",
        )

    def desc():
        return (
            "phone_describe",
            ask(r, L, Q_DESC[L]),
            (f"这是手机主屏幕,时间是{tm},有{len(apps)}个应用:" + "、".join(nmz(a) for a in apps) + "。")
            if z
            else f"This is a phone home screen at {tm} with {len(apps)} apps: " + ", ".join(nmz(a) for a in apps) + ".",
            "这是手机截图。" if z else "It is a phone screenshot.",
        )

    def time():
        return (
            "time",
            ask(r, L, Q_TIME[L]),
            f"时间是{tm}。" if z else f"It is {tm}.",
            "看左上角的状态栏。" if z else "I look at the status bar at the top left.",
        )

    def rc():
        i = r.randrange(len(apps))
        return (
            "rowcol",
            ask(r, L, [s.format(r=i // nc + 1, c=i % nc + 1) for s in Q_RC[L]]),
            f"是{apps[i][0]}。" if z else f"It is {apps[i][1]}.",
            ("这一行有:" + "、".join(nmz(a) for a in rows[i // nc]) + "。")
            if z
            else "The row has " + ", ".join(nmz(a) for a in rows[i // nc]) + ".",
        )

    def has():
        a = r.choice(apps) if r.random() < 0.5 else r.choice(W.APPS)
        b = a in apps
        return (
            "hasapp",
            ask(r, L, [s.format(o=nmz(a)) for s in Q_HAS[L]]),
            (f"有{a[0]}。" if b else f"没有{a[0]}。")
            if z
            else (f"Yes, there is {a[1]}." if b else f"No, there is no {a[1]}."),
            "逐个查看图标。" if z else "I check each icon.",
        )

    def ncount():
        return (
            "appcount",
            ask(
                r,
                L,
                [
                    "屏幕上有几个应用?|一共有多少个图标?|有几个App?".split("|"),
                    "How many apps are there?|How many icons are on the screen?".split("|"),
                ][0 if z else 1],
            ),
            f"有{len(apps)}个应用。" if z else f"There are {len(apps)} apps.",
            (f"有{len(rows)}行,每行{nc}个,最后一行{len(rows[-1])}个。")
            if z
            else f"{len(rows)} rows of {nc}, the last with {len(rows[-1])}.",
        )

    def act():
        w_ = r.choice(W.SIGNS) if z else r.choice(DICT)
        q, a = r.choice(
            (
                (C("返回上一页|返回|后退", "Go back|Return to the previous page|Back"), 'do(action="Back")'),
                (C("回到主屏幕|回到桌面|回主页", "Go to the home screen|Go home|Return home"), 'do(action="Home")'),
                (
                    C("向上滑动|翻到下一屏|往上滑", "Swipe up|Scroll down|Swipe upwards"),
                    'do(action="Swipe", start=[500,800], end=[500,200])',
                ),
                (C("向下滑动|往下滑", "Swipe down|Scroll up"), 'do(action="Swipe", start=[500,200], end=[500,800])'),
                (
                    C("向左滑动|翻到下一页|往左滑", "Swipe left|Go to the next page"),
                    'do(action="Swipe", start=[800,500], end=[200,500])',
                ),
                (
                    C(f"输入“{w_}”|输入文字{w_}", f'Type "{w_}"|Enter the text "{w_}"'),
                    f'do(action="Type", text="{w_}")',
                ),
                (
                    C("等一下|等待页面加载", "Wait a moment|Wait for the page to load"),
                    'do(action="Wait", duration="2 seconds")',
                ),
            )
        )
        return ("action", ask(r, L, q[L]), a, "直接执行这个操作。" if z else "I do this action directly.")

    return [cv], [(tap, 6), (lst, 2), (desc, 0.8), (time, 1), (rc, 1), (has, 0.7), (ncount, 0.5), (act, 1)]
