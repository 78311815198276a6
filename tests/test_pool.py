from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.errors import DataError
from curation.pool import spread

SLEEPERS = """
import os, sys, time
from curation.pool import spread

def work(path):
    open(f"{path}/{os.getpid()}", "w").close()
    time.sleep(60)

if __name__ == "__main__":
    list(spread(work, [sys.argv[1]] * 4, 2))
"""


def die(item: int) -> None:
    os._exit(3)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(spread(abs, range(-30, 0), workers)) == [(i, -i) for i in range(-30, 0)]
    assert list(spread(abs, [], workers)) == []
    with pytest.raises(TypeError):
        list(spread(abs, [1, "x"], workers))  # type: ignore[list-item]


def test_a_worker_that_dies_is_said() -> None:
    with pytest.raises(DataError, match="worker process died"):
        list(spread(die, range(3), 2))


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script, marks = tmp_path / "sleepers.py", tmp_path / "pids"
    script.write_text(SLEEPERS, encoding="utf-8")
    marks.mkdir()
    root = str(Path(__file__).parent.parent)
    parent = subprocess.Popen([sys.executable, str(script), str(marks)], env={**os.environ, "PYTHONPATH": root})
    until = time.monotonic() + 30
    while len(list(marks.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    workers = [int(p.name) for p in marks.iterdir()]
    assert len(workers) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(_runs(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (ProcessLookupError, FileNotFoundError):
        return False
