"""What README and docs/results.md say of the shipped policies is what their files say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qpolicy_ros.policy import load_policy

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"\| `(?P<policy>\w+/\w+)` \| (?P<bits>[\d / ]+) \| (?P<hidden>[\d, ]+) \| (?P<bytes>[\d,]+) "
    r"\| \*\*(?P<mean>[\d,]+) ± (?P<std>[\d,]+)\*\* "
    r"\| (?P<teacher>[\d,]+) ± (?P<teacher_std>[\d,]+) "
)


def _rows() -> dict[str, re.Match[str]]:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    return {match["policy"]: match for match in ROW.finditer(text)}


def _shipped() -> list[str]:
    policies = ROOT / "config" / "policies"
    return sorted(
        f"{path.parent.name}/{path.stem}"
        for path in policies.glob("*/*.safetensors")
        if not path.stem.endswith("fp32") and not path.stem.endswith(".qat")
    )


def _number(text: str) -> int:
    return int(text.replace(",", ""))


FRONT = re.compile(
    r"\| `(?P<policy>\w+/\w+)` \| (?P<bits>\d) \| \*\*(?P<mean>[\d,]+) ± (?P<std>[\d,]+)\*\* "
)


def test_the_front_page_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert len(text.split()) <= 700


def test_the_front_page_s_table_says_what_the_files_say() -> None:
    rows = list(FRONT.finditer((ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(rows) == 5
    for row in rows:
        artifact = load_policy(ROOT / "config" / "policies" / f"{row['policy']}.safetensors")
        assert artifact.network is not None
        returns = artifact.provenance["returns"]["integer"]
        assert int(row["bits"]) == artifact.network.core_bits
        said = (_number(row["mean"]), _number(row["std"]))
        assert said == (round(returns["mean"]), round(returns["std"]))


def test_every_integer_policy_has_a_row() -> None:
    assert sorted(_rows()) == _shipped()


@pytest.mark.parametrize("policy", _shipped())
def test_a_row_says_what_the_file_says(policy: str) -> None:
    artifact = load_policy(ROOT / "config" / "policies" / f"{policy}.safetensors")
    network, row = artifact.network, _rows()[policy]
    assert network is not None
    bits = (network.input_bits, network.core_bits, network.output_bits)
    assert tuple(int(each) for each in row["bits"].split("/")) == bits
    assert tuple(int(each) for each in row["hidden"].split(",")) == network.hidden
    weights = sum(weight.size for weight in network.weights)
    assert _number(row["bytes"]) == -(-weights * network.core_bits // 8)
    returns = artifact.provenance["returns"]
    assert returns["integer"]["episodes"] == returns["fp32"]["episodes"] == 100
    assert _number(row["mean"]) == round(returns["integer"]["mean"])
    assert _number(row["std"]) == round(returns["integer"]["std"])
    assert _number(row["teacher"]) == round(returns["fp32"]["mean"])
    assert _number(row["teacher_std"]) == round(returns["fp32"]["std"])
