"""Errors that a user can mend: one sentence, an exit code, no traceback."""


class UserError(ValueError):
    """Bad input. Its text is one sentence that names the key, file or class and says what would be right."""

    exit_code = 1


class ConfigError(UserError):
    """A config value is wrong; raised before any data is read."""

    exit_code = 2


class DataError(UserError):
    """A data folder or an image is missing, damaged or of the wrong kind."""


class StoreError(UserError):
    """A store entry or a run folder is missing or damaged."""


class NonFiniteError(UserError):
    """A loss or gradient was NaN or infinite; no weight was changed by it."""
