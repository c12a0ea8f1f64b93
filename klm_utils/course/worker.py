"""Execute one notebook in a process of its own: `python -m klm_utils.course.worker JOB.json RESULT.json`.

The process makes its own Jupyter folders, so that the kernel is this interpreter whatever kernels a user installed,
no startup file of the user runs, and two kernels do not share a history database.
"""

import json
import os
import re
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

ANSI = re.compile(r"\x1b\[[0-9;]*m")
SOURCE_LINES = 12  # of the failing cell, to be printed


def main(job_file: str, result_file: str) -> None:
    """Read the job, run it, write the result beside its place and move it in."""
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    job = json.loads(Path(job_file).read_text(encoding="utf8"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _own_jupyter(Path(folder))
        began = time.perf_counter()
        error = _execute(job)
        result = {"seconds": time.perf_counter() - began, "error": error, "metrics": {}}
    if not error:
        result |= _metrics(job)
    part = Path(result_file + ".part")
    part.write_text(json.dumps(result), encoding="utf8")
    os.replace(part, result_file)


def _follow(parent: int) -> None:
    """End this process and its kernel when the process that wanted the result is gone, however it went."""
    while os.getppid() == parent and psutil.pid_exists(parent):
        time.sleep(0.5)
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(1)


def _own_jupyter(folder: Path) -> None:
    spec = folder / "data" / "kernels" / "python3"
    spec.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Python 3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf8")
    os.environ["JUPYTER_PATH"] = str(folder / "data")
    for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        os.environ[variable] = str(folder / variable.lower())


def _execute(job: dict) -> str:
    """Run the notebook; "" or what went wrong, with the failing cell."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            job["source"],
            job["output"],
            parameters=job["parameters"],
            kernel_name="python3",
            language="python",
            cwd=job["cwd"],
            execution_timeout=job["timeout"],
            progress_bar=False,
        )
    except PapermillExecutionError as error:
        first = f"cell {error.cell_index}: {error.ename}: {error.evalue}".splitlines()[0]
        return "\n".join([first, _head(error.source), ANSI.sub("", "\n".join(error.traceback))])
    except DeadKernelError:
        return f"the kernel died (killed, or out of memory) {_running(job)}"
    except CellTimeoutError:
        return f"no end after {job['timeout']} s, the time limit of a cell, {_running(job)}"
    return ""


def _running(job: dict) -> str:
    """The cell that was running when the kernel died: the last one that papermill started."""
    from klm_utils.course.notebook import code_cells, read

    started = [c for c in code_cells(read(Path(job["output"]))) if c.metadata.get("papermill", {}).get("start_time")]
    return f"in the cell\n{_head(started[-1].source)}\n" if started else "before the first cell"


def _head(source: str) -> str:
    lines = source.splitlines()
    return "\n".join("    " + line for line in lines[:SOURCE_LINES] + ["..."] * (len(lines) > SOURCE_LINES))


def _metrics(job: dict) -> dict:
    from klm_utils.course.notebook import metrics, read
    from klm_utils.errors import ConfigError

    try:
        values = metrics(read(Path(job["output"])), job["name"])
    except ConfigError as error:
        return {"error": str(error)}
    if job["scale"] == "full" and not values.get("protocol"):
        return {"error": "METRICS has no `protocol`, and a stored result must say how it was measured"}
    return {"metrics": values}


if __name__ == "__main__":
    main(*sys.argv[1:])
