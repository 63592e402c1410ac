"""Small policies that together have every form of layer that the generator can make."""

from __future__ import annotations

from typing import NamedTuple

from policy_builders import make_contract, random_baseline, random_network, random_observations

from qpolicy_fpga.design import build, describe
from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.random_networks import evenly_spaced
from qpolicy_ros.policy import make_artifact


class Toy(NamedTuple):
    """A policy's sizes and bits, as ``random_network`` takes them, and a form for each layer."""

    shape: tuple
    forms: tuple
    even: bool = False
    """Whether thresholds are evenly spaced, as trained ones are, so that a DSP may give codes."""


# As in the shipped policies first (halfcheetah, ant, walker2d), then what is left.
TOYS = {
    "block RAM, search, scale": Toy(
        (6, (34, 32), 2, 4, 5, 8),
        (Form(34, 4, ram=True), Form(16, 1, ram=True), Form(1, 5, stream=True)),
        even=True,
    ),
    "staged, search, rom": Toy(
        (9, (40, 16), 2, 4, 3, 5), (Form(8, 4), Form(16, 3, ram=True), Form(1, 3))
    ),
    "compare, compare, folded table": Toy(
        (5, (6, 8), 4, 3, 2, 4), (Form(1, 3), Form(4, 2), Form(4, 2))
    ),
    "block RAM in parts": Toy(
        (6, (34, 8), 2, 5, 3, 8), (Form(34, 2, ram=True), Form(4, 1), Form(1, 1))
    ),
    "folded rom, serial": Toy((5, (7,), 4, 3, 4, 5), (Form(1, 1), Form(4, 2))),
    "weights looked up as codes come": Toy(
        (5, (34,), 2, 4, 3, 4), (Form(34, 4, ram=True), Form(1, 3, stream=True))
    ),
    "beats as they come": Toy((70, (3,), 2, 8, 3, 4), (Form(1, 8, stream=True), Form(1, 3))),
    "codes copied for groups": Toy(
        (6, (40, 24), 23, 4, 3, 3), (Form(1, 2), Form(2, 1), Form(1, 3, stream=True))
    ),
    "folded search": Toy((9, (7,), 2, 8, 4, 4), (Form(4, 2), Form(1, 4))),
    "unrolled search": Toy((9, (4,), 2, 8, 4, 4), (Form(1, 2), Form(1, 4))),
    "neurons that are tables": Toy(
        (3, (4,), 2, 2, 2, 4), (Form(1, 2, lookup=True), Form(1, 2, lookup=True))
    ),
}


def write_toy(folder, name):
    """Write a toy's Verilog into ``folder``; return its artifact and manifest."""
    toy = TOYS[name]
    inputs, hidden, outputs, *_ = toy.shape
    network = evenly_spaced(*toy.shape, 3) if toy.even else random_network(7, *toy.shape)
    artifact = make_artifact(
        make_contract(inputs, outputs),
        random_baseline(0, inputs, hidden, outputs),
        network,
        {"command": "test"},
        random_observations(0, 8, inputs),
    )
    design = build(network, toy.forms, 100.0)
    folder.mkdir(parents=True)
    for file, text in design.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    return artifact, describe(network, design, "xc7a15t", 100.0, artifact=artifact)
