"""No file that this project reads can run code: looked for in the sources themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RUNS_CODE = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "pickle.load",
    "pickle.loads",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "joblib.load",
    "torch.load",
    "torch.jit.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "os.system",
    "os.popen",
}
RUNS_CODE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


# TorchScript is no Python: its operators were looked at before one of them is run.
LOOKED_AT = {"qpolicy_ros/interchange/incoming/torchscript.py"}


def code_from_data(source: str, *, looked_at: bool = False) -> list[str]:
    """Return what in `source` could run what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            found += sorted(names & RUNS_CODE_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "") in RUNS_CODE_MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == "torch.load" and _tensors_alone(node):
                continue
            if name == "torch.jit.load" and looked_at:
                continue
            shell = any(
                keyword.arg == "shell" and not _is_false(keyword.value) for keyword in node.keywords
            )
            pickled = any(
                keyword.arg in {"allow_pickle", "weights_only"}
                and _is_false(keyword.value) == (keyword.arg == "weights_only")
                for keyword in node.keywords
            )
            if name in RUNS_CODE or shell or pickled:
                found.append(name)
    return found


def _tensors_alone(call: ast.Call) -> bool:
    """Whether `torch.load` is told to read tensors and plain containers only."""
    return any(
        keyword.arg == "weights_only"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for keyword in call.keywords
    )


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def sources() -> list[Path]:
    """Return every Python file that is shipped or run, tests aside."""
    folders = ("qpolicy_ros", "training", "fpga", "launch", "scripts")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sources()]
)
def test_no_file_that_is_read_can_run_code(path):
    looked_at = str(path.relative_to(ROOT)) in LOOKED_AT
    assert code_from_data(path.read_text(encoding="utf-8"), looked_at=looked_at) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import pickle", ["pickle"]),
        ("from cloudpickle import loads", ["cloudpickle"]),
        ("torch.load(path)", ["torch.load"]),
        ("torch.load(path, weights_only=False)", ["torch.load"]),
        ("torch.load(path, weights_only=True)", []),
        ("torch.jit.load(path)", ["torch.jit.load"]),
        ("yaml.load(text, Loader)", ["yaml.load"]),
        ("eval(text)", ["eval"]),
        ("np.load(path, allow_pickle=True)", ["np.load"]),
        ("subprocess.run(text, shell=True)", ["subprocess.run"]),
        ("np.load(path, allow_pickle=False)", []),
        ("actor.eval()", []),
        ("re.compile(pattern)", []),
        ("yaml.safe_load(text)", []),
    ],
)
def test_code_from_data_is_found(source, expected):
    assert code_from_data(source) == expected
