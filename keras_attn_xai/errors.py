"""The exceptions of the package; each is also the built-in a caller would expect."""


class AttnXaiError(Exception):
    """Base of every error this package raises on purpose."""


class ShapeError(AttnXaiError, ValueError):
    """An array or tensor has the wrong rank or size."""


class MaskError(AttnXaiError, ValueError):
    """A mask is not boolean, or its shape could mean two things."""


class ArgumentError(AttnXaiError, ValueError):
    """An argument has a value the function cannot work with."""


class RecordError(AttnXaiError, ValueError):
    """A record was given data that contradict one another."""


class ModelError(AttnXaiError, ValueError):
    """A model cannot be used this way; the message says what would help."""


class FileFormatError(AttnXaiError, ValueError):
    """A file exists but does not hold what it should."""


class MissingExtraError(AttnXaiError, ImportError):
    """An optional dependency is not installed; the message has the command."""


class MaskWarning(UserWarning):
    """A mask is there, and something in the model does not use it."""


class BackgroundWarning(UserWarning):
    """A background that hides something of the rows it stands against; the message says what would help."""
