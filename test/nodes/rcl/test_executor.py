"""The executor with a hot path: what it serves itself, and what it leaves to rclpy."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from qpolicy_ros.nodes.rcl import executor as executor_module
from qpolicy_ros.nodes.rcl.compile import CompileError
from qpolicy_ros.nodes.rcl.executor import HotExecutor
from qpolicy_ros.nodes.rcl.hot import hot

pytestmark = pytest.mark.timeout(60)
STEADY = Clock(clock_type=ClockType.STEADY_TIME)
PATIENCE = 40.0
INFO = (
    "source_timestamp",
    "received_timestamp",
    "publication_sequence_number",
    "reception_sequence_number",
    "publisher_gid",
)


@pytest.fixture
def executor(library, context):
    made = HotExecutor(library, context=context)
    yield made
    made.shutdown()


def spin_until(executor, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "nothing came in time"
        executor.spin_once(timeout_sec=0.1)


def say_until(executor, publisher, condition):
    """Publish anew with each turn until ``condition`` holds."""

    def look():
        publisher.publish(JointState(name=["q"]))
        return condition()

    spin_until(executor, look)


def test_a_message_is_read_in_c_and_its_times_are_rclpys(make_node, executor, library):
    node, seen = make_node("one"), {JointState: {}, library.Message: {}}

    def keep(message, info):
        keys = info if isinstance(info, dict) else INFO  # Jazzy's rclpy leaves one out
        info = {key: info[key] for key in keys}
        assert info["received_timestamp"] > 0
        info["received_timestamp"] = 0  # each its own
        seen[type(message)][info["publication_sequence_number"]] = info

    hot(node.create_subscription(JointState, "x", keep, 10))
    node.create_subscription(JointState, "x", keep, 10)
    executor.add_node(node)
    publisher = node.create_publisher(JointState, "x", 10)
    ours, theirs = seen[library.Message], seen[JointState]
    say_until(executor, publisher, lambda: ours.keys() & theirs.keys())
    number = min(ours.keys() & theirs.keys())
    assert {key: ours[number][key] for key in theirs[number]} == theirs[number]
    assert ours[number]["source_timestamp"] > 0


def test_what_a_message_does_not_say_is_a_key_error(make_node, executor):
    node, seen = make_node("one"), []

    def ask(_, info):
        with pytest.raises(KeyError, match="colour"):
            seen.append(info["colour"])
        seen.append(True)

    hot(node.create_subscription(JointState, "x", ask, 10))
    executor.add_node(node)
    say_until(executor, node.create_publisher(JointState, "x", 10), lambda: seen)
    assert all(seen)


def test_timers_services_guards_and_tasks_are_served_beside(make_node, executor):
    node, asker, seen = make_node("one"), make_node("asker"), set()
    hot(node.create_timer(0.01, lambda: seen.add("hot timer"), clock=STEADY))
    node.create_timer(0.01, lambda: seen.add("timer"), clock=STEADY)

    def answer(_, response):
        seen.add("service")
        return response

    node.create_service(Trigger, "service", answer)
    guard = node.create_guard_condition(lambda: seen.add("guard"))
    executor.add_node(node)
    executor.add_node(asker)
    client = asker.create_client(Trigger, "service")
    spin_until(executor, client.service_is_ready)
    answered = client.call_async(Trigger.Request())
    guard.trigger()
    executor.create_task(lambda: seen.add("task"))
    spin_until(executor, answered.done)
    wanted = {"hot timer", "timer", "service", "guard", "task"}
    spin_until(executor, lambda: seen == wanted)


def test_a_hot_timer_keeps_its_rate(make_node, executor):
    node, ticks = make_node("one"), []
    hot(node.create_timer(0.005, lambda: ticks.append(1), clock=STEADY))
    executor.add_node(node)
    start = time.monotonic()
    spin_until(executor, lambda: len(ticks) == 100)
    assert time.monotonic() - start > 0.49


def test_a_cancelled_hot_timer_is_not_called(make_node, executor):
    node, ticks, others = make_node("one"), [], []
    timer = hot(node.create_timer(0.001, lambda: ticks.append(1), clock=STEADY))
    node.create_timer(0.01, lambda: others.append(1), clock=STEADY)
    timer.cancel()
    executor.add_node(node)
    spin_until(executor, lambda: len(others) == 5)
    assert not ticks


@pytest.mark.parametrize("first", [True, False])
def test_any_other_executor_serves_them_too(make_node, executor, context, first):
    node, seen = make_node("one"), []
    hot(node.create_subscription(JointState, "x", lambda m: seen.append(type(m)), 10))
    publisher = node.create_publisher(JointState, "x", 10)
    if first:  # before and after the node was with a hot executor
        executor.add_node(node)
        say_until(executor, publisher, lambda: seen)
        executor.shutdown()
        seen.clear()
    other = SingleThreadedExecutor(context=context)
    other.add_node(node)
    say_until(other, publisher, lambda: seen)
    assert seen[0] is JointState
    other.shutdown()


def test_a_subscription_that_was_destroyed_is_served_no_more(make_node, executor):
    node, seen = make_node("one"), []
    taken = hot(node.create_subscription(JointState, "x", seen.append, 10))
    publisher = node.create_publisher(JointState, "x", 10)
    executor.add_node(node)
    say_until(executor, publisher, lambda: seen)
    gone = []

    def destroy():
        for _ in range(5):
            publisher.publish(JointState())
        node.destroy_subscription(taken)
        gone.append(len(seen))

    guard = node.create_guard_condition(destroy)
    executor.wake()
    guard.trigger()
    spin_until(executor, lambda: gone)
    for _ in range(5):
        executor.spin_once(timeout_sec=0.02)
    assert len(seen) == gone[0]


def test_a_subscription_that_is_made_later_is_served(make_node, executor):
    node, seen = make_node("one"), []
    publisher = node.create_publisher(JointState, "x", 10)
    executor.add_node(node)
    executor.spin_once(timeout_sec=0.0)
    hot(node.create_subscription(JointState, "x", seen.append, 10))
    say_until(executor, publisher, lambda: seen)


@pytest.mark.parametrize("mark", [hot, lambda timer: timer], ids=["hot", "rclpy's"])
def test_what_a_callback_raises_comes_out(make_node, executor, mark):
    node = make_node("one")

    def wrong():
        raise OSError("the bus is gone")

    mark(node.create_timer(0.001, wrong, clock=STEADY))
    executor.add_node(node)
    with pytest.raises(OSError, match="the bus is gone"):
        spin_until(executor, lambda: False)


def test_another_thread_can_end_the_wait(make_node, executor):
    executor.add_node(make_node("one"))
    done: Future[None] = Future(executor=executor)
    threading.Timer(0.2, lambda: done.set_result(None)).start()
    executor.spin_until_future_complete(done)
    assert done.done()


@pytest.mark.parametrize("nodes", [0, 1])
def test_a_wait_ends_in_time(make_node, executor, nodes):
    for index in range(nodes):
        executor.add_node(make_node(f"node_{index}"))
    for _ in range(10):
        executor.spin_once(timeout_sec=0.0)
    start = time.monotonic()
    executor.spin_once(timeout_sec=0.2)
    assert time.monotonic() - start < PATIENCE


def test_a_node_that_was_removed_is_served_no_more(make_node, executor):
    node, other, ticks, others = make_node("one"), make_node("other"), [], []
    hot(node.create_timer(0.001, lambda: ticks.append(1), clock=STEADY))
    other.create_timer(0.01, lambda: others.append(1), clock=STEADY)
    executor.add_node(node)
    executor.add_node(other)
    spin_until(executor, lambda: ticks)
    executor.remove_node(node)
    executor.spin_once(timeout_sec=0.0)
    count = len(ticks)
    others.clear()
    spin_until(executor, lambda: len(others) == 3)
    assert len(ticks) == count


def test_two_executors_in_one_process_serve_a_node_each(make_node, library, context):
    seen, executors = {"a": [], "b": []}, []
    for name, found in seen.items():
        node = make_node(name)
        hot(node.create_subscription(JointState, "x", found.append, 10))
        executors.append(HotExecutor(library, context=context))
        executors[-1].add_node(node)
    publisher = make_node("c").create_publisher(JointState, "x", 10)
    for executor, found in zip(executors, seen.values(), strict=True):
        say_until(executor, publisher, lambda found=found: found)
    for executor in executors:
        executor.shutdown()


def test_two_nodes_in_one_executor_are_both_served(make_node, executor):
    seen = {"a": [], "b": []}
    for name, found in seen.items():
        node = make_node(name)
        hot(node.create_subscription(JointState, "x", found.append, 10))
        executor.add_node(node)
    publisher = make_node("c").create_publisher(JointState, "x", 10)
    say_until(executor, publisher, lambda: all(seen.values()))


def test_a_type_without_a_layout_is_left_to_rclpy(make_node, executor, monkeypatch):
    def none(_):
        raise CompileError("no layout")

    monkeypatch.setattr(executor_module, "layout", none)
    node, seen = make_node("one"), []
    hot(node.create_subscription(JointState, "x", lambda m: seen.append(type(m)), 10))
    publisher = node.create_publisher(JointState, "x", 10)
    executor.add_node(node)
    say_until(executor, publisher, lambda: seen)
    assert seen[0] is JointState


def test_a_callback_cannot_change_the_set_that_calls_it(make_node, executor):
    node = make_node("one")
    hot(node.create_timer(0.001, executor.shutdown, clock=STEADY))
    executor.add_node(node)
    with pytest.raises(RuntimeError, match="not from a callback of it"):
        spin_until(executor, lambda: False)


def test_its_thread_ends_with_it(make_node, library, context):
    before = threading.active_count()
    executor = HotExecutor(library, context=context)
    executor.add_node(make_node("one"))
    executor.spin_once(timeout_sec=0.0)
    assert threading.active_count() == before + 1
    executor.shutdown()
    assert threading.active_count() == before


def test_messages_leave_no_memory_behind(make_node, executor):
    node, seen = make_node("one"), []
    hot(
        node.create_subscription(
            JointState,
            "x",
            lambda m, i: seen.append(len(m.name) + len(m.position) + len(i["publisher_gid"])),
            10,
        )
    )
    publisher = node.create_publisher(JointState, "x", 10)
    message = JointState(name=[f"joint_{i}" for i in range(50)], position=[0.5] * 50)
    executor.add_node(node)

    def exchange(count):
        seen.clear()
        while len(seen) < count:
            publisher.publish(message)
            executor.spin_once(timeout_sec=0.1)
        return int(Path("/proc/self/statm").read_text().split()[1])

    exchange(500)
    pages = exchange(10)
    assert exchange(2000) - pages < 250  # 50 values alone are 1.5 MB by then


def test_waking_for_nothing_is_not_repeated_for_ever(make_node, executor):
    executor.add_node(make_node("one"))
    assert waits(executor, 0.1)
    executor._rest_ready.trigger()  # what is left where the other thread was parked meanwhile
    assert waits(executor, 0.1)


EXPIRING = QoSProfile(depth=5, lifespan=Duration(seconds=0.05))


@pytest.mark.parametrize("mark", [hot, lambda taken: taken], ids=["hot", "rclpy's"])
def test_a_message_that_has_expired_does_not_end_every_wait(make_node, executor, mark):
    node, seen = make_node("one"), []
    mark(node.create_subscription(JointState, "x", seen.append, EXPIRING))
    publisher = make_node("other").create_publisher(JointState, "x", EXPIRING)
    executor.add_node(node)
    say_until(executor, publisher, lambda: seen)
    let_expire(executor, lambda: publisher.publish(JointState()))
    assert waits(executor, 0.2)
    seen.clear()
    say_until(executor, publisher, lambda: seen)


def test_a_request_that_has_expired_does_not_end_every_wait(make_node, executor):
    node, other, seen = make_node("one"), make_node("other"), []
    node.create_service(Trigger, "s", lambda _, answer: answer, qos_profile=EXPIRING)
    client = other.create_client(Trigger, "s", qos_profile=EXPIRING)
    node.create_timer(0.01, lambda: seen.append(client.service_is_ready()), clock=STEADY)
    executor.add_node(node)
    spin_until(executor, lambda: any(seen))
    node.destroy_timer(next(iter(node.timers)))
    let_expire(executor, lambda: client.call_async(Trigger.Request()))
    assert waits(executor, 0.2)


def let_expire(executor, send):
    """Send what nobody takes in time, then see it end a wait for nothing."""
    executor.spin_once(timeout_sec=0.0)
    executor._watch.park()
    before, end = executor.empty_waits, time.monotonic() + PATIENCE
    while executor.empty_waits == before:  # it may have been taken before it expired
        assert time.monotonic() < end, "nothing has expired"
        executor._watch.park()
        send()
        time.sleep(0.2)  # its lifespan
        executor.spin_once(timeout_sec=0.0)
        executor.spin_once(timeout_sec=0.01)


def waits(executor, seconds):
    """Whether one of a few waits lasts, as nothing is there."""

    def wait():
        start = time.monotonic()
        executor.spin_once(timeout_sec=seconds)
        return time.monotonic() - start >= seconds

    return any(wait() for _ in range(10))
