"""The `qpolicy` command: help, errors in one line, exit status, start-up."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from qpolicy_fpga.tools import run_limited
from qpolicy_ros.cli import entry
from qpolicy_ros.cli import main as cli
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import PolicyError

QPOLICY = Path(sys.executable).with_name("qpolicy")


@dataclass(frozen=True)
class Args:
    """A command for tests."""

    count: int = 3
    """How many, episodes."""
    json: bool = False
    """One JSON object."""


@pytest.fixture
def command(monkeypatch):
    """Return a function that installs a subcommand `probe` with the given body."""

    def install(body):
        module = types.ModuleType("probe_command", "Probes the command line.")
        module.Args = Args
        module.main = body
        monkeypatch.setitem(sys.modules, "probe_command", module)
        monkeypatch.setitem(cli.COMMANDS, "probe", cli.Command("probe_command:main", "probes"))

    return install


def raiser(error: BaseException):
    def body(_args):
        raise error

    return body


def test_help_lists_every_command_on_one_line(capsys):
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in cli.COMMANDS:
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1


def test_no_command_is_a_wrong_call(capsys):
    assert cli.main([]) == 2
    assert "usage:" in capsys.readouterr().out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("qpolicy 0.")


def test_unknown_command_suggests_the_nearest(capsys):
    assert cli.main(["evalute"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "did you mean `qpolicy evaluate`?" in error


def test_arguments_reach_the_command(command):
    seen = []
    command(lambda args: seen.append(args) or 0)
    assert cli.main(["probe", "--count", "7", "--json"]) == 0
    assert seen == [Args(count=7, json=True)]


def test_command_help_gives_units_and_defaults(command, capsys):
    command(lambda _args: 0)
    with pytest.raises(SystemExit) as stop:
        cli.main(["probe", "--help"])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert "How many, episodes. (default: 3)" in text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--count", "many"], "--count"), (["--cuont", "3"], "--cuont")],
)
def test_wrong_argument_is_one_line_that_names_it(command, capsys, arguments, named):
    command(lambda _args: 0)
    assert cli.main(["probe", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert "qpolicy probe --help" in error


@pytest.mark.parametrize(
    "error",
    [
        PolicyError("a.safetensors: integer.gain: is -1; must be > 0"),
        UsageError("--episodes: is 0; give 1 or more"),
        FileNotFoundError(2, "No such file or directory", "a.safetensors"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(command, capsys, error):
    command(raiser(error))
    assert cli.main(["probe"]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith("qpolicy probe: error: ")


def test_failed_check_is_exit_1(command):
    command(lambda _args: 1)
    assert cli.main(["probe"]) == 1


def test_interrupt_is_exit_130(command):
    command(raiser(KeyboardInterrupt()))
    assert cli.main(["probe"]) == 130


def test_a_terminated_command_ends_what_it_started(command, tmp_path):
    def body(_args):
        own = f"echo $$ > {tmp_path}/pid; (sleep 60 & echo $! > {tmp_path}/child; wait)"
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
        run_limited("probe", ["sh", "-c", own])
        return 0

    before = signal.getsignal(signal.SIGTERM)
    command(body)
    assert cli.main(["probe"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    for name in ("pid", "child"):
        number = int((tmp_path / name).read_text())
        end = time.monotonic() + 10
        while _runs(number) and time.monotonic() < end:
            time.sleep(0.05)
        assert not _runs(number)


def _runs(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_interrupt_that_an_import_made_another_error_of_is_exit_130(command):
    error = ImportError("initialization failed")
    error.__cause__ = KeyboardInterrupt()
    command(raiser(error))
    assert cli.main(["probe"]) == 130


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--task", "hopper", "--sac.steps", "-5"], "--sac.steps: -5 is too small"),
        (["export"], "PATH and --out PATH are missing; see"),
    ],
)
def test_a_wrong_call_reads_alike_in_every_encoding(arguments, says):
    """The argument parser frames its message otherwise where the terminal is not UTF-8."""
    said = [
        subprocess.run(
            [str(QPOLICY), *arguments],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            check=False,
            capture_output=True,
            text=True,
        ).stderr
        for encoding in ("utf-8", "ascii")
    ]
    assert said[0] == said[1]
    assert said[0].startswith(f"qpolicy {arguments[0]}: error: {says}")


def test_a_closed_standard_output_is_no_error():
    done = subprocess.run(
        ["sh", "-c", '"$0" --version >&-', str(QPOLICY)], check=False, stderr=subprocess.PIPE
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_bug_is_not_hidden(command):
    command(raiser(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["probe"])


def test_missing_optional_module_names_the_extra(command, capsys):
    command(raiser(ModuleNotFoundError("No module named 'torch'", name="torch")))
    assert cli.main(["probe"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "qpolicy_ros[train]" in error


def test_reader_that_stops_early_is_no_error():
    result = subprocess.run(
        ["bash", "-c", f"'{QPOLICY}' --help | true; echo ${{PIPESTATUS[0]}}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    assert result.stdout == "0\n"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert not stop.value.code
    assert f"usage: qpolicy {name}" in capsys.readouterr().out


INFO = """
from qpolicy_ros.cli.main import main
try:
    main(["info", "--help"])
except SystemExit:
    pass
"""


def loaded_by(code: str) -> set[str]:
    """Return the modules that are loaded when ``code`` has run."""
    code += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_info_loads_neither_torch_nor_a_simulator_nor_ros_and_little_beside_its_libraries():
    """What it takes to start is measured by `qpolicy bench startup`."""
    loaded, libraries = loaded_by(INFO), loaded_by("import numpy, safetensors, tyro")
    assert "qpolicy_ros.cli.info" in loaded
    assert not loaded & {"torch", "brevitas", "gymnasium", "mujoco", "rclpy"}
    top, theirs = ({name.partition(".")[0] for name in names} for names in (loaded, libraries))
    assert top - theirs - sys.stdlib_module_names == {"qpolicy_ros"}
    assert len([name for name in loaded if name.startswith("qpolicy_ros")]) < 60


def test_no_command_waits_for_torch_before_it_has_read_its_arguments():
    targets = {command.target.partition(":")[0] for command in cli.COMMANDS.values()}
    loaded = loaded_by(f"import {', '.join(sorted(targets))}")
    assert targets < loaded
    assert not loaded & {"torch", "brevitas", "rclpy", "matplotlib", "onnx", "ortools"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["evaluate", "--policy", "hopper", "--episodes", "1"],
            "the policy is the first argument; write `qpolicy evaluate hopper --episodes 1`",
        ),
        (["walk", "--policy=go2"], "write `qpolicy walk go2`"),
        (["evaluate", "hopper", "--epsiodes", "1"], "did you mean --episodes?"),
        (["quantize", "hopper/fp32", "--sac.stepz", "1"], "did you mean --sac.steps?"),
        (["fpga", "generate", "hopper", "--ot", "x"], "did you mean --out?"),
        (["evaluate", "hoper"], "did you mean hopper?"),
        (["info", "hopper/papr"], "did you mean hopper/paper?"),
        (["quantize", "--teacher", "hopper/fp33"], "did you mean hopper/fp32?"),
        (["export"], "error: PATH and --out PATH are missing; see `qpolicy export --help`"),
        (["walk"], "error: POLICY is missing; see"),
    ],
)
def test_an_old_or_misspelt_word_is_answered_with_the_right_one(arguments, says, capsys):
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_terminal_that_lacks_a_sign_is_shown_its_escape(command, monkeypatch):
    def body(_args):
        sys.stdout.write("1 ± 2, pol\udcff.safetensors\n")
        return 0

    command(body)
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert cli.main(["probe"]) == 0
    assert shown.buffer.getvalue() == b"1 \\xb1 2, pol\\udcff.safetensors\n"


INTERRUPTED = """
import os, signal
from qpolicy_ros.cli import entry
def interrupted(name):
    os.kill(os.getpid(), signal.SIGINT)
    raise AssertionError(name)
signal.signal(signal.SIGINT, signal.default_int_handler)
entry.importlib.import_module = interrupted
entry.main()
"""


def test_an_interrupt_during_the_imports_ends_quietly():
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_command_begins_there():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="qpolicy")
    assert script.load() is entry.main
