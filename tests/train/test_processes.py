"""Several processes on the loopback interface train together; some are killed, and begin again."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blurjax import checkpoint

JOB = Path(__file__).with_name("_job.py")
PATIENCE_S = 240


def start(workdir, processes, *options):
    """The processes of a job; what they print is in files beside the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    started = []
    for i in range(processes):
        command = [sys.executable, str(JOB), str(workdir), "--processes", str(processes)]
        command += ["--process", str(i), "--port", str(port), *map(str, options)]
        with Path(f"{workdir}.{i}.out").open("w") as out:
            started.append(
                subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
            )
    return started


def finish(workdir, started):
    """What the processes of a job, which must end well, say their state is."""
    codes = [process.wait(PATIENCE_S) for process in started]
    printed = [Path(f"{workdir}.{i}.out").read_text() for i in range(len(started))]
    assert codes == [0] * len(started), "\n".join(printed)
    hashes = {text.split()[-1] for text in printed}
    assert len(hashes) == 1, "processes ended with different states"
    return hashes.pop()


def wait_for_step(workdir, least, started):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if (checkpoint.latest_step(workdir / "checkpoints" / "train") or 0) >= least:
            return
        gone = [process.poll() for process in started]
        assert gone == [None] * len(started), Path(f"{workdir}.0.out").read_text()
        time.sleep(0.05)
    pytest.fail(f"no checkpoint of step {least} within {PATIENCE_S} s")


def kill(started):
    # After jax.distributed.initialize a process that waits for a dead one ends by SIGKILL alone.
    for process in started:
        process.kill()
        process.wait(PATIENCE_S)


@pytest.mark.slow
@pytest.mark.parametrize("processes", (2, 4))
def test_a_killed_job_begins_again_and_ends_bit_equal(tmp_path, processes):
    whole = finish(tmp_path / "whole", start(tmp_path / "whole", processes))

    broken = tmp_path / "broken"
    # The pause makes sure that there is something left to do.
    started = start(broken, processes, "--pause", 0.1)
    wait_for_step(broken, 1, started)
    started[-1].kill()
    time.sleep(0.5)
    kill(started)
    reached = checkpoint.latest_step(broken / "checkpoints" / "train")
    assert reached < 30

    # One of them is told to stop: all save the same step, and say so.
    started = start(broken, processes, "--pause", 0.1)
    wait_for_step(broken, reached + 1, started)
    started[-1].send_signal(signal.SIGTERM)
    assert [process.wait(PATIENCE_S) for process in started] == [130] * processes
    stopped = checkpoint.latest_step(broken / "checkpoints" / "train")
    assert reached < stopped < 30
    assert f"stopped at step {stopped} of 30" in Path(f"{broken}.0.out").read_text()

    assert finish(broken, start(broken, processes)) == whole
    # And what several made, one goes on with.
    finish(broken, start(broken, 1, "--steps", 35))
