"""The certificate: JSON for machines, Markdown for readers, and whether two of them agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.json_files import is_count, is_number, is_text, read_json
from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.hashing import canonical_json
from qpolicy_ros.verify.result import Check, Section

FORMAT = 1
SUFFIX = ".certificate.json"
_TITLES = {
    "bounds": "1. Accumulator bounds",
    "neurons": "2. Every neuron: torch, thresholds, engines, hardware",
    "formal": "3. Formal proofs of the generated hardware",
    "chain": "4. The whole chain",
    "loops": "5. Closed-loop returns",
    "bitstream": "6. Placed, routed and loaded",
    "properties": "7. Proven properties",
    "certificate": "Agreement with the certificate",
}
_OF_A_PROCESSOR = "c/"  # c/avx2: weights of every neuron
_SUBJECT = ("function_hash", "file_hash", "module_sha256")
_MOST_BYTES = 4 << 20


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """Add ``certificate_hash``: SHA-256 over the canonical JSON of everything else."""
    rest = {key: value for key, value in content.items() if key != "certificate_hash"}
    digest = hashlib.sha256(canonical_json(rest).encode()).hexdigest()
    return {**rest, "certificate_hash": digest}


def certificate_path(policy: Path, folder: Path | None = None) -> Path:
    """Where a policy's certificate lies: ``paper.safetensors`` -> ``paper.certificate.json``."""
    beside = policy.with_name(policy.name.removesuffix(".safetensors") + SUFFIX)
    if folder is None:
        return beside
    return folder / f"{policy.resolve().parent.name}-{beside.name}"


def save(certificate: dict[str, Any], path: Path) -> None:
    """Write the JSON and, beside it, the Markdown."""
    write_atomically(path, (json.dumps(certificate, indent=1) + "\n").encode())
    write_atomically(path.with_suffix(".md"), markdown(certificate).encode())


def load(path: Path) -> dict[str, Any]:
    """Read a certificate and check its hash and every field that is shown or compared.

    Raises:
        PolicyError: not a certificate, or its content was altered.
    """
    remedy = "make it again with `qpolicy verify`"
    content = read_json(path, "certificate", _MOST_BYTES, remedy)
    try:
        sealed = seal(content)["certificate_hash"]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise PolicyError.at(path, "certificate", f"cannot be read: {error}", remedy) from error
    if content.get("format") != FORMAT or content.get("certificate_hash") != sealed:
        wrong = "its content does not fit its hash, or it is of another format"
        raise PolicyError.at(path, "certificate_hash", wrong, remedy)
    for name, good in _rules(content).items():
        if not good:
            raise PolicyError.at(path, name, "is missing or of another kind", remedy)
    return dict(content)


def _rules(content: dict[str, Any]) -> dict[str, bool]:
    """Whether each field is as ``verify`` writes it."""
    rules = {name: is_text(content.get(name)) for name in ("policy", *_SUBJECT)}
    rules["passed"] = isinstance(content.get("passed"), bool)
    rules |= {name: _are_texts(content.get(name)) for name in ("tools", "sources")}
    rtl, sections = content.get("rtl"), content.get("parts")
    rules["rtl"] = isinstance(rtl, dict) and (
        is_text(rtl.get("part"))
        and is_text(rtl.get("sha256"))
        and is_number(rtl.get("clock_mhz"), 0.0)
        and is_count(rtl.get("cycles"))
    )
    rules["parts"] = (
        isinstance(sections, list) and all(map(_is_section, sections)) and _differ(sections)
    )
    return rules


def _is_section(section: object) -> bool:
    if not isinstance(section, dict) or section.get("name") not in [*_TITLES]:
        return False
    checks, uncovered = section.get("checks"), section.get("uncovered")
    if not isinstance(checks, list) or not isinstance(uncovered, list):
        return False
    return all(map(is_text, uncovered)) and all(map(_is_check, checks)) and _differ(checks)


def _is_check(check: object) -> bool:
    return isinstance(check, dict) and (
        is_text(check.get("name"))
        and is_text(check.get("detail"))
        and is_count(check.get("compared"))
        and is_count(check.get("wrong"))
    )


def _differ(named: list[dict[str, Any]]) -> bool:
    return len({each["name"] for each in named}) == len(named)


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_text, (*value, *value.values())))


def agreement(fresh: Mapping[str, Any], kept: Mapping[str, Any]) -> Section:
    """Compare what a quick run finds with a full certificate of the same policy.

    The C kernel's instruction sets differ between processors: a check of one is compared where both
    have it. Every other one must stand in the certificate.
    """
    wrong = [name for name in _SUBJECT if fresh[name] != kept[name]]
    compared = len(_SUBJECT) + 2
    if fresh["rtl"]["sha256"] != kept["rtl"]["sha256"]:
        wrong.append("rtl")
    if not kept["passed"]:
        wrong.append("passed")
    found = {section["name"]: section for section in kept["parts"]}
    for section in fresh["parts"]:
        if section["name"] not in ("bounds", "neurons"):
            continue
        old = {check["name"]: check for check in found.get(section["name"], {}).get("checks", [])}
        for check in section["checks"]:
            if check["name"] in old or not check["name"].startswith(_OF_A_PROCESSOR):
                compared += 1
                if old.get(check["name"]) != check:
                    wrong.append(check["name"])
    name = f"certificate {kept['certificate_hash'][:12]} says the same"
    return Section("certificate", (Check(name, compared, len(wrong), ", ".join(wrong)),))


def markdown(certificate: Mapping[str, Any]) -> str:
    """The certificate as a page."""
    rtl = certificate["rtl"]
    verdict = "passed" if certificate["passed"] else "FAILED"
    lines = [
        f"# Certificate of {certificate['policy']}: {verdict}",
        "",
        "Made by `qpolicy verify`; [docs/verification.md] says what each part proves.",
        "",
        "| | |",
        "|---|---|",
        f"| function hash | `{certificate['function_hash']}` |",
        f"| file hash | `{certificate['file_hash']}` |",
        f"| trained module | `{certificate['module_sha256']}` |",
        f"| hardware | {rtl['part']}, {rtl['clock_mhz']:g} MHz, {rtl['cycles']} cycles |",
        f"| generated Verilog | `{rtl['sha256']}` |",
        f"| certificate hash | `{certificate['certificate_hash']}` |",
    ]
    for section in certificate["parts"]:
        lines += ["", f"## {_TITLES[section['name']]}", "", "| check | compared | wrong | |"]
        lines += ["|---|---:|---:|---|"]
        for check in section["checks"]:
            name, detail = (check[key].replace("|", "\\|") for key in ("name", "detail"))
            lines.append(f"| {name} | {check['compared']:,} | {check['wrong']:,} | {detail} |")
        lines += ["", *(f"Not covered: {text}." for text in section["uncovered"])]
    lines += ["", "## Made with", ""]
    lines.append(", ".join(f"{name} {value}" for name, value in certificate["tools"].items()) + ".")
    lines += ["", "| sources | SHA-256 |", "|---|---|"]
    lines += [f"| `{room}` | `{value}` |" for room, value in certificate["sources"].items()]
    text = "\n".join(lines) + "\n"
    return text.replace("[docs/verification.md]", "`docs/verification.md`").replace(
        "\n\n\n", "\n\n"
    )
