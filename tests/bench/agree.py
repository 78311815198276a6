"""Alpha with its bootstrap: ours against calling `krippendorff` in a loop. Run by hand: python tests/bench/agree.py"""

from __future__ import annotations

import time

import krippendorff
import numpy as np

from curation.agreement_scores import scores
from curation.agreement_sums import Ratings

ITEMS, REPLICATES, LOOPS = 100_000, 1_000, 20


def from_matrix(matrix: np.ndarray, level: str) -> Ratings:
    """Ratings from a (raters, items) matrix of numbers, none missing; every item is its own group."""
    domain, code = np.unique(matrix.T, return_inverse=True)
    items, (raters, n) = np.arange(matrix.shape[1]), matrix.shape
    code = np.sort(code.reshape(n, raters), axis=1).ravel()  # who gave which rating does not matter to alpha
    names = tuple(map(str, items)), tuple(map(str, range(raters)))
    return Ratings(level, np.repeat(items, raters), np.tile(np.arange(raters), n), code, items, *names, tuple(domain))


def main() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(3, ITEMS, p=[0.1, 0.2, 0.7])
    matrix = np.where(rng.random((3, ITEMS)) < 0.85, truth, rng.integers(0, 3, (3, ITEMS))).astype(float)
    for level in ("nominal", "ordinal", "interval"):
        scores(from_matrix(matrix[:, :100], level), replicates=10)  # imports
        start = time.perf_counter()
        alpha = scores(from_matrix(matrix, level), seed=0, replicates=REPLICATES).alpha
        ours = time.perf_counter() - start
        start = time.perf_counter()
        point = krippendorff.alpha(reliability_data=matrix, level_of_measurement=level)
        draws = [
            krippendorff.alpha(reliability_data=matrix[:, rng.integers(0, ITEMS, ITEMS)], level_of_measurement=level)
            for _ in range(LOOPS)
        ]
        loop = (time.perf_counter() - start) / (LOOPS + 1) * REPLICATES
        error, theirs = (alpha.high - alpha.low) / (2 * 1.959964), np.std(draws, ddof=1)
        print(f"{level:<9} ours {ours:6.3f} s   loop {loop:6.1f} s (from {LOOPS})   ratio {loop / ours:6.0f}x")
        print(f"          alpha {alpha.value:.6f} against {point:.6f}; standard error {error:.5f} against {theirs:.5f}")


if __name__ == "__main__":
    main()
