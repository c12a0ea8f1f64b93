"""Execute notebooks headless: a process and a kernel for each, some at a time with one thread each.

Whatever ends the run (Ctrl-C, a kill of this process by SIGTERM, an error) takes the kernels along.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from klm_utils.course import HERE, require_root
from klm_utils.course.notebook import (
    METADATA,
    content,
    headline,
    in_few_colours,
    is_executed_copy,
    metadata,
    parameters,
    plain,
    read,
    write,
)
from klm_utils.course.page import is_page, table, write_page
from klm_utils.course.scales import SCALES, Job, plan
from klm_utils.data import assets
from klm_utils.errors import ConfigError, KLMError
from klm_utils.files import atomic_write, cache_dir
from klm_utils.threads import SLEEPING

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
VERSIONS = ("klm-course", "numpy", "pandas", "scikit-learn", "torch", "transformers")


@dataclass(frozen=True)
class Result:
    """What became of a job: `error` is empty if all went well."""

    job: Job
    seconds: float
    error: str = ""
    metrics: dict = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The line that the run prints: name, seconds, headline metric or what failed."""
        end = f"FAILED: {self.error.splitlines()[0]}" if self.error else plain(headline(self.metrics))
        return f"{self.job.name:32} {self.seconds:7.1f} s  {end}"


def main(options: Namespace) -> int:
    """`python -m klm_utils run`: 0 if every notebook ran and was stored where it was to be, 1 if one failed."""
    root = require_root()
    folder = root / "notebooks" / "student" if options.student else root / "notebooks"
    build = root / "build" / "student" if options.student else root / "build"
    output, report = options.output or build / "notebooks", (options.output or build) / "report.html"
    if options.store and (options.scale != "default" or options.student):
        what, found = "only solved notebooks at the default scale are stored", f"--scale {options.scale}"
        remedy = "run without --store, or without --scale and --student"
        raise ConfigError(what, "--store", found + " --student" * options.student, remedy=remedy)
    jobs, skipped = plan(folder, output, options.which, options.scale, options.scales or SCALES)
    full = options.scale == "full" and not options.student
    check_writable(*[root / "docs" / "results"] * full, *[folder] * options.store)
    check_output(root, output, report, jobs)
    if (root / "my") in (Path.cwd(), *Path.cwd().parents):
        print(f"these are the notebooks of {folder.relative_to(root)}; yours in my/ are run in JupyterLab")
    for name, reason in skipped.items():
        print(f"{name:32} skipped: {reason}")
    fetch_assets(jobs)
    failed = []

    def done(result: Result) -> None:
        print(result.line, flush=True)
        try:
            if full and not result.error:
                store_result(result, root / "docs" / "results")
            if options.store and not result.error:
                store_outputs(result)
        except KLMError as error:  # the other notebooks still run
            failed.append(f"{result.job.name}, not stored: {error}")

    with sigterm_as_interrupt():
        results = execute(jobs, options.jobs, done)
    failed += [f"{result.job.name}: {result.error}" for result in results if result.error]
    for error in failed:
        print(f"\n{error}", file=sys.stderr)
    print("\n" + table(results, skipped))
    print(f"report: {write_page(results, skipped, report.resolve(), options.scale)}")
    return int(bool(failed))


def check_output(root: Path, output: Path, report: Path, jobs: list[Job]) -> None:
    """Before anything runs: the copies and the report can be written, and replace nothing but an earlier run's.

    Raises:
        ConfigError: `output` lies in notebooks/ or my/, or cannot be written; a file there is of another origin.
    """
    homes = [root / "notebooks", root / "my"]
    if any(home.resolve() in (output.resolve(), *output.resolve().parents) for home in homes):
        expected = "a folder outside of notebooks/ and my/"
        remedy = "choose another folder; to keep the outputs in notebooks/, run with --store instead"
        raise ConfigError("executed copies do not go among notebooks", "--output", str(output), expected, remedy)
    check_writable(output, report.parent)
    for job in jobs:
        check_replaceable(job.output)
    if report.exists() and not is_page(report):
        raise _not_ours(report)


def check_writable(*folders: Path) -> None:
    """Make the folders; raise ConfigError where nothing can be written, before hours are spent on what goes there."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            remedy = "mend the permissions; for the executed copies you may give another one with --output FOLDER"
            what, expected = "what the run makes cannot be written", "a folder that you may write to"
            raise ConfigError(what, str(folder), str(error), expected, remedy) from error


def check_replaceable(path: Path) -> None:
    """Raise ConfigError if there is something at `path` that is not the executed copy of an earlier run."""
    if path.is_symlink() or path.exists():
        try:
            if not path.is_symlink() and is_executed_copy(read(path)):
                return
        except ConfigError as error:
            raise _not_ours(path) from error
        raise _not_ours(path)


def _not_ours(path: Path) -> ConfigError:
    remedy = "move the file away, or give another folder with --output"
    return ConfigError("the run would replace a file that it has not written", str(path), remedy=remedy)


def fetch_assets(jobs: list[Job]) -> None:
    """Fetch what the jobs need, so that the notebooks can run offline."""
    for name in sorted({name for job in jobs for name in job.assets}):
        if assets.missing(name):
            print(f"fetching {name}", flush=True)
        assets.fetch(name)


def execute(jobs: list[Job], at_once: int = 2, done: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """Run the jobs, `at_once` at a time, then those that want to be alone; results in the order of the jobs.

    Args:
        jobs: as `scales.plan` makes them.
        at_once: processes at a time, one thread each.
        done: called with each result as it comes.
    """
    results: dict[int, Result] = {}
    together = [i for i, job in enumerate(jobs) if not job.alone]
    alone = [i for i, job in enumerate(jobs) if job.alone]
    with tempfile.TemporaryDirectory(prefix="klm-run-") as folder:
        for waiting, limit, threads in ((together, at_once, 1), (alone, 1, 2)):
            running: dict[int, Worker] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < limit:
                        index = waiting.pop(0)
                        running[index] = Worker(jobs[index], Path(folder) / str(index), threads)
                    for index in [i for i, worker in running.items() if worker.ended()]:
                        results[index] = running.pop(index).result()
                        done(results[index])
                    time.sleep(0.05)
            finally:
                for worker in running.values():
                    worker.kill()
    return [results[i] for i in range(len(jobs))]


class Worker:
    """The process of one job; `folder` takes its job file, result file and log."""

    def __init__(self, job: Job, folder: Path, threads: int):
        self.job, self.folder, self.began = job, folder, time.perf_counter()
        folder.mkdir(parents=True)
        check_replaceable(job.output)
        job.output.unlink(missing_ok=True)  # a copy of an earlier run must not pass for this one's
        (folder / "job.json").write_text(json.dumps(asdict(job), default=str), encoding="utf8")
        files = [str(folder / "job.json"), str(folder / "result.json")]
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "klm_utils.course.worker", *files],
                env=environment(threads),
                cwd=job.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the kernels
            )

    def ended(self) -> bool:
        """Whether the process is over."""
        return self.process.poll() is not None

    def result(self) -> Result:
        """Its result; a process that left none is reported with the end of its log."""
        try:
            return Result(job=self.job, **json.loads((self.folder / "result.json").read_text(encoding="utf8")))
        except OSError:
            log = (self.folder / "log").read_text(encoding="utf8", errors="replace").splitlines()
            error = "\n".join([f"the process ended with code {self.process.returncode}", *log[-20:]])
            return Result(self.job, time.perf_counter() - self.began, plain(error))

    def kill(self) -> None:
        """End the process, its kernel and whatever the kernel started."""
        try:
            process = psutil.Process(self.process.pid)
            family = [*process.children(recursive=True), process]
        except psutil.NoSuchProcess:
            return
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()


def kernel_environment() -> dict[str, str]:
    """The environment of any kernel of the course: this checkout's klm_utils; `SLEEPING` where the user is silent."""
    paths = [str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    wait = {} if SLEEPING.keys() & os.environ.keys() else SLEEPING
    return wait | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def environment(threads: int) -> dict[str, str]:
    """The environment of a kernel of a run: that many threads, no network, figures inline."""
    names = {name: str(threads) for name in THREADS}
    quiet = {"KLM_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"}
    quiet["KLM_CACHE"] = str(cache_dir())  # a relative one would mean another folder to the kernel
    variables = kernel_environment() | names | quiet
    variables.pop("MPLBACKEND", None)  # the kernel chooses its inline backend, without which no figure is stored
    return variables


@contextmanager
def sigterm_as_interrupt():
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, so that clean-up runs."""

    def interrupt(signum, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def store_outputs(result: Result) -> None:
    """Replace the notebook by its executed copy, without what papermill and the kernel noted in the metadata.

    Raises:
        ConfigError: the notebook was edited while it ran; it stays as it is.
    """
    executed = read(result.job.output)
    if content(executed) != content(read(result.job.source)):
        what, remedy = "the notebook has changed since its run began", "run it again, and edit it before or after"
        raise ConfigError(what, str(result.job.source), remedy=remedy)
    executed.metadata = METADATA
    for cell in executed.cells:
        cell.metadata = metadata(cell)
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = in_few_colours("".join(png))
    write(result.job.source, executed)


def store_result(result: Result, folder: Path) -> Path:
    """Write `folder`/NN.json: the metrics of a full-scale run with protocol, parameters, versions and date."""
    record = {
        "notebook": result.job.name,
        "scale": result.job.scale,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "protocol": result.metrics.get("protocol", ""),
        "parameters": parameters(read(result.job.source), result.job.name) | result.job.parameters,
        "versions": {"python": ".".join(map(str, sys.version_info[:3]))} | {name: _version(name) for name in VERSIONS},
        "threads": 2 if result.job.alone else 1,
        "seconds": round(result.seconds, 1),
        "metrics": {key: value for key, value in result.metrics.items() if key != "protocol"},
    }
    path = folder / f"{result.job.name.split('_')[0]}.json"
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    atomic_write(path, lambda part: part.write_text(text, encoding="utf8"), ConfigError)
    return path


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
