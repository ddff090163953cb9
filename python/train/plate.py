"""A plate of food and what a dieter should leave."""

import math

from . import words as W
from .common import FOODS, Q_DESC, C, ask, background, jit, join
from .draw import Canvas

Q_DIET = C(
    "如果这个人想减肥,你会建议他怎么做?|想减肥的话应该怎么吃?|减肥的人吃这盘东西合适吗?给点建议|我在减肥,这盘食物应该怎么吃?|给一个减肥建议|如果想控制体重,应该少吃什么?|从减肥的角度看,你有什么建议?|这个人想瘦下来,应该怎么调整这餐?",
    "If this person wants to lose weight, what would you suggest?|I want to lose weight. What should I eat from this plate?|Give diet advice for this plate|What would you advise someone on a diet?|How should a person who wants to lose weight change this meal?|Which of these should I avoid to lose weight?",
)
Q_PLATE = C(
    "盘子里有什么?|盘子里有哪些食物?|这一餐有什么?|列出盘子里的食物|盘子上都有什么吃的?|这顿饭有什么?",
    "What is on the plate?|Which foods are on the plate?|List the food on the plate|What's for dinner here?|What food do you see?",
)
Q_HEAL = C(
    "这顿饭健康吗?|这一餐健康吗?|这些食物健康吗?",
    "Is this meal healthy?|Is this food healthy?|Would you call this meal healthy?",
)
Q_KCAL = C(
    "哪个食物热量最高?|热量最高的是哪个?|哪样东西最容易长胖?",
    "Which food has the most calories?|Which item is the most fattening?|What has the highest calories here?",
)
Q_VEGE = C(
    "素食者能吃吗?|这些适合素食者吗?|里面有肉吗?",
    "Can a vegetarian eat this?|Is this meal vegetarian?|Is there meat on the plate?",
)


def plate(r, L, force=None):
    z = L == "zh"
    big = r.random() < 0.12
    while True:
        h, w = (r.randint(10, 16), r.randint(10, 16)) if big else (r.randint(7, 12), r.randint(7, 12))
        if 60 <= h * w <= (256 if big else 121) and 0.7 <= h / w <= 1.4:
            break
    cv = Canvas(r, h, w)
    background(cv, r, 0.35)
    R = min(cv.H, cv.W) * r.uniform(0.44, 0.49)
    cx, cy = cv.W / 2 + r.uniform(-6, 6), cv.H / 2 + r.uniform(-6, 6)
    pc = jit(r, r.choice(((250, 250, 250), (250, 250, 250), (235, 240, 250), (60, 70, 90), (190, 220, 215))), 6)
    cv.add(1, cx + 3, cy + 4, R, R, (20, 20, 20), alpha=0.3)
    cv.add(1, cx, cy, R, R, pc, label=-1)
    cv.add(1, cx, cy, R * 0.76, R * 0.76, jit(r, tuple(v * 0.95 for v in pc), 3))
    n = r.randint(2, 6)
    foods = []
    while len(foods) < n:
        t = r.choice(FOODS)
        if t not in foods:
            foods.append(t)
    ph = r.uniform(0, 6.28)
    rr = R * (0.5 if n > 1 else 0)
    sz = R * (0.72 if n <= 4 else 0.58) * r.uniform(0.85, 1.05)
    pts = []
    for i, t in enumerate(foods):
        a = ph + 6.2832 * i / n
        x, y = cx + math.cos(a) * rr + r.uniform(-3, 3), cy + math.sin(a) * rr + r.uniform(-3, 3)
        pts.append((x, y, t))
        cv.emoji(t.emoji, x, y, sz * r.uniform(0.9, 1.05), r.uniform(-0.2, 0.2))
    cv.augment(0.8)
    foods = [t for x, y, t in sorted(pts, key=lambda p: p[0])]
    nm = lambda ts: join([t.zh if z else t.en for t in ts], L)
    fat = [t for t in foods if t.zh in W.FATTY]
    ok = [t for t in foods if t.zh in W.HEALTHY]
    meat = [t for t in foods if t.zh in W.MEAT]
    S = f"盘子里有{nm(foods)}。" if z else f"The plate has {nm(foods)}."
    S2 = S + (
        (f"高热量:{nm(fat) if fat else '无'}。低热量:{nm(ok) if ok else '无'}。")
        if z
        else f" High in calories: {nm(fat) if fat else 'none'}. Low in calories: {nm(ok) if ok else 'none'}."
    )

    def diet():
        if z:
            t = (
                S
                + (f"建议少吃{nm(fat)},热量较高;" if fat else "这些食物热量不算高,注意控制分量;")
                + (f"可以多吃{nm(ok)}。" if ok else "最好再加一些蔬菜和水果。")
            )
        else:
            t = (
                S
                + (
                    f" Eat less of the {nm(fat)}, high in calories;"
                    if fat
                    else " Nothing here is very high in calories, just watch the portions;"
                )
                + (f" eat more of the {nm(ok)}." if ok else " add some vegetables and fruit.")
            )
        return ("diet", ask(r, L, Q_DIET[L]), t, S2)

    def what():
        return (
            "plate_list",
            ask(r, L, Q_PLATE[L]),
            S,
            "逐个辨认盘子里的食物。" if z else "I look at each food on the plate.",
        )

    def desc():
        return (
            "plate_describe",
            ask(r, L, Q_DESC[L]),
            ("图中是一个盘子。" if z else "The image shows a plate of food. ") + S,
            S,
        )

    def heal():
        b = len(ok) >= len(fat) if not fat else len(ok) > len(fat)
        return (
            "healthy",
            ask(r, L, Q_HEAL[L]),
            (("比较健康," if b else "不太健康,") + (f"{nm(fat)}热量偏高。" if fat else "没有高热量的食物。"))
            if z
            else (
                ("Fairly healthy: " if b else "Not very healthy: ")
                + (
                    f"the {nm(fat)} {'is' if len(fat) == 1 else 'are'} high in calories."
                    if fat
                    else "nothing is high in calories."
                )
            ),
            S2,
        )

    def kcal():
        t = max(foods, key=lambda t: t.kcal)
        return ("kcal", ask(r, L, Q_KCAL[L]), f"{t.zh}的热量最高。" if z else f"The {t.en} has the most calories.", S)

    def vege():
        return (
            "vegetarian",
            ask(r, L, Q_VEGE[L]),
            (
                (f"不适合素食者,里面有{nm(meat)},含有肉。" if meat else "适合素食者,没有看到肉。")
                if z
                else (
                    f"Not vegetarian: the {nm(meat)} contain{'s' if len(meat) == 1 else ''} meat."
                    if meat
                    else "It is vegetarian, I see no meat."
                )
            ),
            S,
        )

    def cnt():
        return (
            "plate_count",
            ask(
                r,
                L,
                [
                    "盘子里有几种食物?|有几种吃的?|一共有几样食物?".split("|"),
                    "How many foods are on the plate?|How many kinds of food are there?".split("|"),
                ][0 if z else 1],
            ),
            f"有{n}种食物。" if z else f"There are {n} kinds of food.",
            S,
        )

    return [cv], [(diet, 5), (what, 2), (desc, 1), (heal, 1), (kcal, 1), (vege, 1), (cnt, 0.7)]
