"""`qpolicy verify`: parts, certificate, refusals."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from tiny_policy import forge, write_tiny_policy

from qpolicy_fpga import generate
from qpolicy_ros.cli.main import main
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyError, find_policy, load_policy, policy_folders
from qpolicy_ros.verify import certificate
from qpolicy_ros.verify.chain import wrapper_frames
from qpolicy_ros.verify.journal import Journal
from qpolicy_ros.verify.observations import has_task, record
from qpolicy_ros.verify.result import Check, Section
from qpolicy_ros.verify.source_hashes import check_kernel, file_digest

SHIPPED = [
    file
    for file in sorted(policy_folders()[-1].glob("*/*.safetensors"))
    if "." not in file.stem and load_policy(file).network is not None
]

PARTS = ["bounds", "neurons", "formal", "chain", "loops"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return write_tiny_policy(tmp_path_factory.mktemp("policies"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The journal's folder."""
    return tmp_path_factory.mktemp("cache")


def run(capsys, *arguments):
    status = main(["verify", *map(str, arguments), "--json"])
    output = capsys.readouterr()
    return status, json.loads(output.out)["certificates"][0] if output.out else output.err


@pytest.mark.slow
def test_a_quick_run_does_parts_1_and_2_and_a_sample_of_4(policy, capsys):
    status, result = run(capsys, policy, "--quick")
    assert status == 0
    assert [part["name"] for part in result["parts"]] == ["bounds", "neurons", "chain"]
    assert all(check["compared"] for part in result["parts"] for check in part["checks"])
    assert not certificate.certificate_path(policy).exists()


def test_a_policy_of_no_known_task_has_no_episodes(policy):
    artifact = load_policy(policy)
    assert has_task(artifact)
    assert len(record(artifact, 1))
    contract = dataclasses.replace(artifact.contract, task="go1_joystick", env_id="")
    imported = dataclasses.replace(artifact, contract=contract)
    assert record(imported, 1).shape == (0, len(contract.observation))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("layers", lambda manifest: manifest["layers"].pop()),
        ("layers", lambda manifest: manifest["layers"][0].update(neurons=1)),
        ("layers", lambda manifest: manifest["layers"][1].update(inputs=99)),
        ("b_out", lambda manifest: manifest.update(b_out=5)),
        ("m", lambda manifest: manifest.update(m=1)),
    ],
    ids=["fewer", "neurons", "inputs", "bits", "outputs"],
)
def test_hardware_that_hides_something_is_refused(policy, tmp_path, capsys, field, change):
    """The manifest says what is proven, so it must be of the policy's sizes."""
    generate(load_policy(policy), "xc7a15t", 100.0, "latency", tmp_path / "rtl")
    file = tmp_path / "rtl" / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))
    status, error = run(capsys, policy, "--quick", "--rtl", tmp_path / "rtl")
    assert status == 2
    assert f"manifest.json: {field}: " in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("flags", [["--rtl", "x"], ["--core-frames", "10"]])
def test_a_certificate_is_not_replaced_by_a_lesser_one(flags, capsys):
    path = certificate.certificate_path(find_policy("hopper"))
    before = path.read_bytes()
    status, error = run(capsys, "hopper", *flags)
    assert status == 2
    assert error.startswith(f"qpolicy verify: error: {flags[0]}: {path} has more to say")
    assert "give --out" in error
    assert path.read_bytes() == before


@pytest.mark.parametrize(("core", "wrapper"), [(1_000_000, 10_000), (10_000, 1_000), (5, 1)])
def test_fewer_observations_of_the_core_are_fewer_of_its_wrappers(core, wrapper):
    assert wrapper_frames(core) == wrapper


def test_a_kernel_of_other_source_is_refused(monkeypatch):
    kernel = pytest.importorskip("qpolicy_ros.policy._kernel")
    check_kernel()
    monkeypatch.setattr(kernel, "source", "0" * 64)
    with pytest.raises(PolicyError, match="kernel: was built from other source"):
        check_kernel()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_full_run_writes_a_certificate_that_a_quick_one_agrees_with(policy, capsys, full):
    if not full:
        pytest.skip("simulates 10^6 observations and compiles four models: make test-full")
    status, result = run(capsys, policy)
    assert status == 0, result
    assert [part["name"] for part in result["parts"]] == PARTS
    status, result = run(capsys, policy, "--quick")
    assert status == 0
    assert result["parts"][-1]["name"] == "certificate"
    forge(policy, lambda arrays: arrays["table"].__setitem__((0, 5), 0.123))
    status, result = run(capsys, policy, "--quick")
    assert status == 1
    assert {part["name"] for part in result["parts"] if not part["passed"]} >= {"certificate"}


@pytest.mark.slow
def test_a_failed_part_is_named(tmp_path, capsys):
    policy = write_tiny_policy(tmp_path)
    forge(policy, lambda arrays: arrays["table"].__setitem__((0, 5), 0.123))
    assert main(["verify", str(policy), "--quick"]) == 1
    text = capsys.readouterr().out
    assert "neurons      FAILED" in text
    assert "torch: action table: 1 of" in text


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_shipped_policy_s_certificate_is_of_this_very_file(file):
    path = certificate.certificate_path(file)
    assert path.is_file(), "make verify"
    kept, artifact = certificate.load(path), load_policy(file)
    assert kept["passed"]
    assert not kept["quick"]
    assert (kept["function_hash"], kept["file_hash"], kept["module_sha256"]) == (
        artifact.function_hash,
        artifact.file_hash,
        file_digest([file.with_suffix(".qat.safetensors")]),
    )
    assert [part["name"] for part in kept["parts"]] == PARTS
    compared = {
        check["name"]: check["compared"] for part in kept["parts"] for check in part["checks"]
    }
    assert compared["rtl core in lanes = numpy: output codes"] >= 1_000_000
    assert {name for name in compared if name.startswith("rtl behind")} == {
        f"rtl behind {kind} = numpy: output codes" for kind in ("axi_lite", "axi_stream", "uart")
    }
    lock_step = "ros 2 lock-step = integer: returns of episodes"
    assert (lock_step in compared) == (not artifact.contract.robot)
    assert certificate.markdown(kept) == path.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_quick_run_agrees_with_a_shipped_policy_s_certificate(file, capsys, full):
    if not full:
        pytest.skip("compiles a core of each shipped policy: make test-full")
    status, result = run(capsys, file, "--quick")
    assert status == 0, result
    assert result["parts"][-1]["name"] == "certificate"


def test_a_missing_module_is_named(tmp_path, capsys):
    policy = write_tiny_policy(tmp_path)
    module = policy.with_suffix(".qat.safetensors")
    module.unlink()
    status, error = run(capsys, policy, "--quick")
    assert status == 2
    assert f"{module}: file: the trained module is missing" in error


def test_hardware_of_another_policy_is_refused(policy, tmp_path, capsys):
    other = write_tiny_policy(tmp_path, b_out=5)
    generate(load_policy(other), "xc7a15t", 100.0, "latency", tmp_path / "rtl")
    status, error = run(capsys, policy, "--quick", "--rtl", tmp_path / "rtl")
    assert status == 2
    assert "function_hash" in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["hopper/fp32"], "FP32 baseline alone"),
        (["no-such-policy"], "no-such-policy"),
        (["hopper", "halfcheetah", "--rtl", "x"], "--rtl"),
        (["hopper", "--core-frames", "0"], "--core-frames"),
        (["hopper", "--core-frames", "99999999999999999999"], "--core-frames"),
        (["hopper", "--out", "/dev/null"], "/dev/null: folder"),
        (["hopper", "--quick", "--rtl", "/nowhere"], "/nowhere"),
    ],
)
def test_a_wrong_call_is_refused_by_name(arguments, named, capsys):
    status, error = run(capsys, *arguments)
    assert status == 2
    assert named in error
    assert len(error.splitlines()) == 1


def content(**changes):
    parts = [Section("bounds", (Check("a | b", 3, 0),)).as_json()]
    return certificate.seal(
        {
            "format": certificate.FORMAT,
            "policy": "toy/paper",
            "passed": True,
            "function_hash": "f",
            "file_hash": "e",
            "module_sha256": "d",
            "rtl": {"part": "p", "clock_mhz": 100.0, "fit": "latency", "cycles": 3, "sha256": "c"},
            "tools": {"numpy": "2"},
            "sources": {},
            "parts": parts,
        }
        | changes
    )


def test_a_certificate_survives_its_file(tmp_path):
    certificate.save(content(), tmp_path / "paper.certificate.json")
    assert certificate.load(tmp_path / "paper.certificate.json") == content()
    assert "a \\| b" in (tmp_path / "paper.certificate.md").read_text()


def test_an_altered_certificate_is_refused(tmp_path):
    path = tmp_path / "paper.certificate.json"
    certificate.save(content(), path)
    path.write_text(path.read_text().replace('"compared": 3', '"compared": 4'))
    with pytest.raises(PolicyError, match="certificate_hash"):
        certificate.load(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 200_000, "[]", "7", "null", json.dumps(certificate.seal({"format": 1}))]
    + [json.dumps(content(**{field: 7})) for field in ("policy", "rtl", "parts", "passed")],
    ids=["empty", "cut", "deep", "list", "number", "null", "bare", *("p", "r", "a", "v")],
)
def test_what_is_no_certificate_is_refused(tmp_path, text):
    path = tmp_path / "paper.certificate.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"paper\.certificate\.json: .*make it again"):
        certificate.load(path)


@pytest.mark.parametrize("field", ["function_hash", "file_hash", "module_sha256"])
def test_a_certificate_of_something_else_does_not_agree(field):
    assert certificate.agreement(content(), content()).passed
    assert not certificate.agreement(content(), content(**{field: "x"})).passed


def test_a_certificate_with_other_figures_does_not_agree():
    other = content(parts=[Section("bounds", (Check("a | b", 4, 0),)).as_json()])
    assert not certificate.agreement(content(), other).passed


def test_a_certificate_without_figures_does_not_agree():
    assert not certificate.agreement(content(), content(parts=[])).passed


def test_a_certificate_of_another_processor_agrees():
    both = content(
        parts=[Section("bounds", (Check("a | b", 3, 0), Check("c/x: b", 3, 0))).as_json()]
    )
    assert certificate.agreement(both, content()).passed


def test_a_check_that_compared_nothing_has_not_passed():
    assert not Check("nothing", 0, 0).passed
    assert not Section("bounds", ()).passed


def test_a_journal_goes_on_where_it_stopped(kept, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    assert Journal("key", "toy", "state").once("piece", lambda: [1, 2]) == [1, 2]
    again = Journal("key", "toy", "state")
    assert again.once("piece", lambda: pytest.fail("made again")) == [1, 2]
    assert Journal("key", "toy", "other state").once("piece", lambda: 3) == 3


@pytest.mark.parametrize("text", ['{"trunc', "[" * 200_000, "[]", '{"piece": 7}'])
def test_a_damaged_journal_is_said_and_begun_anew(kept, monkeypatch, capsys, text):
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    Journal("key", "toy", "state").once("piece", lambda: 1)
    (file,) = (kept / "qpolicy" / "verify").iterdir()
    file.write_text(text)
    assert Journal("key", "toy", "state").once("piece", lambda: 2) == 2
    assert "is damaged; everything is made again" in capsys.readouterr().err
    assert Journal("key", "toy", "state").once("piece", lambda: 3) == 2


def test_fp32_policies_are_left_out_of_all():
    from qpolicy_ros.cli.verify import shipped  # noqa: PLC0415

    names = shipped()
    assert str(find_policy("hopper")) in names
    assert not [name for name in names if "fp32" in name or ".qat" in name]
    assert len(names) == len(np.unique(names))
