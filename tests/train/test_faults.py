"""kill -9 while it trains and while it saves, and a disk that is full: a run always goes on."""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blurjax import checkpoint

JOB = Path(__file__).with_name("_job.py")
KILLS = 30
# A million parameters with their two moments: saving takes about as long as the pause between.
OPTIONS = ("--steps", "1500", "--size", "1000000", "--every", "0.2")


def start(workdir, *options, **how):
    command = [sys.executable, str(JOB), str(workdir), *OPTIONS, *options]
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    # What is compiled once serves all sittings.
    environment["JAX_COMPILATION_CACHE_DIR"] = str(workdir.parent / "programs")
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **how,
    )


@pytest.mark.slow
def test_kill_9_at_30_random_moments(tmp_path):
    finished = start(tmp_path / "whole", "--every", "1000")
    whole = finished.communicate(timeout=600)[0].split()[-1]
    assert finished.returncode == 0 and re.fullmatch("[0-9a-f]{64}", whole)

    rng = random.Random(0)
    workdir, saved, saving, before = tmp_path / "broken", 0, 0, []
    folder = workdir / "checkpoints" / "train"
    for kill in range(1, KILLS + 1):
        process = start(workdir, "--pause", "0.02")
        # It says so when the first step is about to begin.
        while "training" not in process.stdout.readline():
            assert process.poll() is None
        delay = rng.uniform(0, 6)
        time.sleep(delay)
        process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed: more steps"
        left = [p.name for p in folder.iterdir() if not p.name.isdigit()] if folder.exists() else []
        saving += bool(set(left) - set(before))
        before = left
        reached = checkpoint.latest_step(folder) or 0
        # Nothing is lost that was saved, and what is there is whole.
        assert reached >= saved
        if reached:
            assert checkpoint.restore(folder)[2] == reached
        saved = reached
        print(f"kill {kill:2} after {delay:.2f} s: step {reached} is whole; left: {left}")
    assert saved > 0 and saving > 0, "no save was interrupted: nothing was tested"
    last = start(workdir, "--every", "1000")
    end = last.communicate(timeout=600)[0].split()[-1]
    assert last.returncode == 0
    print(
        f"{saving} of {KILLS} kills fell into a save; uninterrupted {whole[:12]}, this {end[:12]}"
    )
    assert end == whole
    assert all(name.isdigit() for name in os.listdir(folder)), "leftovers stay"


@pytest.mark.slow
def test_a_disk_that_fills_up_stops_the_run_and_spares_what_is_there(tmp_path):
    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))

    workdir = tmp_path / "run"
    whole = start(tmp_path / "whole", "--steps", "40")
    expected = whole.communicate(timeout=600)[0].split()[-1]
    first = start(workdir, "--steps", "20")
    assert first.wait(600) == 0
    folder = workdir / "checkpoints" / "train"
    before = sorted(os.listdir(folder))
    full = start(workdir, "--steps", "40", preexec_fn=small)
    said = full.communicate(timeout=600)[0]
    assert full.returncode == 1
    assert "could not be written" in said and "step 20 is there" in said
    assert sorted(os.listdir(folder)) == before
    again = start(workdir, "--steps", "40")
    assert again.communicate(timeout=600)[0].split()[-1] == expected
