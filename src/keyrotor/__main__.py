"""`python -m keyrotor`."""

from keyrotor.cli import main

main(prog_name="keyrotor")
