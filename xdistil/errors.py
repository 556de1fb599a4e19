"""The one error that a user of the scripts sees as a line, not as a stack trace."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one line: the file and line number where there is one, what was found, what was
    expected, and what to do. Scripts print it and exit with status 2.
    """


class StorageError(InputError):
    """A file could not be written: a full disk, a folder that is read-only.

    Nothing that was there before is damaged; the same command goes on once there is room.
    """
