"""The single changes of a contract: what each does, and that another undoes it."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from qpolicy_ros.doctor.changes import changes
from qpolicy_ros.doctor.fit import Fit
from qpolicy_ros.doctor.orders import joint_orders
from qpolicy_ros.policy import ActionChannel, Assembler, Channel, Contract
from qpolicy_ros.policy.model import Gait

JOINTS = [f"{leg}_{kind}_joint" for leg in ("FL", "FR", "RL", "RR") for kind in ("hip", "knee")]


@pytest.fixture(scope="module")
def model():
    legs = "".join(
        f'<body name="{leg}"><joint name="{leg}_hip_joint"/><geom size="0.1"/>'
        f'<body><joint name="{leg}_knee_joint"/><geom size="0.1"/></body></body>'
        for leg in ("FL", "FR", "RL", "RR")
    )
    return mujoco.MjModel.from_xml_string(
        f"<mujoco><worldbody><body><freejoint/><geom size='.1'/>{legs}</body></worldbody></mujoco>"
    )


@pytest.fixture
def fit():
    now = [
        *(Channel(f"w:{a}", f"imu.angular_velocity:{a}", scale=0.25) for a in "xyz"),
        *(Channel(f"q:{j}", f"joint_states.position:{j}", offset=0.1 * i)
          for i, j in enumerate(JOINTS)),
        *(Channel(f"o:{a}", f"imu.orientation:{a}") for a in "xyzw"),
        Channel("vx", "cmd_vel.linear:x"), Channel("wz", "cmd_vel.angular:z"),
        *(Channel(f"last:{j}", f"previous_output:{j}") for j in JOINTS),
        *(Channel(f"g:{a}", f"imu.projected_gravity:{a}") for a in "xyz"),
        Channel("cos", "gait.cos:left"), Channel("sin", "gait.sin:left"),
    ]  # fmt: skip
    terms = [now[:3], now[3:11], now[11:15], now[15:17], now[17:25], now[25:28], now[28:]]
    channels = []
    for term in terms:
        for ago in (2, 1):
            channels += [Channel(f"{c.name}@{ago}", f"history.{ago}:{c.name}") for c in term]
        channels += term
    actions = [
        ActionChannel(
            j, 0.1 * i - 1, 0.1 * i + 1, 0.1 * i, scale=0.5, offset=0.1 * i, kp=20.0 + i, kd=0.5
        )
        for i, j in enumerate(JOINTS)
    ]
    gaits = (Gait("left", 1.5),)
    contract = Contract("dog", "", tuple(channels), tuple(actions), 0.02, gaits=gaits)
    bias = np.array([a.offset for a in actions], np.float32)
    return Fit(contract, np.full(8, 0.5, np.float32), bias)


def test_every_change_is_undone_by_one_of_the_changed_contract(fit, model):
    possible = changes(fit, model)
    assert {change.kind for change in possible} == {
        "order", "terms", "axes", "sign", "scale", "offset", "history", "quaternion", "source",
        "frame", "gains", "period", "gait",
    }  # fmt: skip
    lost = []
    for change in possible[::3]:
        changed = change.apply(fit)
        if all(c.apply(changed).key != fit.key for c in changes(changed, model)):
            lost.append(change.mend)
    assert lost == []


def test_no_two_changes_do_the_same(fit, model):
    keys = [change.apply(fit).key for change in changes(fit, model)]
    assert len(set(keys)) == len(keys)
    assert fit.key not in keys


def test_every_changed_contract_can_be_assembled(fit, model):
    for change in changes(fit, model):
        contract = change.apply(fit).contract
        assembler = Assembler(contract)
        raw = dict.fromkeys(assembler.sources, 0.5)
        assert len(assembler.observation(raw)) == len(fit.contract.observation)
        assert {action.name for action in contract.action} == set(JOINTS)


def test_a_scale_changes_what_is_seen_and_its_history(fit, model):
    change = next(c for c in changes(fit, model) if c.mend.endswith("angular velocity by 4"))
    raw = dict.fromkeys(Assembler(fit.contract).sources, 0.5)
    before, after = (Assembler(f.contract).observation(raw) for f in (fit, change.apply(fit)))
    assert (after[:9] == 4 * before[:9]).all()
    assert (after[9:] == before[9:]).all()


def test_a_joint_order_moves_offsets_and_actions_along(fit, model):
    change = next(c for c in changes(fit, model) if c.fault == "order of the joints")
    changed = change.apply(fit)
    for action, bias in zip(changed.contract.action, changed.bias, strict=True):
        assert bias == pytest.approx(0.1 * JOINTS.index(action.name))
        channel = next(c for c in changed.contract.observation if c.name == f"q:{action.name}")
        assert channel.offset == pytest.approx(0.1 * JOINTS.index(action.name))


def test_a_history_the_newest_first_turns_each_term(fit, model):
    mend = "order the history term by term, the newest first"
    changed = next(c for c in changes(fit, model) if c.mend == mend).apply(fit)
    sources = [channel.source for channel in changed.contract.observation[:9:3]]
    assert sources == ["imu.angular_velocity:x", "history.1:w:x", "history.2:w:x"]


def test_the_orders_that_people_use(model):
    orders = joint_orders(JOINTS, model)
    depth = orders["by depth in the tree, as Isaac lists them"]
    assert depth[:4] == ("FL_hip_joint", "FR_hip_joint", "RL_hip_joint", "RR_hip_joint")
    swapped = orders["with left and right swapped"]
    assert swapped[:2] == ("FR_hip_joint", "FR_knee_joint")
    assert "of the robot's model" not in orders  # it is in that order already
    humans = ["Left_Hip_Pitch", "Right_Hip_Pitch", "Waist"]
    human = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body>"
        + "".join(f'<body><joint name="{j}"/><geom size=".1"/></body>' for j in humans)
        + "</body></worldbody></mujoco>"
    )
    swapped = joint_orders(humans, human)["with left and right swapped"]
    assert swapped == ("Right_Hip_Pitch", "Left_Hip_Pitch", "Waist")


def test_limits_stay_around_the_action(fit, model):
    for change in changes(fit, model):
        for action in change.apply(fit).contract.action:
            assert action.low < action.high
            assert action.low <= replace(action).safe <= action.high


def test_values_repeated_are_told_to_be_a_history(fit, model):
    lost = next(c for c in changes(fit, model) if c.mend.startswith("give the newest")).apply(fit)
    assert not any(c.source.startswith("history") for c in lost.contract.observation)
    mends = [c for c in changes(lost, model) if c.apply(lost).key == fit.key]
    assert [c.mend for c in mends] == ["give a history of 3, the oldest first"]


def test_gains_belong_to_how_a_network_is_connected(fit, model):
    stiffer = next(c for c in changes(fit, model) if c.mend.endswith("kp by 2")).apply(fit)
    assert stiffer.gains != fit.gains
    assert [action.kp for action in stiffer.contract.action] == [2 * (20 + i) for i in range(8)]


def test_terms_of_one_length_are_exchanged_with_their_numbers(fit, model):
    mend = "exchange angular velocity and projected gravity"
    changed = next(c for c in changes(fit, model) if c.mend == mend).apply(fit)
    moved = [c.source for c in changed.contract.observation]
    assert moved.index("imu.projected_gravity:x") == 6
    assert [c.scale for c in changed.contract.observation if "angular_vel" in c.source] == [
        0.25
    ] * 3
