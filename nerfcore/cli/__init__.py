"""The `nerfcore` command. A subcommand is a dataclass: its fields are options, ``run`` calls one library function."""
