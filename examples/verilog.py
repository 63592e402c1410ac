"""Write a policy's Verilog, synthesise it and read the report.

python examples/verilog.py FOLDER [POLICY] [PART]
"""

from __future__ import annotations

from pathlib import Path

from qpolicy_fpga import generate
from qpolicy_fpga.report.report import report
from qpolicy_ros.cli.main import run_script
from qpolicy_ros.policy import find_policy, load_policy


def main(folder: str, name: str = "hopper", part: str = "xc7a15t") -> None:
    """Generate for 100 MHz and the fewest cycles, then print the figures."""
    artifact = load_policy(find_policy(name))
    manifest = generate(artifact, part, 100.0, "latency", Path(folder))
    print(f"{folder}: {', '.join(file for file in manifest.files if file.endswith('.v'))}")
    figures = report(Path(folder))
    for key in ("part", "cycles", "lut", "ff", "bram36", "dsp", "fits"):
        print(f"{key:8} {figures[key]}")


if __name__ == "__main__":
    run_script(main)
