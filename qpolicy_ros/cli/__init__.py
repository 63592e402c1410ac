"""The `qpolicy` command; every subcommand is one module with `Args` and `main(args) -> int`."""
