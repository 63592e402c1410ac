"""Where the C part cannot be compiled or does not fit, the reason says what to do."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from qpolicy_ros.nodes.rcl import compile as compile_module
from qpolicy_ros.nodes.rcl.compile import HERE, CompileError, compiled, loaded_library

SOURCE = HERE / "hot_path.c"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "qpolicy" / "rcl"


def refusal(source=SOURCE):
    with pytest.raises(CompileError) as caught:
        compiled(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_compiled_once(cache, monkeypatch):
    library = compiled(SOURCE)
    assert [library] == list(cache.iterdir())
    made = library.stat().st_mtime_ns
    monkeypatch.setattr(compile_module, "_compile", None)
    assert compiled(SOURCE) == library
    assert library.stat().st_mtime_ns == made


def test_another_source_is_another_file(tmp_path):
    other = tmp_path / "hot_path.c"
    other.write_bytes(SOURCE.read_bytes() + b"/* changed */\n")
    assert compiled(other) != compiled(SOURCE)


def test_without_a_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("CC", "no-such-cc")
    assert refusal() == "no C compiler: install gcc, or name one in $CC ('no-such-cc')"


def test_what_the_compiler_refuses_is_quoted(tmp_path, cache):
    wrong = tmp_path / "wrong.c"
    wrong.write_text("int f(void) { return nothing; }\n")
    text = refusal(wrong)
    assert text.startswith("cc refuses it: ")
    assert "nothing" in text
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "set XDG_CACHE_HOME to a writable folder" in refusal()


def test_without_headers_it_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    moved = tmp_path / "lib" / "librcl.so"
    moved.touch()
    monkeypatch.setattr(compile_module, "loaded_library", lambda _: moved)
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert refusal().startswith(f"no headers of rcl beside {moved}")


def test_a_library_that_is_not_loaded_is_named():
    with pytest.raises(CompileError, match=r"librclcpp\.so is not loaded"):
        loaded_library("librclcpp.so")
