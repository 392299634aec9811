"""``python -m pettingllms`` is the same as the ``pettingllms`` command."""

from pettingllms.cli.main import run

if __name__ == "__main__":
    run()
