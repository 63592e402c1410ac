"""A recording Vivado for tclsh: knows every command and option, does nothing.

The syntax of the commands comes from the package xilinx-language-server; what it lacks is below.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path

# Commands that the package does not have: options with the number of their values, then the
# smallest and largest number of other arguments.
FURTHER = {
    "wait_on_run": ({"-timeout": 1, "-quiet": 0, "-verbose": 0}, 1, 1),
    "ipx::package_project": (
        {
            "-root_dir": 1,
            "-vendor": 1,
            "-library": 1,
            "-taxonomy": 1,
            "-module": 1,
            "-import_files": 0,
            "-set_current": 1,
            "-generated_files": 0,
            "-force": 0,
            "-force_update_compile_order": 0,
            "-archive_source_project": 1,
            "-quiet": 0,
        },
        0,
        0,
    ),
    "ipx::current_core": ({"-quiet": 0}, 0, 1),
    "ipx::infer_bus_interface": ({"-quiet": 0}, 3, 3),
    "ipx::associate_bus_interfaces": (
        {"-busif": 1, "-clock": 1, "-reset": 1, "-clear": 0, "-remove": 0, "-quiet": 0},
        1,
        1,
    ),
    "ipx::create_xgui_files": ({"-logo_file": 1, "-quiet": 0}, 1, 1),
    "ipx::update_checksums": ({"-quiet": 0}, 1, 1),
    "ipx::check_integrity": ({"-xrt": 0, "-kernel": 0, "-quiet": 0}, 1, 1),
    "ipx::save_core": ({"-quiet": 0}, 1, 1),
}
# What Tcl itself has under the same name stays Tcl's.
TCL = {"source", "error", "file", "glob", "set", "list", "proc", "open", "close", "exit", "info"}

STUB = r"""
rename file real_file
proc file {what args} {
    if {$what in {copy mkdir}} { puts [list CALL file $what {*}$args]; return }
    uplevel 1 [list real_file $what {*}$args]
}
proc call {name args} {
    lassign $::syntax($name) options least most
    set others {}
    set dict 0
    for {set i 0} {$i < [llength $args]} {incr i} {
        set word [lindex $args $i]
        if {[regexp {^-[a-zA-Z_]} $word]} {
            if {![dict exists $options $word]} { error "$name: unknown option $word" }
            incr i [dict get $options $word]
            if {$i >= [llength $args]} { error "$name: $word lacks its value" }
            if {$word eq "-dict"} { set dict 1 }
        } else { lappend others $word }
    }
    if {$name eq "set_property" && $dict} { set least 1 }
    set count [llength $others]
    if {$count < $least || ($most >= 0 && $count > $most)} {
        error "$name: $count arguments, takes $least to $most"
    }
    puts [list CALL $name {*}$args]
    if {$name eq "get_property"} {
        set property [lindex $others 0]
        if {[info exists ::properties($property)]} { return $::properties($property) }
    }
    if {[string match create_bd_cell $name]} { return [lindex $others end] }
    return "$name:[join $others ,]"
}
foreach {name} [array names syntax] {
    if {[string match *::* $name]} { namespace eval [namespace qualifiers $name] {} }
    interp alias {} $name {} call $name
}
array set properties {PROGRESS 100% STATUS {write_bitstream Complete!} SLACK 1.25}
array set properties $overrides
set argv [lassign $argv script]
source $script
"""


def syntax():
    """Options and arguments of every command: {name: ({option: values}, least, most)}."""
    spec = importlib.util.find_spec("xilinx_language_server")
    path = Path(next(iter(spec.submodule_search_locations)), "assets", "json", "vivado.json")
    commands = {}
    for name, text in json.loads(path.read_text(encoding="utf-8")).items():
        found = re.search(r"Syntax:\s*\n(.*?)\n\s*\n", text, re.DOTALL)
        if found and name not in TCL:
            commands[name] = _parse(" ".join(found.group(1).split())[len(name) :])
    return {**commands, **FURTHER}


def _parse(text):
    options = {match[1]: 1 if match[2] else 0 for match in re.finditer(r"(-\w+)( <args?>)?", text)}
    rest = re.sub(r"\[?-\w+(?: <args?>)?\]?", "", text)
    required = len(re.findall(r"(?<!\[)<\w+>", rest))
    every = len(re.findall(r"<\w+>", rest))
    return options, required, -1 if "..." in rest else every


def run(script, *arguments, properties=None):
    """Run a script under the stub; return (exit status, calls as lists of words, error text)."""
    lines = [
        f"set {{syntax({name})}} {{{{{' '.join(f'{o} {n}' for o, n in options.items())}}} "
        f"{least} {most}}}"
        for name, (options, least, most) in syntax().items()
    ]
    overrides = " ".join(f"{key} {{{value}}}" for key, value in (properties or {}).items())
    stub = "\n".join(lines) + f"\nset overrides {{{overrides}}}\n" + STUB
    preamble = f"set argv [list {' '.join(f'{{{word}}}' for word in (script, *arguments))}]\n"
    done = subprocess.run(
        ["tclsh"], input=preamble + "if {[catch {" + stub + "} why]} {puts stderr $why; exit 1}\n",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    calls = [line[5:] for line in done.stdout.splitlines() if line.startswith("CALL ")]
    return done.returncode, calls, done.stderr
