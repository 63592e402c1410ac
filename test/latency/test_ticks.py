"""Which answer belongs to whom, what is lost, and which clocks may be compared."""

from __future__ import annotations

import numpy as np
import pytest
from bags import (
    DIAGNOSTICS,
    JOINT_STATE,
    PERIOD,
    STAGES,
    WALL,
    Message,
    answers,
    joint_state,
    reported,
    write_bag,
)
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros.latency import mcap
from qpolicy_ros.latency.bag import BagError, open_bag
from qpolicy_ros.latency.ticks import read_ticks
from qpolicy_ros.latency.trace import read_trace
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter


def ticks_of(tmp_path, messages, namespace=""):
    return read_ticks(read_trace(open_bag(write_bag(tmp_path / "bag", messages)), namespace))


def without(messages, topic, *indexes):
    """Drop the messages of a topic at these places."""
    own = [each for each in messages if each.topic == topic]
    gone = [own[index] for index in indexes]
    return [each for each in messages if each not in gone]


def test_latency_is_age_and_total(tmp_path):
    ticks = ticks_of(tmp_path, answers([400.0, 800.0]))
    assert ticks.latency.tolist() == [400.0, 800.0]
    assert ticks.meaning == "observation sent to action published"
    assert sum(ticks.stages.values()).tolist() == [400.0, 800.0]
    assert ticks.stages["transport"].tolist() == [50.0, 100.0]
    assert ticks.stages["queue"].tolist() == [50.0, 100.0]
    assert ticks.period == PERIOD / 1000.0


def test_a_swap_is_seen_at_its_answer(tmp_path):
    second = answers([300.0] * 4, "fp32", start=WALL + 5 * PERIOD, stamp=6 * PERIOD)
    ticks = ticks_of(tmp_path, answers([300.0] * 5) + second)
    assert ticks.swaps.tolist() == [5]
    assert ticks.backends.tolist() == ["integer"] * 5 + ["fp32"] * 4
    assert ticks.rank.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]


def test_losses_are_counted_by_backend(tmp_path):
    first = without(answers([300.0] * 10), "/action_stamped", 4, 5)
    first = without(first, "/timing", 4, 5)
    second = answers([300.0] * 10, "fp32", start=WALL + 10 * PERIOD, stamp=11 * PERIOD)
    again = next(each for each in second if each.topic == "/action_stamped")
    second.append(again._replace(log=again.log + 10))
    ticks = ticks_of(tmp_path, first + second)
    assert ticks.drops == {"integer": 2, "fp32": 0}
    assert ticks.duplicates == {"integer": 0, "fp32": 1}
    assert ticks.untimed == 0


def test_a_refused_observation_is_no_drop(tmp_path):
    """It is answered by the safe action, without timing."""
    ticks = ticks_of(tmp_path, without(answers([300.0] * 10), "/timing", 4))
    assert ticks.drops == {"integer": 0}
    assert ticks.untimed == 1


def test_an_observation_sent_again_is_counted_once(tmp_path):
    messages = answers([300.0] * 10)
    again = [each for each in messages if each.topic == "/observation"][3]
    ticks = ticks_of(tmp_path, [*messages, again._replace(log=again.log + PERIOD // 2)])
    assert ticks.resent == 1
    assert ticks.drops == {"integer": 0}


def test_observations_before_the_policy_are_no_drops(tmp_path):
    early = [each for each in answers([300.0] * 5) if each.topic == "/observation"]
    late = answers([300.0] * 5, start=WALL + 5 * PERIOD, stamp=6 * PERIOD)
    assert ticks_of(tmp_path, early + late).drops == {"integer": 0}


def test_a_simulation_started_anew_is_a_reset_not_a_loss(tmp_path):
    """Stamps begin again: equal stamps of the two runs are different observations."""
    second = answers([300.0] * 6, "fp32", start=WALL + 100 * PERIOD)
    ticks = ticks_of(tmp_path, answers([300.0] * 6) + second)
    assert ticks.run.tolist() == [0] * 6 + [1] * 6
    assert len(ticks.resets) == 1
    assert len(ticks.swaps) == 0
    assert ticks.drops == ticks.duplicates == {"integer": 0, "fp32": 0}
    assert ticks.resent == 0


def test_an_ended_episode_is_a_reset(tmp_path):
    data = joint_state(5 * PERIOD, ["return"], [1.0])
    end = Message("/episode", JOINT_STATE, WALL + 3 * PERIOD, data)
    assert ticks_of(tmp_path, [*answers([300.0] * 5), end]).resets.tolist() == [WALL + 3 * PERIOD]


def test_round_trips_are_put_beside_their_answers(tmp_path):
    messages = answers([300.0] * 4)
    for stamp, took in ((2, 700.0), (3, 900.0)):
        data = joint_state(stamp * PERIOD, ["round_trip"], [took])
        messages.append(Message("/round_trip", JOINT_STATE, WALL + stamp * PERIOD, data))
    found = ticks_of(tmp_path, messages).round_trip
    assert found[1:3].tolist() == [700.0, 900.0]
    assert np.isnan(found[[0, 3]]).all()


def test_without_timing_the_recorders_times_are_used(tmp_path):
    messages = [each for each in answers([300.0, 500.0, 400.0]) if each.topic != "/timing"]
    ticks = ticks_of(tmp_path, [reported(WALL - 1, backend="fp32"), *messages])
    assert ticks.latency.tolist() == [300.0, 500.0, 400.0]
    assert ticks.backends.tolist() == ["fp32"] * 3
    assert ticks.meaning == "observation recorded to action recorded"
    assert ticks.stages == {}


def test_an_older_recording_names_backends_by_the_diagnostics(tmp_path):
    messages = [reported(WALL - 1), reported(WALL + 3 * PERIOD, backend="fp32")]
    ticks = ticks_of(tmp_path, messages + answers([300.0] * 6, backend=""))
    assert ticks.backends.tolist() == ["integer"] * 3 + ["fp32"] * 3


def test_an_unknown_age_leaves_callback_to_action(tmp_path):
    messages = []
    for index in range(4):
        stages = [np.nan, np.nan, 1.0, 2.0, 3.0, 7.0]
        data = joint_state((index + 1) * PERIOD, STAGES, stages, "integer")
        messages.append(Message("/timing", JOINT_STATE, WALL + index * PERIOD, data))
    ticks = ticks_of(tmp_path, messages)
    assert ticks.latency.tolist() == [7.0] * 4
    assert ticks.meaning == "callback to action published"
    assert any("age is unknown" in note for note in ticks.notes)
    assert ticks.drops is None


def test_one_topic_with_two_clocks_is_refused(tmp_path):
    messages = answers([300.0] * 5) + answers([300.0] * 5, start=10**9, stamp=6 * PERIOD)
    with pytest.raises(BagError, match=r"clocks: log of observation are .* then wall time"):
        ticks_of(tmp_path, sorted(messages, key=lambda each: each.log))


def test_two_topics_with_two_clocks_are_refused(tmp_path):
    messages = [
        each._replace(log=each.log - WALL) if each.topic == "/timing" else each
        for each in answers([300.0] * 5)
    ]
    with pytest.raises(BagError, match=r"clocks: log times: .*timing in simulated"):
        ticks_of(tmp_path, messages)


def test_stamps_of_two_clocks_are_refused(tmp_path):
    messages = answers([300.0] * 5) + answers([300.0] * 5, start=WALL + 5 * PERIOD, stamp=WALL)
    with pytest.raises(BagError, match="clocks: stamps of observation"):
        ticks_of(tmp_path, messages)


def test_arrival_in_simulated_and_sending_in_wall_time_are_not_subtracted(tmp_path):
    """What rosbag2 records under use_sim_time."""
    types = get_typestore(Stores.ROS2_JAZZY)
    definition, _ = types.generate_msgdef(JOINT_STATE, ros_version=2)
    writer = McapWriter(tmp_path / "bag.mcap", "test")
    channels = {}
    for each in answers([300.0] * 8):
        if each.topic not in channels:
            channels[each.topic] = writer.add_channel(each.topic, JOINT_STATE, definition, "")
        writer.write(channels[each.topic], each.log - WALL, each.log, 0, each.data)
    writer.close()
    ticks = read_ticks(read_trace(open_bag(tmp_path / "bag.mcap")))
    assert ticks.clock == "publish"
    assert any("different clocks" in note for note in ticks.notes)
    assert np.diff(ticks.times).tolist() == [PERIOD] * 7


def test_a_bag_in_simulated_time_has_latencies_but_no_clock(tmp_path):
    ticks = ticks_of(tmp_path, answers([300.0] * 5, start=10**9))
    assert ticks.clock == ""
    assert ticks.latency.tolist() == [300.0] * 5


def test_a_robot_that_stamps_in_wall_time_has_an_age_by_stamp(tmp_path):
    stamp = WALL - 2_000_000  # measured 2 ms before it was sent
    ticks = ticks_of(tmp_path, answers([300.0] * 5, stamp=stamp))
    assert ticks.age is None  # the recorder's arrival is not the sending
    file = tmp_path / "sent.mcap"
    definition, _ = get_typestore(Stores.ROS2_JAZZY).generate_msgdef(JOINT_STATE, ros_version=2)
    writer = McapWriter(file, "test")
    channel = writer.add_channel("/timing", JOINT_STATE, definition, "")
    for each in answers([300.0] * 5, stamp=stamp):
        if each.topic == "/timing":
            writer.write(channel, each.log + 500, each.log, 0, each.data)
    writer.close()
    age = read_ticks(read_trace(open_bag(file))).age
    assert age is not None
    assert age.tolist() == [2301.0] * 5


def test_two_policies_in_one_bag_need_a_namespace(tmp_path):
    messages = answers([300.0] * 3, prefix="/left") + answers([500.0] * 3, prefix="/right")
    with pytest.raises(BagError, match="/left, /right"):
        ticks_of(tmp_path, messages)
    trace = read_trace(open_bag(tmp_path / "bag"), "right")
    assert read_ticks(trace).latency.tolist() == [500.0] * 3
    with pytest.raises(BagError, match="'middle' has no timing"):
        read_trace(open_bag(tmp_path / "bag"), "middle")


def test_a_bag_without_our_topics_names_those_it_has(tmp_path):
    bag = write_bag(tmp_path / "bag", [reported()])
    with pytest.raises(BagError, match="among /diagnostics"):
        read_trace(open_bag(bag))


def test_timing_of_another_node_is_refused(tmp_path):
    data = joint_state(PERIOD, ["total"], [1.0], "integer")
    with pytest.raises(BagError, match="timing: stages total lack infer"):
        ticks_of(tmp_path, [Message("/timing", JOINT_STATE, WALL, data)])


def test_answers_without_an_age_are_left_out_where_they_are_few(tmp_path):
    messages = answers([300.0] * 200)
    stages = [np.nan, np.nan, 1.0, 1.0, 1.0, 3.0]
    data = joint_state(201 * PERIOD, STAGES, stages, "integer")
    late = Message("/timing", JOINT_STATE, WALL + 200 * PERIOD, data)
    ticks = ticks_of(tmp_path, [*messages, late])
    assert np.isnan(ticks.latency[200])
    assert ticks.latency[:200].tolist() == [300.0] * 200
    assert "1 answers without the observation's age are left out" in ticks.notes


def test_without_timing_simulated_times_give_no_latency(tmp_path):
    messages = [each for each in answers([300.0] * 3, start=10**9) if each.topic != "/timing"]
    with pytest.raises(BagError, match="clocks: no timing topic, and times are simulated"):
        ticks_of(tmp_path, messages)


def test_actions_that_answer_nothing_are_no_answers(tmp_path):
    data = joint_state(99 * PERIOD, ["u"], [0.5])
    lonely = Message("/action_stamped", JOINT_STATE, WALL, data)
    messages = [each for each in answers([300.0] * 3) if each.topic == "/observation"]
    with pytest.raises(BagError, match="answers: there are none"):
        ticks_of(tmp_path, [lonely, *messages])


def test_a_backend_that_nothing_names_is_unknown(tmp_path):
    ticks = ticks_of(tmp_path, answers([300.0] * 3, backend=""))
    assert ticks.backends.tolist() == ["unknown"] * 3
    assert "the bag does not say which backend answered" in ticks.notes


@pytest.mark.parametrize(
    ("topic", "kind"), [("/timing", JOINT_STATE), ("/diagnostics", DIAGNOSTICS)]
)
def test_a_message_that_is_none_is_named_by_its_topic(tmp_path, topic, kind):
    messages = [*answers([300.0] * 3), Message(topic, kind, WALL, b"\0\1\0\0")]
    with pytest.raises(BagError, match=f"{topic}: a message is cut.*record {kind} on this topic"):
        ticks_of(tmp_path, messages)


def test_stages_that_change_within_a_bag_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mcap, "BATCH", 4)
    older = joint_state(9 * PERIOD, ["infer", "total"], [1.0, 2.0], "integer")
    later = [Message("/timing", JOINT_STATE, WALL + (9 + i) * PERIOD, older) for i in range(8)]
    with pytest.raises(BagError, match=r"timing: names change: .* and"):
        ticks_of(tmp_path, answers([300.0] * 8) + later)
