"""What files say of how they were made: the command, whoever called it."""

from __future__ import annotations

import subprocess
import sys

from qpolicy_ros.common.invocation import invocation, invoked

CALLED = """
from qpolicy_ros.common.invocation import invocation
print(invocation())
"""


def test_a_command_is_named_as_it_was_given_even_by_a_script():
    with invoked(["qpolicy", "quantize", "hopper/fp32"]):
        assert invocation() == ["qpolicy", "quantize", "hopper/fp32"]
    assert invocation()[0] == "python"


def test_without_a_command_the_words_are_pythons():
    words = [sys.executable, "-W", "ignore", "-c", CALLED, "more"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"{['python', *words[1:]]}\n"
