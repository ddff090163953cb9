"""One conversation about one scene: pictures (as draw lists), questions and exact answers."""

from .chart import chart
from .objects import objects
from .ocr import ocr
from .pair import pair
from .phone import phone
from .plate import plate
from .talk import talk_qa, unans

SCENES = dict(
    objects=(objects, 36),
    ocr=(ocr, 22),
    chart=(chart, 13),
    pair=(pair, 9),
    plate=(plate, 7),
    phone=(phone, 10),
    talk=(None, 3),
)
NAMES, WEIGHTS = list(SCENES), [v[1] for v in SCENES.values()]
SYS = {
    "zh": ["你是一个有用的助手。", "你是一个视觉助手,请根据图片回答问题。", "请用中文回答。", "你是Glimpse-mini。"],
    "en": [
        "You are a helpful assistant.",
        "You are a vision assistant. Answer based on the image.",
        "Answer in English.",
        "You are Glimpse-mini.",
    ],
}


def choose(r, Q, k, force=None):
    out = []
    Q = list(Q)
    if force:
        for f, _ in Q:
            for _ in range(6):
                x = f()
                if x and (x[0] == force):
                    return [x]
        return []
    while Q and len(out) < k:
        i = r.choices(range(len(Q)), [q[1] for q in Q])[0]
        f = Q.pop(i)[0]
        x = f()
        if x:
            out.append(x)
    return out


def sample(r, scene=None, force=None, L=None, think=None, hint=None):
    """One conversation: dict(images=[Canvas], turns=[(task, q, a, think)], think=bool, system=str|None, lang)."""
    L = L or r.choice(("zh", "en"))
    while True:
        s = scene or r.choices(NAMES, WEIGHTS)[0]
        if s == "talk":
            turns = [talk_qa(r, L) for _ in range(1 if force else r.choice((1, 1, 2, 3)))]
            cvs = []
            if force and turns[0][0] != force:
                continue
        else:
            cvs, Q = SCENES[s][0](r, L, hint)
            k = r.choice((1, 2, 2, 3, 3, 4))
            turns = choose(r, Q, k, force)
            if not turns:
                continue
            if not force:
                if r.random() < 0.05:
                    turns.insert(r.randrange(len(turns) + 1), unans(r, L))
                if r.random() < 0.025:
                    turns.insert(r.randrange(len(turns) + 1), talk_qa(r, L, False))
            elif force == "unanswerable":
                turns = [unans(r, L)]
        break
    th = (r.random() < 0.28) if think is None else think
    if th and not force:
        turns = turns[: r.choice((1, 1, 2, 3))]
    out = dict(
        images=cvs,
        turns=turns,
        think=th,
        system=r.choice(SYS[L]) if think is None and r.random() < 0.08 else None,
        lang=L,
        scene=s,
        first=think is None and r.random() < 0.22,
        at=0,
        next=None,
    )
    if think is None and not force and cvs:
        if r.random() < 0.04:
            turns.insert(0, talk_qa(r, L, r.random() < 0.3))
            out["at"] = 1
        if r.random() < 0.06 and len(turns) < 3:
            out["next"] = sample(r, r.choice(("objects", "objects", "ocr", "chart")), None, L, th)
            out["next"]["turns"] = out["next"]["turns"][:2]
    return out
