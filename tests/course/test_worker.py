import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil

from klm_utils.course.run import execute
from klm_utils.course.scales import plan

CHILD = (
    "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time\\nwhile time.process_time() < 6: 1'])"
)


def jobs(course, **options):
    return plan(course.notebooks, course.root / "build" / "notebooks", scales=course.scales, **options)[0]


def test_a_killed_kernel_and_a_cell_that_waits_for_ever_are_reported(course):
    course.add("00_killed", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)  # as the memory's guard would")
    course.add("01_endless", "import time\ntime.sleep(600)", timeout={"default": 2})
    killed, endless = execute(jobs(course))
    assert "the kernel died" in killed.error and "os.kill(os.getpid()" in killed.error
    assert "no work for 2 s" in endless.error and "time.sleep(600)" in endless.error
    assert endless.seconds < 30


def test_a_cell_that_works_longer_than_the_limit_is_not_stopped(course):
    """Itself, or a child of it."""
    course.add("00_slow", "import time\nwhile time.process_time() < 6: 1", timeout={"default": 2})
    course.add("01_child", CHILD, timeout={"default": 2})
    for result in execute(jobs(course)):
        assert result.error == "" and result.seconds > 4, result.job.name


def test_a_cell_that_never_gets_done_ends_at_the_ceiling(course):
    course.add("00_busy", "while True: 1")
    (result,) = execute([replace(jobs(course)[0], ceiling=8)])
    assert "no end after 8 s" in result.error and "while True" in result.error


def test_nothing_that_a_notebook_raises_or_prints_steers_the_terminal(course):
    course.add(
        "00_raises",
        r"raise ValueError('\x1b]0;title\x07\x1b[2Jred \x1b[31mtext\x9b1m\x08')  # \N{ESCAPE}".replace(
            r"\N{ESCAPE}", "\x1b[1m"
        ),
    )
    course.add("01_prints", metrics=r"print('METRICS', json.dumps({'headline': 'n\x1b[2J', 'n\x1b[2J': EPOCHS}))")
    course.add("02_dies", "import os\nos.kill(os.getpid(), 9)  # \x1b[1m")
    results = execute(jobs(course))
    assert "red text" in results[0].error and "n=5" in results[1].line
    for result in results:
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in result.line)
        assert all(letter.isprintable() or letter in "\n\t" for letter in result.error)


def test_a_killed_run_leaves_nothing_in_the_temporary_folder_and_no_half_of_a_copy(course, checkout, tmp_path):
    for name in ("00_long", "01_long"):
        course.add(name, "import subprocess\nsubprocess.run(['sleep', '600'])")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "klm_utils", "run", "--scales", str(course.scales)],
        cwd=course.root,
        env=os.environ | {"PYTHONPATH": str(checkout), "TMPDIR": str(temporary)},
    )
    for _ in range(600):
        family = psutil.Process(process.pid).children(recursive=True)
        if sum(member.name() == "sleep" for member in family) == 2:
            break
        time.sleep(0.1)
    assert list(temporary.glob("klm-run-*"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    for _ in range(200):  # who clears up after the killed run may be slow on a busy machine
        if not (left := list(temporary.iterdir())):
            break
        time.sleep(0.1)
    assert not alive and left == []
    assert [path.name for path in (course.root / "build" / "notebooks").iterdir()] == []
