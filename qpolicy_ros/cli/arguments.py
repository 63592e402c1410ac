"""Arguments that several subcommands take."""

from __future__ import annotations

from typing import Annotated

import tyro

#: The policy that a subcommand is about, its first argument.
PolicyName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")]
