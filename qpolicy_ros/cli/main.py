"""The `qpolicy` command: finds a subcommand, parses its arguments, turns errors into one line.

A subcommand is a module with a frozen dataclass `Args` and `main(args: Args) -> int`. Modules
are imported when they are called, so that `qpolicy info` never pays for torch or MuJoCo.

Exit status: 0 success, 1 a failed check, 2 a wrong call or bad input, 130 interrupted or
terminated.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import io
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qpolicy_ros import __version__
from qpolicy_ros.cli.parsing import parse
from qpolicy_ros.common.errors import InputError, NodeError, ObservationError, UsageError
from qpolicy_ros.common.invocation import invoked

EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Command:
    """One subcommand: where it is and what it does, in one line."""

    target: str
    """`module:function`, the function taking the module's `Args` and returning the status."""
    summary: str
    """One line for `qpolicy --help`."""


COMMANDS: dict[str, Command] = {
    "info": Command("qpolicy_ros.cli.info:main", "show what is inside a policy file"),
    "import": Command(
        "qpolicy_ros.cli.import_policy:main", "take in a policy of another tool: ONNX, SB3, ..."
    ),
    "rename": Command("qpolicy_ros.cli.rename:main", "give a policy's joints other names"),
    "train": Command("qpolicy_training.cli.train:main", "train an FP32 policy by SAC or DDPG"),
    "quantize": Command(
        "qpolicy_training.cli.quantize:main", "make a low-bit policy: ptq, distill or qat"
    ),
    "select": Command(
        "qpolicy_training.cli.select:main", "choose width and bits of a low-bit policy by itself"
    ),
    "export": Command(
        "qpolicy_ros.cli.export:main", "make a policy file of a trained one, or a C header of it"
    ),
    "verify": Command(
        "qpolicy_ros.cli.verify:main", "prove that torch, software and hardware agree; certify it"
    ),
    "prove": Command(
        "qpolicy_ros.cli.prove:main", "prove or refute what a policy can never do, for a whole box"
    ),
    "seen": Command("qpolicy_ros.cli.seen:main", "record which input codes a policy sees"),
    "sign": Command("qpolicy_ros.cli.sign:main", "sign a policy file, or check its signature"),
    "report": Command("qpolicy_training.cli.report:main", "show what was reached, by the paper"),
    "noise": Command("qpolicy_training.cli.noise:main", "play policies under observation noise"),
    "evaluate": Command("qpolicy_ros.cli.evaluate:main", "run episodes and report their returns"),
    "walk": Command("qpolicy_ros.cli.walk:main", "test whether a robot walks as fast as told"),
    "doctor": Command(
        "qpolicy_ros.cli.doctor:main", "find out whether a policy's contract fits its robot"
    ),
    "fpga": Command("qpolicy_ros.cli.fpga:main", "turn a policy into Verilog; report on it"),
    "record": Command("qpolicy_ros.cli.record:main", "record the nodes' topics into a bag"),
    "latency": Command(
        "qpolicy_ros.cli.latency:main", "say how long answers took, from recorded bags"
    ),
    "replay": Command(
        "qpolicy_ros.cli.replay:main", "compute a recording's commands again, bit for bit"
    ),
    "bench": Command("qpolicy_ros.cli.bench:main", "measure inference latency"),
    "demo": Command("qpolicy_ros.cli.demo:main", "drive a simulated robot over ROS 2, and film it"),
}

# The policy is every command's first argument. An option that said it is another spelling of it, or
# was given up: then one line says the new one.
FIRST_ARGUMENT: dict[str, str] = {"quantize": "--teacher"}
GIVEN_UP: dict[str, str] = {"evaluate": "--policy", "walk": "--policy"}

# Which extra of this package brings a module that a subcommand may find missing.
EXTRAS: dict[str, str] = {
    "PIL": "demo",
    "brevitas": "train",
    "cryptography": "sign",
    "gymnasium": "sim",
    "highspy": "prove",
    "imageio": "demo",
    "imageio_ffmpeg": "demo",
    "matplotlib": "demo",
    "mujoco": "sim",
    "mujoco_menagerie": "sim",
    "onnx": "import",
    "onnxruntime": "import",
    "ortools": "prove",
    "pyosys": "fpga",
    "ray": "ray",
    "rosbags": "latency",
    "ruamel": "latency",
    "serial": "fpga",
    "tensorboard": "train",
    "torch": "train",
    "yaml": "sim",
}
ROS_MODULES = frozenset(
    {"diagnostic_msgs", "lifecycle_msgs", "rclpy", "rosgraph_msgs", "sensor_msgs", "std_msgs"}
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `qpolicy` with `argv` (default: the process's own) and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # closed by the caller: `qpolicy info F >&-`
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  until the end
    _print_anything()
    try:
        with _terminated_as_interrupted(), invoked(["qpolicy", *arguments]):
            status = _dispatch(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`qpolicy info F | head`). Python would complain once more
        # when it flushes at exit, so give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, so that a compiler it started ends with it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _print_anything() -> None:
    """Let standard output escape what it cannot encode, such as a `±` in a POSIX locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _dispatch(arguments: list[str]) -> int:
    """Answer `--help` and `--version`, or run the named subcommand."""
    name = arguments[0] if arguments else ""
    if name in ("", "-h", "--help"):
        print(_help())
        return 0 if arguments else EXIT_USAGE
    if name == "--version":
        print(f"qpolicy {__version__}")
        return 0
    if name not in COMMANDS:
        return _fail("qpolicy", _unknown(name))
    try:
        return _run(name, arguments[1:])
    except BrokenPipeError:
        raise
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from None
        status = _answer(name, error)
        if status is None:
            raise
        return status


def run_script(function: Callable[..., object]) -> None:
    """Run a script's `function` with the words of its command line, and exit.

    As with subcommands, what a user can repair is one line and exit status 2 (1 for a failed
    check); a wrong number of words prints the script's description.
    """
    _print_anything()
    words = sys.argv[1:]
    program = Path(sys.argv[0]).name
    try:
        inspect.signature(function).bind(*words)
    except TypeError:
        sys.exit(sys.modules[function.__module__].__doc__)
    try:
        status = function(*words)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        code = _status_of(error)
        if code is None:
            raise
        sys.exit(_fail(program, _one_line(error), code))
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt is at the bottom of it: an extension's import makes others of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _answer(name: str, error: Exception) -> int | None:
    """Say in one line what went wrong and return the exit status; None for a bug of ours."""
    if isinstance(error, ModuleNotFoundError):
        if (error.name or "").startswith("qpolicy_"):
            return None
        return _fail(f"qpolicy {name}", _missing_module(error))
    status = _status_of(error)
    if status is None:
        return None
    return _fail(f"qpolicy {name}", _one_line(error), status)


def _run(name: str, arguments: list[str]) -> int:
    """Import the subcommand, parse its arguments and run it."""
    module_name, _, function = COMMANDS[name].target.partition(":")
    module = importlib.import_module(module_name)
    args = parse(module.Args, name, module.__doc__ or "", _spelt_anew(name, arguments))
    return int(getattr(module, function)(args))


def _spelt_anew(name: str, arguments: list[str]) -> list[str]:
    """Return `arguments` with the policy first; a given-up spelling raises UsageError."""
    for old, refused in ((FIRST_ARGUMENT.get(name), False), (GIVEN_UP.get(name), True)):
        found = [i for i, word in enumerate(arguments) if old and word.partition("=")[0] == old]
        if not found:
            continue
        at = found[0]
        word, equals, value = arguments[at].partition("=")
        rest = arguments[at + 1 :]
        if not equals:
            value, rest = (rest[0], rest[1:]) if rest else ("POLICY", [])
        anew = [value, *arguments[:at], *rest]
        if refused:
            new = shlex.join(["qpolicy", name, *anew])
            raise UsageError(f"{word}: the policy is the first argument; write `{new}`")
        return anew
    return arguments


def _help() -> str:
    """Return the list of subcommands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: qpolicy <command> [options]",
            "",
            "Low-bit control policies, from training to the robot.",
            "",
            "commands:",
            *lines,
            "",
            "`qpolicy <command> --help` gives its options with units and defaults.",
            "`qpolicy --version` prints the version.",
        ]
    )


def _unknown(name: str) -> str:
    """Return what to say of a subcommand that does not exist."""
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean `qpolicy {near[0]}`?" if near else f"known: {', '.join(COMMANDS)}"
    return f"unknown command {name!r}; {hint}"


def _missing_module(error: ModuleNotFoundError) -> str:
    """Return which extra to install for the module that is not there."""
    module = error.name or str(error)
    top = module.partition(".")[0]
    if top in ROS_MODULES:
        return f"the Python module {module!r} is missing; install or source ROS 2 (docs/install.md)"
    extra = EXTRAS.get(top)
    if extra is None:
        return f"the Python module {module!r} is missing; install it with `pip install {top}`"
    return (
        f"the Python module {module!r} is missing; "
        f"install it with `pip install 'qpolicy_ros[{extra}]'`"
    )


def _status_of(error: Exception) -> int | None:
    """Return the exit status of an error that is the user's to repair, None for a bug of ours."""
    from qpolicy_ros.backends import BackendError  # noqa: PLC0415  needs numpy

    if isinstance(error, (BackendError, NodeError)):
        return EXIT_CHECK_FAILED
    if isinstance(error, (InputError, ObservationError, UsageError, OSError)):
        return EXIT_USAGE
    return None


def _one_line(error: Exception) -> str:
    """Return the message of `error` in one line; an operating system's error names its file."""
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _fail(program: str, message: str, status: int = EXIT_USAGE) -> int:
    """Print one line on standard error and return `status`."""
    sys.stdout.flush()
    print(f"{program}: error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
