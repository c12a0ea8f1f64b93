import pytest

from klm_utils.__main__ import main
from klm_utils.course.scales import load, plan
from klm_utils.errors import ConfigError


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"smoke": {"skip": ""}}, "needs a reason"),
        ({"full": {"skip": "slow", "EPOCHS": 1}}, "stands alone"),
        ({"smoke": {"skip": ["slow"]}}, "needs a reason"),
        ({"parallel": True}, "unknown keys"),
        ({"timeout": {"smoke": 0}}, "timeout smoke: 0"),
        ({"timeout": {"smoke": True}}, "timeout smoke: True"),
        ({"timeout": {"smok": 5}}, "timeout smok"),
        ({"timeout": 5}, "timeout is 5"),
        ({"assets": 5}, "assets is 5"),
        ({"assets": [["minilm"]]}, "unknown assets"),
        ({"assets": ["minilmm"]}, "unknown assets"),
        ({"smoke": ["EPOCHS"]}, "smoke is"),
        ({"full": None}, "full is None"),
        ({"alone": "no"}, "alone is 'no'"),
    ],
)
def test_a_wrong_entry_is_refused(course, entry, found):
    course.add("00_first", **entry)
    with pytest.raises(ConfigError, match=found):
        load(course.scales)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "[timeout, notebooks]",
        "timeout: 5\nnotebooks: {}",
        "timeout: {smoke: 1, default: 1, full: 1}\nnotebooks: [00_first]",
        "timeout: {smoke: 1, default: 1, full: 1}\nnotebooks: {00_first: 5}",
        "timeout: {smoke: 1, default: 1, full: 1}\nnotebooks: {00_first: }",
        "timeout: &a {smoke: *a, default: 1, full: 1}\nnotebooks: {}",
        "{[1]: 2}",
        "[" * 2000,
        "a: \x00",
    ],
    ids=range(11),
)
def test_a_file_of_something_else_is_refused(course, capsys, monkeypatch, text):
    course.add("00_first")
    course.scales.write_text(text)
    monkeypatch.chdir(course.root)
    assert main(["run", "--scales", str(course.scales)]) == 1
    assert "the file of scales cannot be used" in capsys.readouterr().err


def test_a_deeply_nested_notebook_is_refused(course):
    path = course.add("00_first")
    path.write_text("[" * 200_000)
    with pytest.raises(ConfigError, match="this notebook cannot be read"):
        plan(course.notebooks, course.root / "build", scales=course.scales)


def test_a_cell_that_is_not_python_is_named_where_parameters_are_checked_and_else_left_to_the_run(course):
    course.add("00_first", "if True", smoke={"EPOCHS": 1})
    assert len(plan(course.notebooks, course.root / "build", scales=course.scales)[0]) == 1
    with pytest.raises(ConfigError, match="cannot be read as Python"):
        plan(course.notebooks, course.root / "build", scale="smoke", scales=course.scales)
