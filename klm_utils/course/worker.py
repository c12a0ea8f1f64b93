"""Execute one notebook in a process of its own: `python -m klm_utils.course.worker JOB.json RESULT.json`.

The process makes its own Jupyter folders, so that the kernel is this interpreter whatever kernels a user installed,
no startup file of the user runs, and two kernels do not share a history database.
"""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

SOURCE_LINES = 12  # of the failing cell, to be printed
SHARE = 0.01  # of one core: a kernel that works uses more even on a crowded machine, one that waits next to nothing


def main(job_file: str, result_file: str) -> None:
    """Read the job, run it, move the executed copy and then the result to their places."""
    folder = Path(result_file).parent  # the run's own: whoever is left at the end deletes it
    threading.Thread(target=_follow, args=(os.getppid(), folder), daemon=True).start()
    job = json.loads(Path(job_file).read_text(encoding="utf8"))
    _own_jupyter(folder)
    tempfile.tempdir = str(folder)  # where jupyter_client puts the connection file
    copy = folder / "executed.ipynb"
    began = time.perf_counter()
    error = _execute(job, copy)
    result = {"seconds": time.perf_counter() - began, "error": error, "metrics": {}}
    result |= {} if error else _metrics(job, copy)
    result |= _deliver(job, copy, result)
    part = Path(result_file + ".part")
    part.write_text(json.dumps(result), encoding="utf8")
    os.replace(part, result_file)


def _follow(parent: int, folder: Path) -> None:
    """End this process and its kernel when the process that wanted the result is gone, however it went."""
    while os.getppid() == parent and psutil.pid_exists(parent):
        time.sleep(0.5)
    _kill_children()
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()  # the last worker of the run takes the run's folder along
    os._exit(1)


def _kill_children() -> None:
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


class Idle(threading.Thread):
    """Kills the kernel once it and everything it started have done no work for `limit` seconds; `found` says so then.

    A slow cell uses processor time, a cell that hangs uses none; the clock on the wall cannot tell them apart.
    """

    def __init__(self, limit: float):
        super().__init__(daemon=True)
        self.limit, self.found, self.over = limit, False, threading.Event()

    def run(self) -> None:
        """Look twenty times in each `limit`, until `over` is set."""
        seen, since = 0.0, time.monotonic()
        while not self.over.wait(self.limit / 20):
            used = _cpu_seconds()
            if not used or abs(used - seen) > SHARE * self.limit:  # not begun; less than before: a child has ended
                seen, since = used, time.monotonic()
            elif time.monotonic() - since > self.limit:
                self.found = True
                return _kill_children()


def _cpu_seconds() -> float:
    """Processor time of the kernel and of everything that it started, so far."""
    seconds = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            times = child.cpu_times()
            seconds += times.user + times.system
    return seconds


def _own_jupyter(folder: Path) -> None:
    spec = folder / "data" / "kernels" / "python3"
    spec.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Python 3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf8")
    os.environ["JUPYTER_PATH"] = str(folder / "data")
    for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        os.environ[variable] = str(folder / variable.lower())


def _execute(job: dict, copy: Path) -> str:
    """Run the notebook into `copy`; "" or what went wrong, with the failing cell."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from klm_utils.course.notebook import plain

    idle = Idle(job["timeout"])
    idle.start()
    try:
        papermill.execute_notebook(
            job["source"],
            str(copy),
            parameters=job["parameters"],
            kernel_name="python3",
            language="python",
            cwd=job["cwd"],
            start_timeout=job["ceiling"],  # a machine may be so busy that a kernel needs minutes to start or to answer
            iopub_timeout=job["ceiling"],
            execution_timeout=job["ceiling"],
            progress_bar=False,
            **_transport(copy.parent),
        )
    except PapermillExecutionError as error:
        first = f"cell {error.cell_index}: {error.ename}: {error.evalue}".splitlines()[0]
        return plain("\n".join([first, _head(error.source), *error.traceback]))
    except DeadKernelError:
        if idle.found:
            return f"no work for {job['timeout']} s, the limit of a cell that waits, {_running(copy)}"
        return f"the kernel died (killed, or out of memory) {_running(copy)}"
    except CellTimeoutError:
        return f"no end after {job['ceiling']} s, the limit of a cell that works, {_running(copy)}"
    finally:
        idle.over.set()
    return ""


def _transport(folder: Path) -> dict:
    """Sockets in a folder of our own where the system has them: two kernels that start at once can pick one TCP port.

    See papermill issue 511. A socket's path has at most 104 bytes on macOS, 108 on Linux.
    """
    from traitlets.config import Config

    place = str(folder / "k")
    if os.name != "posix" or len(os.fsencode(place)) > 95:
        return {}
    return {"config": Config({"KernelManager": {"transport": "ipc", "ip": place}})}


def _running(copy: Path) -> str:
    """The cell that was running when the kernel died: the last one that papermill started."""
    from klm_utils.course.notebook import code_cells, plain, read

    started = [c for c in code_cells(read(copy)) if c.metadata.get("papermill", {}).get("start_time")]
    return f"in the cell\n{plain(_head(started[-1].source))}\n" if started else "before the first cell"


def _head(source: str) -> str:
    lines = source.splitlines()
    return "\n".join("    " + line for line in lines[:SOURCE_LINES] + ["..."] * (len(lines) > SOURCE_LINES))


def _metrics(job: dict, copy: Path) -> dict:
    from klm_utils.course.notebook import metrics, read
    from klm_utils.errors import ConfigError

    try:
        values = metrics(read(copy), job["name"])
    except ConfigError as error:
        return {"error": str(error)}
    if job["scale"] == "full" and not values.get("protocol"):
        return {"error": "METRICS has no `protocol`, and a stored result must say how it was measured"}
    return {"metrics": values}


def _deliver(job: dict, copy: Path, result: dict) -> dict:
    """Move the executed copy, whole, to where the job wants it, if it came to be."""
    from klm_utils.course.notebook import edition, read, write
    from klm_utils.errors import ConfigError

    try:
        if copy.exists():
            notebook = read(copy)
            notebook.metadata["klm"] = {"executed": edition(notebook)}  # the next run knows it for its own to replace
            write(Path(job["output"]), notebook)
    except ConfigError as error:
        return {"error": result["error"] or str(error)}
    return {}


if __name__ == "__main__":
    main(*sys.argv[1:])
