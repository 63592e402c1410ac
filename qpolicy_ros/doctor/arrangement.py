"""Changes of the order of a contract's values: joints, terms, histories, quaternions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from qpolicy_ros.doctor.fit import Change, Fit, base_of
from qpolicy_ros.doctor.orders import joint_orders
from qpolicy_ros.policy import Channel, Contract
from qpolicy_ros.policy.sources import (
    HISTORY,
    JOINT_STATES,
    PREVIOUS_ACTION,
    PREVIOUS_OUTPUT,
    parse_source,
)


def arrangements(contract: Contract, model: Any) -> Iterator[Change]:
    """Yield every other order of a contract's values that people give them."""
    names = [action.name for action in contract.action]
    driven = {model.joint(i).name for i in range(model.njnt)}
    orders = joint_orders(names, model) if set(names) <= driven else {}
    listed = _listed(contract, names)
    if sorted(listed) == sorted(names) and listed != names:
        yield _order("of the actions", names, seen=True, done=False)
        yield _order("of the observation", listed, seen=False, done=True)
    for called, order in orders.items():
        yield _order(called, order, seen=True, done=True)
        yield _order(called, order, seen=True, done=False)
        yield _order(called, order, seen=False, done=True)
        yield _order(called, order, seen=True, done=True, numbers=True)
    yield from _exchanges(contract)
    yield from _histories(contract)
    yield from _forgotten(contract)
    yield from _quaternions(contract)


# Orders ------------------------------------------------------------------------------------


def _order(
    called: str, order: Sequence[str], *, seen: bool, done: bool, numbers: bool = False
) -> Change:
    """The joints in another order; ``numbers``: offsets and scales stay where they are."""

    def apply(fit: Fit) -> Fit:
        names = [action.name for action in fit.contract.action]
        channels = list(fit.contract.observation)
        if seen:
            for places in _joint_runs(fit.contract, names):
                by_joint = {_joint(fit.contract, channels[p]): channels[p] for p in places}
                old = [channels[p] for p in places]
                present = [name for name in order if name in by_joint]
                if len(present) != len(places):
                    continue  # one joint several times: a history that was lost
                for place, was, name in zip(places, old, present, strict=True):
                    other = by_joint[name]
                    if not numbers:
                        channels[place] = other
                    elif not was.source.startswith(f"{HISTORY}."):  # which is of its own entry
                        channels[place] = replace(was, source=other.source)
        actions, scale, bias = list(fit.contract.action), fit.scale, fit.bias
        if done:
            take = [names.index(name) for name in order]
            moved = [actions[index] for index in take]
            if numbers:
                pairs = zip(actions, moved, strict=True)
                actions = [
                    replace(
                        other,
                        scale=was.scale,
                        offset=was.offset,
                        low=min(other.low, was.low),
                        high=max(other.high, was.high),
                    )
                    for was, other in pairs
                ]
            else:
                actions, scale, bias = moved, scale[take], bias[take]
        contract = replace(fit.contract, observation=tuple(channels), action=tuple(actions))
        return Fit(contract, scale, bias)

    where = {
        (True, True): "",
        (True, False): " of the observation",
        (False, True): " of the actions",
    }
    scope = where[seen, done]
    stay = ", each entry's numbers stay" if numbers else ""
    return Change(
        f"order of the joints{scope}{stay}",
        f"put the joints{scope} in the order {called}{stay}: {', '.join(order)}",
        "order",
        apply,
    )


def _joint_runs(contract: Contract, names: Sequence[str]) -> list[list[int]]:
    """Return the places of the channels that list the joints: one run a field and a tick."""
    runs: dict[tuple[str, str, int], list[int]] = {}
    for place, channel in enumerate(contract.observation):
        base, ticks = base_of(contract, channel)
        source = parse_source(base.source)
        if source.key in names and source.topic in (JOINT_STATES, PREVIOUS_ACTION, PREVIOUS_OUTPUT):
            runs.setdefault((source.topic, source.field, ticks), []).append(place)
    return list(runs.values())


def _listed(contract: Contract, names: Sequence[str]) -> list[str]:
    """Return the joints in the order of the observation's first term that has them all."""
    for places in _joint_runs(contract, names):
        if len(places) == len(names):
            return [_joint(contract, contract.observation[place]) for place in places]
    return []


def _joint(contract: Contract, channel: Channel) -> str:
    return parse_source(base_of(contract, channel)[0].source).key


# Terms -------------------------------------------------------------------------------------


def _exchanges(contract: Contract) -> Iterator[Change]:
    """Two terms of one length in each other's place; x and y of one term likewise."""
    runs: dict[tuple[str, int], list[int]] = {}
    for place, channel in enumerate(contract.observation):
        base, ticks = base_of(contract, channel)
        term = base.source.partition(":")[0]
        runs.setdefault((_TERM.get(term, term), ticks), []).append(place)
    now = [term for term, ticks in runs if not ticks]
    ages = {ticks for _, ticks in runs}
    for index, one in enumerate(now):
        for other in now[index + 1 :]:
            pairs = [(runs.get((one, t), []), runs.get((other, t), [])) for t in ages]
            if all(len(a) == len(b) for a, b in pairs) and len(pairs[0][0]) > 1:
                places = [pair for a, b in pairs for pair in zip(a, b, strict=True)]
                what = f"{_called(one)} and {_called(other)}"
                yield _exchange("terms", f"order of the terms {what}", f"exchange {what}", places)
    for term in now:
        places = []
        for ticks in ages:
            keys = {base_of(contract, contract.observation[p])[0].source[-2:]: p
                    for p in runs.get((term, ticks), [])}  # fmt: skip
            if {":x", ":y"} <= keys.keys():
                places.append((keys[":x"], keys[":y"]))
        if places:
            what = f"x and y of the {_called(term)}"
            yield _exchange("axes", f"order of {what}", f"exchange {what}", places)


def _exchange(kind: str, fault: str, mend: str, places: list[tuple[int, int]]) -> Change:
    def apply(fit: Fit) -> Fit:
        channels = list(fit.contract.observation)
        for one, other in places:
            channels[one], channels[other] = channels[other], channels[one]
        return replace(fit, contract=replace(fit.contract, observation=tuple(channels)))

    return Change(fault, mend, kind, apply)


def _called(term: str) -> str:
    """Return what people call a term: ``imu.angular_velocity`` is the angular velocity."""
    return {
        "joint_states.position": "joint positions",
        "joint_states.velocity": "joint velocities",
        PREVIOUS_ACTION: "previous action",
        PREVIOUS_OUTPUT: "previous output",
        "cmd_vel.linear": "command",
    }.get(term, term.rpartition(".")[2].replace("_", " "))


# Histories and quaternions -----------------------------------------------------------------


def _histories(contract: Contract) -> Iterator[Change]:
    bases = [base_of(contract, channel) for channel in contract.observation]
    if not any(ticks for _, ticks in bases):
        return
    first = {base.name: place for place, (base, ticks) in enumerate(bases) if not ticks}
    yield Change(
        "a history, where the policy takes the newest values alone",
        "give the newest value in the place of every older one",
        "history",
        _newest,
    )
    heads = {
        base.name: base.source.partition(":")[0] for base, ticks in bases if not ticks
    }  # what a term is of
    order = sorted(first, key=first.__getitem__)
    rank = {name: index for index, name in enumerate(order)}
    terms: dict[str, int] = {}
    for name in order:
        terms.setdefault(_TERM.get(heads[name], heads[name]), len(terms))

    def arranged(*, by_term: bool, oldest: bool) -> Callable[[Fit], Fit]:
        def key(place: int) -> tuple[int, ...]:
            base, ticks = bases[place]
            age = -ticks if oldest else ticks
            term = terms[_TERM.get(heads[base.name], heads[base.name])]
            return (term, age, rank[base.name]) if by_term else (age, term, rank[base.name])

        def apply(fit: Fit) -> Fit:
            places = sorted(range(len(bases)), key=key)
            channels = tuple(fit.contract.observation[place] for place in places)
            return replace(fit, contract=replace(fit.contract, observation=channels))

        return apply

    for by_term in (True, False):
        for oldest in (True, False):
            way = f"{'term by term' if by_term else 'tick by tick'}, the {'oldest' if oldest else 'newest'} first"  # noqa: E501
            yield Change(
                "order of the history",
                f"order the history {way}",
                "history",
                arranged(by_term=by_term, oldest=oldest),
            )


def _newest(fit: Fit) -> Fit:
    contract = fit.contract
    channels = [
        replace(base_of(contract, channel)[0], name=channel.name)
        for channel in contract.observation
    ]
    return replace(fit, contract=replace(contract, observation=tuple(channels)))


def _forgotten(contract: Contract) -> Iterator[Change]:
    """A history that was lost: the same value again and again, where older ones belong."""
    places: dict[tuple[object, ...], list[int]] = {}
    for place, channel in enumerate(contract.observation):
        if channel.source.partition(".")[0] == HISTORY:
            return
        numbers = (channel.source, channel.scale, channel.offset, channel.low, channel.high)
        places.setdefault(numbers, []).append(place)
    lengths = {len(found) for found in places.values()}
    if len(lengths) != 1 or lengths == {1}:
        return

    def remembered(*, oldest: bool) -> Callable[[Fit], Fit]:
        def apply(fit: Fit) -> Fit:
            channels = list(fit.contract.observation)
            for found in places.values():
                now = found[-1] if oldest else found[0]
                for ago, place in enumerate(reversed(found) if oldest else found):
                    if ago:
                        source = f"{HISTORY}.{ago}:{channels[now].name}"
                        channels[place] = Channel(channels[place].name, source)
            return replace(fit, contract=replace(fit.contract, observation=tuple(channels)))

        return apply

    for oldest in (True, False):
        way = f"the {'oldest' if oldest else 'newest'} first"
        yield Change(
            "no history: every value is the newest",
            f"give a history of {next(iter(lengths))}, {way}",
            "history",
            remembered(oldest=oldest),
        )


# Sources that are one term together.
_TERM = {"cmd_vel.angular": "cmd_vel.linear", "gait.sin": "gait.cos"}


def _quaternions(contract: Contract) -> Iterator[Change]:
    for topic in ("imu", "odom", "pose"):
        runs: dict[int, dict[str, int]] = {}
        for place, channel in enumerate(contract.observation):
            base, ticks = base_of(contract, channel)
            if base.source.startswith(f"{topic}.orientation:"):
                runs.setdefault(ticks, {})[base.source[-1]] = place
        if not runs or any(set(run) != set("xyzw") for run in runs.values()):
            continue
        listed = "".join(sorted(runs[0], key=runs[0].__getitem__))
        for wanted in {"xyzw", "wxyz"} - {listed}:
            yield _quaternion(topic, wanted, list(runs.values()))


def _quaternion(topic: str, wanted: str, runs: list[dict[str, int]]) -> Change:
    def apply(fit: Fit) -> Fit:
        channels = list(fit.contract.observation)
        for run in runs:
            for place, key in zip(sorted(run.values()), wanted, strict=True):
                channels[place] = fit.contract.observation[run[key]]
        return replace(fit, contract=replace(fit.contract, observation=tuple(channels)))

    mend = f"give the quaternion of {topic} as {', '.join(wanted)}"
    return Change(f"order of the quaternion of {topic}", mend, "quaternion", apply)
