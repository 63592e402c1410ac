"""What `generate` writes: manifest, test bench, lint; and the small parts it is made of."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_fpga import generate
from qpolicy_fpga.emit.tail import at_least
from qpolicy_fpga.emit.verilog import cofactor, complement, depends, simplify
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.report import lint as lint_samples
from qpolicy_fpga.report.report import _golden_codes
from qpolicy_fpga.simulate.core import CoreSimulation
from qpolicy_ros.cli.main import main
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyError, make_engine, save_policy

FEW_WEIGHTS = 1000  # of a network that is linted in `make test`


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    artifact = random_artifact(3, 9, (16, 12), 4, input_bits=5, core_bits=3, output_bits=8)
    return artifact, folder, generate(artifact, "xc7a15t", 100.0, "latency", folder)


def test_the_manifest_says_what_the_policy_is(made):
    artifact, folder, manifest = made
    assert read_manifest(folder) == manifest
    assert manifest.function_hash == artifact.function_hash
    assert (manifest.n, manifest.m) == (9, 4)
    assert (manifest.b_in, manifest.b_core, manifest.b_out) == (5, 3, 8)
    assert all((folder / name).is_file() for name in manifest.files + manifest.bench)


def test_golden_vectors_come_out_of_the_simulated_core(made):
    artifact, folder, manifest = made
    simulation = CoreSimulation(folder, manifest)
    result = simulation.run(_golden_codes(folder, manifest))
    simulation.close()
    np.testing.assert_array_equal(result.codes, artifact.golden.codes)


def test_counted_activity_is_that_of_the_bits_sent(made, tmp_path):
    _, folder, manifest = made
    codes = _golden_codes(folder, manifest)
    simulation = CoreSimulation(folder, manifest, count_toggles=True)
    counts = simulation.toggles(codes, tmp_path / "activity.saif")
    simulation.close()
    bits = (codes[:, :, None] >> np.arange(manifest.b_in)) & 1
    changes = np.abs(np.diff(bits.reshape(len(codes), -1), axis=0)).sum(axis=0)
    text = (tmp_path / "activity.saif").read_text()
    for place in (0, 7, bits[0].size - 1):
        found = re.search(rf"\(s_data\\\[{place}\\\].*\(TC (\d+)\)", text)
        # The first frame may change the line as well.
        assert int(found.group(1)) - changes[place] in {0, 1}
    assert counts["s_data"] >= changes.sum()


def test_the_bench_s_memory_file_holds_the_engine_s_input_codes(made):
    artifact, folder, manifest = made
    trace = make_engine(artifact.network, "numpy").codes_batch(artifact.golden.observations)
    np.testing.assert_array_equal(_golden_codes(folder, manifest), trace[0])


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("spoil", [False, True], ids=["right", "spoilt"])
def test_the_self_checking_bench_under_icarus(made, tmp_path, spoil):
    _, folder, _ = made
    copy = shutil.copytree(folder, tmp_path / "copy")
    if spoil:
        lines = (copy / "golden_out.hex").read_text().split()
        lines[3] = f"{int(lines[3], 16) ^ 1:0{len(lines[3])}x}"
        (copy / "golden_out.hex").write_text("\n".join(lines))
    sources = sorted(str(path) for path in copy.glob("*.v"))
    subprocess.run(["iverilog", "-g2005", "-o", str(copy / "tb"), *sources], check=True)
    said = subprocess.run(
        ["vvp", "tb"], cwd=copy, capture_output=True, text=True, timeout=200, check=True
    ).stdout
    assert said.startswith("FAIL vector 3:" if spoil else "PASS")


@pytest.mark.slow
def test_generated_verilog_is_lint_clean(capsys, monkeypatch, full):
    if not full:  # `make lint` takes all of them, as `make test-full` does
        samples = lint_samples.SAMPLES
        small = [s for s in samples if sum(n * m for n, m in pairwise(s[0])) <= FEW_WEIGHTS]
        monkeypatch.setattr(lint_samples, "SAMPLES", small)
    assert lint_samples.main([]) == 0, capsys.readouterr().err


def test_lint_notices_a_fault(made, tmp_path, capsys):
    _, folder, _ = made
    copy = shutil.copytree(folder, tmp_path / "copy")
    core = copy / "qpolicy_core.v"
    core.write_text(core.read_text().replace("    wire fetched =", "    wire [3:0] fetched ="))
    assert lint_samples.main([str(copy)]) == 1
    assert "WIDTH" in capsys.readouterr().err


def test_the_command_prints_the_manifest(tmp_path, capsys):
    save_policy(random_artifact(), tmp_path / "toy.safetensors")
    call = ["fpga", "generate", str(tmp_path / "toy.safetensors"), "--out", str(tmp_path / "rtl")]
    assert main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1


def test_a_policy_without_an_integer_network_is_refused(tmp_path):
    with pytest.raises(PolicyError, match="no integer network"):
        generate(random_artifact(integer=False), "xc7a15t", 100.0, "latency", tmp_path)


def test_an_output_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    save_policy(random_artifact(), tmp_path / "toy.safetensors")
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "rtl")
    assert main(["fpga", "generate", str(tmp_path / "toy.safetensors"), "--out", out]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest: not found"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("width", [1, 3, 6])
def test_constant_comparators(width):
    for bound in range(-1, (1 << width) + 2):
        text = at_least("s", width, bound)
        for value in range(1 << width):
            python = text.replace("1'b", "0b")
            for bit in range(width):
                python = python.replace(f"s[{bit}]", str(value >> bit & 1))
            assert bool(eval(python)) == (value >= bound)


def test_simplified_tables_compute_the_same():
    rng = random.Random(1)
    for _ in range(200):
        names = [rng.choice(["a", "b", "c", "~d", "1'b0", "1'b1"]) for _ in range(4)]
        table = rng.getrandbits(16)
        inputs, smaller = simplify(list(names), table)
        for value in range(16):
            bits = dict(zip("abcd", (value >> k & 1 for k in range(4)), strict=True))
            level = {**bits, "~d": 1 - bits["d"], "1'b0": 0, "1'b1": 1}
            full = table >> sum(level[name] << at for at, name in enumerate(names)) & 1
            short = smaller >> sum(level[name] << at for at, name in enumerate(inputs)) & 1
            assert full == short


@pytest.mark.parametrize("place", range(4))
def test_tables_of_a_fixed_and_of_an_inverted_input(place):
    table = random.Random(place).getrandbits(16)
    low, high = (cofactor(table, place, 4, high=fixed) for fixed in (False, True))
    inverted = complement(table, place, 4)
    for address in range(8):
        below = address & ((1 << place) - 1)
        at = (address >> place) << (place + 1) | below
        assert low >> address & 1 == table >> at & 1
        assert high >> address & 1 == table >> (at | 1 << place) & 1
        assert inverted >> at & 1 == table >> (at | 1 << place) & 1
        assert inverted >> (at | 1 << place) & 1 == table >> at & 1
    assert depends(table, place, 4) == (low != high)


def test_what_an_earlier_run_wrote_is_gone(tmp_path):
    deep = random_artifact(4, 5, (6, 6), 2)
    shallow = random_artifact(5, 5, (6,), 2)
    first = generate(deep, "xc7a15t", 100.0, "latency", tmp_path, with_io=True)
    (tmp_path / "mine.v").write_text("// kept\n")
    second = generate(shallow, "xc7a15t", 100.0, "latency", tmp_path)
    left = {path.name for path in tmp_path.glob("*.v")}
    assert set(first.files) - set(second.files)
    assert left == {name for name in second.files + second.bench if name.endswith(".v")} | {
        "mine.v"
    }


def test_an_old_manifest_cannot_have_other_files_removed(tmp_path):
    outside = tmp_path / "outside.v"
    outside.write_text("// kept\n")
    folder = tmp_path / "core"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"files": ["../outside.v", 3], "bench": []}')
    generate(random_artifact(5, 5, (6,), 2), "xc7a15t", 100.0, "latency", folder)
    assert outside.is_file()
