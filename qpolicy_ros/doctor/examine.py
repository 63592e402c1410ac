"""The examination: is the policy sound on this robot, and if not, which one change mends it?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qpolicy_ros.doctor.changes import changes
from qpolicy_ros.doctor.fit import Change, Fit
from qpolicy_ros.doctor.trials import Attempt, Command, Stage, Trial
from qpolicy_ros.policy import PolicyArtifact, PolicyError
from qpolicy_ros.sim.description import RobotDescription, find_robot
from qpolicy_ros.sim.robot_model import build_model

COMMANDS: tuple[Command, ...] = ((0.5, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.5), (0.3, 0.2, 0.0))
_SEEDS = (0, 1)
_SECONDS = 6.0
_FOLLOWS = 0.6  # share of the commanded forward speed that a sound policy makes at least
_TOO_FAST = 1.6  # of the same: more than that is another command than the one that was given
_AGAINST = -0.1  # of a commanded turn or step to the left, the other way round
_BETTER = 0.02  # by how much a change must lower the mean cost to be named
# Rounds of the search: commands, seconds, and how many changes go on. How long the first one takes
# depends on how soon the robot falls as it is: until then a change can show nothing.
_ROUNDS = ((1, 1.5, 24), (2, 2.5, 8), (4, 5.0, 4))
_LOOK, _SHORTEST, _LONGEST = 1.4, 0.8, 2.5  # of the time until the fall; s

_USUAL = ("order", "sign", "scale", "offset", "history", "quaternion", "terms")
_RARE, _REVIVED = 0.03, 0.15
_NEXT = 3
_ALIKE = 0.1  # of the cost: two changes that walk alike
_ROUND = (0.05, 0.1, 0.2, 0.25, 0.5, 2.0, 5.0)  # scales that people write
_PUSHED = 6.0  # s: a walk that is pushed

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finding:
    """What the examination found.

    Attributes:
        sound: whether the contract fits.
        change: the one that mends it; None where it is sound or none does.
        fit: the network's connection with that change.
        before, after: the trials as given, and with the change.
        tried: how many changes were played.
        why: why it is not sound, in a few words.
        others: changes that came behind, best first.
    """

    sound: bool
    change: Change | None
    fit: Fit
    before: list[Trial]
    after: list[Trial]
    tried: int
    why: str
    others: list[Change]

    @property
    def next_best(self) -> list[Change]:
        """The few that came closest behind."""
        return self.others[:_NEXT]


def examine(
    artifact: PolicyArtifact, robot: str | RobotDescription, say: Say = lambda _: None
) -> Finding:
    """Play a policy's FP32 network on a robot, and search where it fails.

    Args:
        artifact: of a robot's contract.
        robot: a name, a file, or a description.
        say: told what is going on.

    Raises:
        PolicyError: no robot's contract, a robot that lacks a joint or cannot fall.
    """
    contract = artifact.contract
    if not contract.robot:
        remedy = "import the policy with a contract that says where its values come from"
        wrong = "comes from a feature vector, not from a robot"
        raise PolicyError.at(artifact.path, "contract", wrong, remedy)
    description = find_robot(robot) if isinstance(robot, str) else robot
    built = build_model(description, contract, visual=False)
    if not built.base:
        where = description.file or description.name
        wrong = "is fixed, so that nothing shows whether a policy works"
        raise PolicyError.at(where, "base", wrong, "give a robot with a floating base")
    given = Fit.of(contract, artifact.baseline)
    stage = Stage(description, artifact.baseline, given, built)
    commands = _commands(artifact)
    as_it_is = Attempt(given)
    stage.play([as_it_is], commands, _SEEDS[:1], _SECONDS)
    if not as_it_is.fell:  # a fall needs no second look
        stage.play([as_it_is], commands, _SEEDS[1:], _SECONDS)
    before = stage.trials(as_it_is, _SECONDS)
    why = _complaint(before)
    if not why:
        return Finding(
            sound=True,
            change=None,
            fit=given,
            before=before,
            after=before,
            tried=0,
            why="",
            others=[],
        )
    say(f"not sound: {why}")
    candidates = changes(given, built.model)
    found, order = _search(stage, as_it_is, candidates, before, say)
    mends = bool(found) and cost(before) - cost(found) > _BETTER and not _complaint(found)
    change = order[0] if mends else None
    return Finding(
        sound=False,
        change=change,
        fit=change.apply(given) if change else given,
        before=before,
        after=found if change else before,
        tried=len(candidates),
        why=why,
        others=order[1 if change else 0 :],
    )


def cost(trials: list[Trial]) -> float:
    """Mean cost of several walks."""
    return float(np.mean([trial.cost for trial in trials]))


def _search(
    stage: Stage, as_it_is: Attempt, candidates: list[Change], before: list[Trial], say: Say
) -> tuple[list[Trial], list[Change]]:
    """Play all changes for a moment, the better ones for longer; best first, with its trials.

    A change with which the robot falls once mends nothing and is played no further.
    """
    left = [(change, Attempt(change.apply(as_it_is.fit))) for change in candidates]
    behind: list[Change] = []
    trials: list[list[Trial]] = []
    costs: list[float] = []
    worst = sorted(before, key=lambda trial: trial.lasted)  # what fails first tells most
    commands = list(dict.fromkeys(trial.command for trial in worst))
    first = np.clip(_LOOK * worst[0].lasted * _SECONDS, _SHORTEST, _LONGEST)
    for number, (count, seconds, kept) in enumerate(_ROUNDS):
        length = float(first) if number == 0 and not worst[0].up else seconds
        attempts = [attempt for _, attempt in left]
        stage.play(attempts, commands[:count], _SEEDS[:1], length, until_a_fall=True)
        played = [stage.trials(attempt, length) for attempt in attempts]
        costs = [
            cost(walks) + _rarity(change) - _REVIVED * stage.revived(attempt, as_it_is)
            for (change, attempt), walks in zip(left, played, strict=True)
        ]
        ranked = sorted(range(len(left)), key=lambda i: (attempts[i].fell, costs[i]))
        up = [i for i in ranked if not attempts[i].fell][:kept]
        say(f"{len(left)} changes played for {length:.1f} s, {len(up)} go on")
        behind = [left[i][0] for i in ranked[len(up) :]] + behind
        left, trials = [left[i] for i in up], [played[i] for i in up]
        costs = [costs[i] for i in up]
    # With the best of those that mend in front, the rest behind.
    order = sorted(range(len(left)), key=lambda i: bool(_complaint(trials[i])))
    for choose in (_steadiest, _of_one_scale):
        rivals = [
            i
            for i in order
            if i == order[0] or (costs[i] <= costs[order[0]] + _ALIKE and not _complaint(trials[i]))
        ]
        if len(rivals) > 1:
            first = rivals[choose(stage, [left[i] for i in rivals], say)]
            order = [first, *(i for i in order if i != first)]
    found = [left[i][0] for i in order]
    return trials[order[0]] if order else [], found + behind


def _steadiest(stage: Stage, rivals: list[tuple[Change, Attempt]], say: Say) -> int:
    """Return the place of that change which withstands pushes best.

    Undisturbed, a robot hardly tilts and hardly sways: it walks as well with a wrong axis.
    """
    say(f"{len(rivals)} changes that walk alike are pushed")
    again = [Attempt(attempt.fit) for _, attempt in rivals]
    commands = list(dict.fromkeys(command for command, _ in rivals[0][1].walks))
    stage.play(again, commands, _SEEDS, _PUSHED, pushed=True)
    costs = [
        cost(stage.trials(attempt, _PUSHED)) + _rarity(change)
        for attempt, (change, _) in zip(again, rivals, strict=True)
    ]
    return int(np.argmin(costs))


def _of_one_scale(stage: Stage, rivals: list[tuple[Change, Attempt]], _: Say) -> int:
    """Return the place of that scale of the first's term that is most likely meant.

    A policy walks as well with half a value as with a third of it. Its normaliser tells how large
    the network saw it in training, and people write round scales, 1 most of all.
    """
    best = rivals[0][0]
    alike = [
        i
        for i, (change, _) in enumerate(rivals)
        if change.kind == best.kind == "scale"
        and change.mend.partition(" by ")[0] == best.mend.partition(" by ")[0]
    ]
    if len(alike) < 2:
        return 0
    scales = np.array([[c.scale for c in rivals[i][1].fit.contract.observation] for i in alike])
    changed = np.any(scales != scales[0], axis=0)
    odd = [max(map(_oddness, row[changed]), default=0.0) for row in scales]
    sights = [stage.sight(rivals[i][1]) for i in alike]
    return alike[int(np.argmin(np.add(odd, sights)))]


def _oddness(scale: float) -> float:
    """Return how seldom people write a scale, in the unit of a sight: 1 is a value e times off."""
    if np.isclose(abs(scale), 1.0):
        return 0.0
    return 1.0 if any(np.isclose(abs(scale), each) for each in _ROUND) else 2.0


def _rarity(change: Change) -> float:
    """Return what a change costs by itself: of two that do as well the usual one is meant."""
    return 0.0 if change.kind in _USUAL else _RARE


def _commands(artifact: PolicyArtifact) -> list[Command]:
    """Return the commands to play, within what the policy was trained for."""
    limits = {source: (low, high) for source, low, high in artifact.contract.commands}
    sources = ("cmd_vel.linear:x", "cmd_vel.linear:y", "cmd_vel.angular:z")
    heard = any(c.source.startswith(("cmd_vel.", "twist.")) for c in artifact.contract.observation)
    if not heard:
        return [(0.0, 0.0, 0.0)]
    pairs = [limits.get(source, (-np.inf, np.inf)) for source in sources]
    low, high = (np.array(column) for column in zip(*pairs, strict=True))
    clipped = [np.clip(command, low, high).tolist() for command in COMMANDS]
    return list(dict.fromkeys((x, y, turn) for x, y, turn in clipped))


def _complaint(trials: list[Trial]) -> str:
    """Return what is wrong with how a policy walks, empty if it walks."""
    for trial in trials:
        told = " / ".join(f"{value:g}" for value in trial.command)
        if not trial.up:
            return f"it falls (told {told})"
    for axis, name in enumerate(("forward", "left", "turning")):
        # A command along one axis alone tells; others are judged by falls.
        alone = [t for t in trials if t.command[axis] > 0 and not any(np.delete(t.command, axis))]
        if not alone:
            continue
        asked = alone[0].command[axis]
        made = float(np.mean([trial.velocity[axis] for trial in alone]))
        least = _FOLLOWS * asked if axis == 0 else _AGAINST
        most = _TOO_FAST * asked if axis == 0 else np.inf
        if not least <= made <= most:
            return f"told {asked:g} {name} it makes {made:.2f}"
    sideways = [t for t in trials if t.command[1] > 0 and t.command[0] > 0]
    made = float(np.mean([t.velocity[1] for t in sideways])) if sideways else 0.0
    if made < _AGAINST:
        return f"told {sideways[0].command[1]:g} left it makes {made:.2f}"
    return ""
