import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell
from PIL import Image

from klm_utils.__main__ import main
from klm_utils.course import results
from klm_utils.course.notebook import check_parameters, figures, headline, in_few_colours, metrics, parameters, read
from klm_utils.course.run import Result, environment, execute, kernel_environment, store_result
from klm_utils.course.scales import plan
from klm_utils.errors import ConfigError
from klm_utils.threads import SLEEPING


def run(course, monkeypatch, *arguments) -> int:
    monkeypatch.chdir(course.root)
    return main(["run", "--scales", str(course.scales), *arguments])


def jobs(course, **options):
    return plan(course.notebooks, course.root / "build" / "notebooks", scales=course.scales, **options)[0]


def test_notebooks_run_and_are_reported(course, monkeypatch, capsys):
    figure = "import matplotlib.pyplot as plt\nplt.plot([0, EPOCHS])\nplt.show()"
    course.add("00_first", new_markdown_cell("## A line <b>&</b>"), figure, smoke={"EPOCHS": 1})
    course.add("01_second", smoke={"skip": "nothing in it is slow"})
    assert run(course, monkeypatch, "--scale", "smoke") == 0
    out = capsys.readouterr().out
    assert re.search(r"^00_first +[\d.]+ s  auc=0\.760$", out, re.M), "the parameter of the scale must arrive"
    assert "nothing in it is slow" in out and out.count("00_first") == 2, "one line as it goes and one in the table"
    page = (course.root / "build" / "report.html").read_text()
    assert "data:image/png;base64," in page and "A line &lt;b&gt;&amp;&lt;/b&gt;" in page and "<b>" not in page
    executed = read(course.root / "build" / "notebooks" / "00_first.ipynb")
    assert [figure.caption for figure in figures(executed)] == ["A line <b>&</b>"]


def test_a_failing_cell_is_shown_and_the_others_still_run(course, monkeypatch, capsys):
    course.add("00_bad", "before = 1\nraise ValueError('not ' + 'today')  # the cell to be shown")
    course.add("01_good")
    assert run(course, monkeypatch, "--jobs", "1") == 1
    out, err = capsys.readouterr()
    assert "# the cell to be shown" in err and "ValueError: not today" in err and "Traceback" in err
    assert "\x1b[" not in err, "no colour codes"
    assert re.search(r"01_good +ok", out) and re.search(r"00_bad +FAILED", out)
    assert "not today" in (course.root / "build" / "report.html").read_text()


def test_a_notebook_without_metrics_fails(course):
    course.add("00_mute", metrics="print('all is well', EPOCHS)")
    course.add("01_nan", metrics="print('METRICS', json.dumps({'auc': float('nan'), 'n': EPOCHS}))")
    mute, nan = execute(jobs(course))
    assert "0 METRICS lines" in mute.error
    assert "NaN is not JSON" in nan.error


def test_threads_folder_and_network_of_the_kernel(course):
    look = (
        "import os\nseen = [os.environ['OMP_NUM_THREADS'], os.environ['KLM_OFFLINE'], os.getcwd(), os.sys.executable]"
    )
    show = 'print("METRICS", json.dumps({"headline": "n", "n": EPOCHS, "seen": seen}))'
    course.add("00_beside", look, metrics=show)
    course.add("01_alone", look, metrics=show, alone=True)
    beside, alone = execute(jobs(course))
    assert beside.metrics["seen"] == ["1", "1", str(course.notebooks), sys.executable]
    assert alone.metrics["seen"][0] == "2"


def test_kernels_that_start_at_once_share_no_port(course):
    look = "from ipykernel.connect import get_connection_info\nseen = get_connection_info(unpack=True)['transport']"
    course.add("00_first", look, metrics='print("METRICS", json.dumps({"n": EPOCHS, "seen": seen}))')
    (result,) = execute(jobs(course))
    assert (result.error, result.metrics.get("seen")) == ("", "ipc" if os.name == "posix" else "tcp")


MEET = """
import time
from pathlib import Path
began = time.time()
Path(NAME).touch()
while not (Path("a").exists() and Path("b").exists()):
    assert time.time() < began + 40, "the other one does not run beside this one"
    time.sleep(0.05)
"""


def test_two_at_a_time_but_a_timing_notebook_alone(course):
    show = 'print("METRICS", json.dumps({"n": 1, "seconds": [began, time.time()]}))'
    course.add("00_timed", MEET, parameters="NAME = 'timed'", metrics=show, alone=True)
    course.add("01_a", MEET, parameters="NAME = 'a'", metrics=show)
    course.add("02_b", MEET, parameters="NAME = 'b'", metrics=show)
    timed, a, b = execute(jobs(course))
    assert [timed.error, a.error, b.error] == ["", "", ""], "a and b wait for each other"
    assert timed.metrics["seconds"][0] > max(a.metrics["seconds"][1], b.metrics["seconds"][1])
    assert not any(job.alone for job in jobs(course, scale="smoke")), "its times are read by nobody"


def test_the_kernel_is_this_python_whatever_the_user_installed(course, tmp_path, monkeypatch):
    spec = tmp_path / "user" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("EVIL = 1")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    course.add("00_first", "import sys\nassert 'EVIL' not in globals()\nprint(sys.executable, EPOCHS)")
    (result,) = execute(jobs(course))
    assert not result.error
    assert sys.executable in (course.root / "build/notebooks/00_first.ipynb").read_text()


def kernels_below(pid: int) -> list[psutil.Process]:
    return [p for p in psutil.Process(pid).children(recursive=True) if "ipykernel_launcher" in " ".join(p.cmdline())]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_kernel_outlives_the_run(course, checkout, ending):
    course.add("00_long", "import subprocess\nsubprocess.run(['sleep', '600'])")
    command = [sys.executable, "-m", "klm_utils", "run", "--scales", str(course.scales)]
    process = subprocess.Popen(
        command, cwd=course.root, env=os.environ | {"PYTHONPATH": str(checkout)}, stderr=subprocess.PIPE, text=True
    )
    family = []
    for _ in range(300):
        family = psutil.Process(process.pid).children(recursive=True)
        if process.poll() is not None or any(member.name() == "sleep" for member in family):
            break
        time.sleep(0.1)
    assert any(member.name() == "sleep" for member in family), "the cell never began"
    process.send_signal(ending)
    process.wait(120)  # of a crowded machine
    if ending != signal.SIGKILL:
        assert process.returncode == 130 and process.stderr.read().strip() == "interrupted"
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_parameters_without_effect_are_refused(course):
    notebook = read(course.add("00_first", "UNUSED_TWICE = 1", parameters="EPOCHS = 5\nUNUSED = 1\nUNUSED_TWICE = 2"))
    check_parameters(notebook, {"EPOCHS": 1})
    for name, fault in [("EPOCH", "not declare"), ("UNUSED", "never reads"), ("json", "not declare")]:
        with pytest.raises(ConfigError, match=fault):
            check_parameters(notebook, {name: 1})
    notebook.cells[2].source = "EPOCHS = 3\nprint(UNUSED_TWICE)"
    with pytest.raises(ConfigError, match="sets this parameter again"):
        check_parameters(notebook, {"EPOCHS": 1})


def test_a_parameter_read_next_to_a_magic_or_in_an_f_string_counts(course):
    notebook = read(course.add("00_first", "%pip --version\n!echo {1}\ntext = f'{WIDTH:3d}'", parameters="WIDTH = 3"))
    check_parameters(notebook, {"WIDTH": 1})


@pytest.mark.parametrize("line", ["SIZE = 2 * 3", "A, B = 1, 2", "import os", "A = B = 1", "print(1)", "A: int"])
def test_the_parameters_cell_holds_literals_only(course, line):
    with pytest.raises(ConfigError, match="literal"):
        parameters(read(course.add("00_first", parameters=f"EPOCHS = 5\n{line}")))


def test_literals_of_every_kind_are_parameters(course):
    notebook = read(course.add("00_first", parameters="A = -1\nB: float = 1e-3\nC = [0, 1]\nD = None\nE = 'x'  # why"))
    assert parameters(notebook) == {"A": -1, "B": 1e-3, "C": [0, 1], "D": None, "E": "x"}


def test_unknown_notebooks_are_named(course, monkeypatch, capsys):
    course.add("00_first")
    assert run(course, monkeypatch, "07") == 1
    assert "'07'" in (err := capsys.readouterr().err) and "00_first" in err
    assert run(course, monkeypatch, "--student") == 1
    assert "no notebook at all" in capsys.readouterr().err
    course.add("01_second")
    course.entries.pop("01_second")
    course.add("00_first")
    with pytest.raises(ConfigError, match="no scales"):
        jobs(course)


def test_outside_of_a_checkout_the_run_says_where_notebooks_are_expected(tmp_path, checkout):
    """The package alone, copied elsewhere, as a wheel would install it."""
    shutil.copytree(checkout / "klm_utils", tmp_path / "klm_utils")
    done = subprocess.run([sys.executable, "-m", "klm_utils", "run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "a checkout of the course: a folder with notebooks/" in done.stderr


def test_full_scale_results_are_stored_with_what_they_depend_on(course, monkeypatch):
    course.add("05_train", parameters="EPOCHS = 5\nWIDTH = 8", full={"EPOCHS": 9})
    assert run(course, monkeypatch, "--scale", "full", "05") == 0
    record = json.loads((course.root / "docs" / "results" / "05.json").read_text())
    assert record["metrics"] == {"headline": "auc", "auc": 0.84} and record["protocol"] == "made up"
    assert record["parameters"] == {"EPOCHS": 9, "WIDTH": 8} and record["scale"] == "full"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"]) and record["versions"]["torch"][0].isdigit()
    assert results("05") == record and results("06") is None


def test_a_full_scale_run_without_protocol_or_with_a_fault_stores_nothing(course, monkeypatch):
    kept = course.root / "docs" / "results" / "05.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("the last good run")
    course.add("05_train", metrics='print("METRICS", json.dumps({"auc": 0.8, "n": EPOCHS}))', full={"EPOCHS": 9})
    assert run(course, monkeypatch, "--scale", "full") == 1
    assert kept.read_text() == "the last good run"


def test_a_result_is_stored_whole_or_not_at_all(course):
    course.add("05_train")
    result = Result(jobs(course)[0], 1.0, metrics={"auc": 0.8})
    path = store_result(result, course.root / "docs" / "results")
    before = path.read_text()
    with pytest.raises(TypeError):
        store_result(replace(result, metrics={"auc": {1, 2}}), path.parent)
    assert path.read_text() == before and [p.name for p in path.parent.iterdir()] == ["05.json"]


def test_outputs_are_stored_without_traces_of_the_run(course, monkeypatch, capsys):
    path = course.add("00_first", "6 * 7")
    before = [cell.source for cell in read(path).cells]
    assert run(course, monkeypatch, "--store", "--scale", "smoke") == 1
    assert "--scale smoke" in capsys.readouterr().err
    assert run(course, monkeypatch, "--store") == 0
    stored = read(path)
    assert [cell.source for cell in stored.cells] == before
    assert [c.execution_count for c in stored.cells if c.cell_type == "code"] == [1, 2, 3, 4]
    assert stored.cells[3].outputs[0].data["text/plain"] == "42" and metrics(stored)["auc"] == 0.8
    assert "papermill" not in (text := path.read_text()) and 'execution"' not in text
    course.add("00_first", "1 / 0")
    before = path.read_bytes()
    assert run(course, monkeypatch, "--store") == 1 and path.read_bytes() == before


def test_a_notebook_that_is_edited_while_it_runs_is_not_stored_over(course, monkeypatch, capsys):
    edit = (
        "from pathlib import Path\npath = Path('00_first.ipynb')\n"
        "path.write_text(path.read_text().replace('import json', 'import json  # a thought'))"
    )
    path = course.add("00_first", edit)
    course.add("01_second")
    assert run(course, monkeypatch, "--store", "--jobs", "1") == 1
    assert "# a thought" in path.read_text() and read(path).cells[2].execution_count is None
    assert "has changed since its run began" in (err := capsys.readouterr().err) and "00_first" in err
    assert read(course.notebooks / "01_second.ipynb").cells[2].execution_count == 2, "the others are stored"


def folder_of(course, how) -> Path:
    """notebooks/ under another name, or what else a hurried hand may give as --output."""
    link, root = course.root.parent / "a link", course.root
    match how:
        case "itself":
            return Path("notebooks")
        case "link":
            link.symlink_to(course.notebooks)
            return link
        case "files linked":
            link.mkdir()
            (link / "00_first.ipynb").symlink_to(course.notebooks / "00_first.ipynb")
            return link
        case "files linked hard":
            link.mkdir()
            os.link(course.notebooks / "00_first.ipynb", link / "00_first.ipynb")
            return link
        case "my":
            return root / "my"
        case "student":
            return root / "notebooks" / "student"
        case "other notebooks":
            shutil.copytree(course.notebooks, link)
            return link
        case "a report of somebody":
            link.mkdir()
            (link / "report.html").write_text("<p>mine")
            return link


def everything(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("student", [False, True])
@pytest.mark.parametrize(
    "how",
    ["itself", "link", "files linked", "files linked hard", "my", "student", "other notebooks", "a report of somebody"],
)
def test_no_file_is_lost_that_a_run_did_not_write(course, monkeypatch, capsys, how, student):
    course.add("00_first")
    shutil.copytree(course.notebooks, course.root / "my")
    shutil.copytree(course.notebooks, course.notebooks / "student")
    output = folder_of(course, how)
    before = everything(course.root.parent)
    assert run(course, monkeypatch, "--output", str(output), *["--student"] * student) == 1
    assert everything(course.root.parent) == before
    assert "ConfigError" in (err := capsys.readouterr().err) and "remedy:" in err


def test_a_folder_of_ones_own_takes_copies_and_report_again_and_again(course, monkeypatch, tmp_path):
    course.add("00_first")
    output = tmp_path / "elsewhere"
    for _ in range(2):
        assert run(course, monkeypatch, "--output", str(output)) == 0
        assert sorted(path.name for path in output.iterdir()) == ["00_first.ipynb", "report.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a course", "elsewhere"]
    assert not (course.root / "build").exists()
    (output / "00_first.ipynb").write_text("half a noteb")
    assert run(course, monkeypatch, "--output", str(output)) == 1, "no run of ours leaves this"


def test_a_place_that_cannot_be_written_is_told_before_anything_runs(course, monkeypatch, capsys):
    course.add("00_first", "open('ran', 'w')")
    (course.root / "build").write_text("in the way")
    for arguments in ([], ["--output", "pyproject.toml"], ["--output", "build/x"], ["--output", "x" * 300]):
        assert run(course, monkeypatch, *arguments) == 1
        assert "cannot be written" in (err := capsys.readouterr().err) and "--output FOLDER" in err
    (course.root / "docs").write_text("in the way of results that took hours")
    assert run(course, monkeypatch, "--scale", "full", "--output", "elsewhere") == 1
    assert "docs/results" in capsys.readouterr().err and not (course.notebooks / "ran").exists()


def test_inside_of_my_the_run_says_whose_notebooks_it_runs(course, monkeypatch, capsys):
    course.add("00_first", smoke={"skip": "it is not run here"})
    (course.root / "my").mkdir()
    monkeypatch.chdir(course.root / "my")
    assert main(["run", "--scales", str(course.scales), "--scale", "smoke"]) == 0
    assert "yours in my/ are run in JupyterLab" in capsys.readouterr().out
    assert (course.root / "build" / "report.html").exists()


def test_what_the_user_set_for_openmp_stays(monkeypatch):
    for name in SLEEPING:
        monkeypatch.delenv(name, raising=False)
    assert SLEEPING.items() <= environment(1).items()
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert environment(1)["OMP_WAIT_POLICY"] == kernel_environment()["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in environment(1), "it would have the last word"


def test_metrics_and_headline(course):
    notebook = read(course.add("00_first"))
    cell = notebook.cells[-1]

    def printed(text):
        cell.outputs = new_code_cell(outputs=[{"output_type": "stream", "name": "stdout", "text": text}]).outputs
        return metrics(notebook)

    assert headline(printed('a line before\nMETRICS {"auc": 0.80149, "n": 3}\n')) == "auc=0.801"
    assert headline(printed('METRICS {"headline": "n", "auc": 0.8, "n": 3}\n')) == "n=3"
    assert headline(printed('METRICS {"protocol": "text", "ok": true, "n": 3}\n')) == "n=3"
    for wrong in ["", "METRICS {'auc': 1}", "METRICS [1]", 'METRICS {"headline": "auc"}', 'METRICS {"a": 1}\n' * 2]:
        with pytest.raises(ConfigError, match="METRICS"):
            printed(wrong)


def test_a_drawing_is_stored_in_few_colours_and_looks_the_same():
    figure, ax = plt.subplots(figsize=(6, 3))
    ax.plot(range(9), color="#D55E00")
    ax.set_title("words have shades of grey")
    file = BytesIO()
    figure.savefig(file, transparent=True)
    plt.close(figure)
    before = base64.b64encode(file.getvalue()).decode()
    after = in_few_colours(before)
    assert len(after) < 0.6 * len(before) and len(in_few_colours(after)) <= len(after)
    old, new = (Image.open(BytesIO(base64.b64decode(text))).convert("RGBA") for text in (before, after))
    white = Image.new("RGBA", old.size, "white")
    white.alpha_composite(old)
    gaps = np.abs(np.asarray(white).astype(int) - np.asarray(new))
    assert new.size == old.size and gaps.max() < 24 and gaps.mean() < 0.5
