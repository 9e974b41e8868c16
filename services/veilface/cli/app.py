"""The `veilface` command. Nothing heavy is imported before a command needs it, so that help comes at once."""

import sys
import traceback

from veilface.cli.exit_codes import ExitCode


def main() -> None:
    """Run the command line and exit with one of `ExitCode`."""
    try:
        from veilface.cli.root import app
    except ModuleNotFoundError as error:
        print(f"veilface: {error.name} is not installed: run pip install 'veilface[cli]'", file=sys.stderr)
        sys.exit(ExitCode.SETUP)
    try:
        app(prog_name="veilface")
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:  # noqa: BLE001 - the edge of the process: Python's own exit code 1 would mean "no match"
        traceback.print_exc()
        print("veilface: this is a bug in the command line; please report the lines above", file=sys.stderr)
        sys.exit(ExitCode.INTERNAL)


if __name__ == "__main__":
    main()
