"""The command-line arguments of a stage script."""

from lenetlab.errors import UserError
from lenetlab.settings.messages import quoted


def stage_arguments(argv: list[str], *names: str) -> list[str]:
    """The arguments in sys.argv, one for each name. UserError if there are more or fewer."""
    script, *arguments = argv
    if len(arguments) != len(names):
        given = " ".join(map(quoted, arguments)) or "no arguments"
        raise UserError(f"{script}: called with {given}; allowed: {' '.join(['python', script, *names])}")
    return arguments
