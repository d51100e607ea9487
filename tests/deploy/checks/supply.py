"""What Tollgate is built from."""

from lib import TOOLS, check, tool


@check("cargo deny takes the licences, the crates and their sources (advisories need a database from outside: CI)")
def denied():
    tool(TOOLS / "cargo-deny", "--offline", "--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources")
