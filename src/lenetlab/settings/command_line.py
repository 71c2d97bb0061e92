"""`params.yaml`, read once into frozen models; everything wrong with it is reported at once."""

from lenetlab.errors import UserError
from lenetlab.settings import messages


def stage_arguments(command: list[str], *names: str) -> list[str]:
    """What a stage was called with, as many words as there are names. UserError tells how it has to be called."""
    _, *given = command
    if len(given) != len(names):
        found = " ".join(map(messages.quoted, given)) or "nothing"
        raise UserError(f"{command[0]}: called with {found}; allowed: {' '.join(['python', command[0], *names])}")
    return given
