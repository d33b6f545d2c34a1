"""What can go wrong for a person, with the exit code that each kind ends in.

Every message is one sentence that says what was expected, what came and what to do.
The doors (`python -m flaxformer_mt.train` ...) print it on one line of stderr and
exit with `exit_code`; anything that is not one of these is a bug of ours.
"""


class FlaxformerError(Exception):
    """A failure that the person at the keyboard can mend."""

    exit_code = 1


class InputError(FlaxformerError, ValueError):
    """An option, a file or a text is not what was expected."""

    exit_code = 2


class DivergedError(FlaxformerError, ArithmeticError):
    """The numbers of a training run stopped being finite."""

    exit_code = 3


class StorageError(FlaxformerError, OSError):
    """A run folder could not be written, or holds no undamaged checkpoint."""

    exit_code = 4


class RunBusyError(FlaxformerError):
    """Another process is writing to the same run folder."""

    exit_code = 5


class StoppedError(FlaxformerError):
    """A run was asked to stop (Ctrl-C, SIGTERM) and has saved what it had."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def first_line_of(error: Exception) -> str:
    """What a foreign error says, for a sentence of ours: its first line, unended."""
    return str(error).split("\n")[0].rstrip(". ")
