"""Time of the text-prior probe per seed, headline beside its controls: `python tests/bench/probe.py [items]`.

Three sets of 4-option questions: fair templates, templates whose answers are skewed, and free text in which nearly
every option is a string of its own (the dear case: most columns).
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from curation.priors import EVERYTHING, PERMUTED, features, fold_masks, make_table, pick, ridge_scores
from curation.probe import probe_closed

WORDS = [f"word{i}" for i in range(3000)]


def questions(kind: str, n: int) -> list[dict[str, Any]]:
    """`n` items over n / 6 videos and six families."""
    rng = random.Random(0)
    pools = [[" ".join(rng.choices(WORDS[:300], k=rng.randint(1, 8))) for _ in range(60)] for _ in range(6)]
    items = []
    for i in range(n):
        pool = pools[i % 6]
        if kind == "free text":
            options = [" ".join(rng.choices(WORDS, k=rng.randint(6, 14))) for _ in range(4)]
        else:
            options = rng.sample(pool, 4)
        skewed = kind == "skewed" and rng.random() < 0.9
        answer = min(range(4), key=lambda o: pool.index(options[o])) if skewed else rng.randrange(4)
        text = f"Of family {i % 6}, what is seen? Choose A, B, C or D."
        items.append(
            {"id": str(i), "question": text, "options": options, "answer": answer, "family": f"f{i % 6}"}
            | {"group": f"video {i // 6}"}
        )
    return items


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
    probe_closed(questions("fair", 300), seeds=1, replicates=10)  # imports and warm-up
    print(f"{n} items of 4 options, 5 folds, one seed")
    print(f"{'set':<12}{'feature set':<24}{'columns':>9}{'s':>8}{'accuracy':>10}")
    for kind in ("fair", "skewed", "free text"):
        items = questions(kind, n)
        t_table, t = timed(lambda items=items: make_table(items))
        t_features, blocks = timed(lambda t=t: features(t))
        print(f"{kind:<12}{'(table, features)':<24}{blocks[EVERYTHING].shape[1]:>9}{t_table + t_features:>8.2f}")
        chance = 1 / t.k[t.item]
        drawn = np.random.default_rng(0).integers(0, t.k)
        runs = [(name, x, t.answer) for name, x in blocks.items()]
        runs.append((PERMUTED, blocks[EVERYTHING], drawn))
        total = 0.0
        for name, x, answer in runs:
            start = time.perf_counter()
            rng = np.random.default_rng(0)
            scores = np.zeros(len(t.item))
            for test in fold_masks(t.group, rng):
                y = (t.place == answer[t.item]) - chance
                scores[test[t.item]] = ridge_scores(t, x, y, ~test)[test[t.item]]
            hit = (pick(t, scores, rng)[0] == answer).mean()
            spent = time.perf_counter() - start
            total += spent
            print(f"{kind:<12}{name:<24}{x.shape[1]:>9}{spent:>8.2f}{hit:>10.3f}")
        print(f"{kind:<12}{'all of a seed':<24}{'':>9}{total:>8.2f}")
        whole, result = timed(lambda items=items: probe_closed(items))
        print(
            f"{kind:<12}{'3 seeds, intervals':<24}{'':>9}{whole:>8.2f}{result['accuracy']:>10.3f}  {result['verdict']}"
        )


if __name__ == "__main__":
    main()
