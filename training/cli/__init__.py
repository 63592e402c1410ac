"""The training room's subcommands of `qpolicy`."""
