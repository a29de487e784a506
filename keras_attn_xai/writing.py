"""All or nothing: files and folders that are there whole, or not at all."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def refuse_foreign(path, *, ours):
    """Refuse a path that `whole_folder` would; for asking before long work.

    Parameters
    ----------
    path : str or path
    ours : str

    Raises
    ------
    FileExistsError
        A file, or a folder that is not empty and does not hold ``ours``.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / ours).exists())):
        raise FileExistsError(f"{path} exists and does not hold {ours}; choose another path or remove it first.")


@contextlib.contextmanager
def whole_folder(path, *, ours):
    """Fill a new folder beside ``path``, then put it in its place.

    Parameters
    ----------
    path : str or path
    ours : str
        A file whose presence shows that an existing folder was written by the same function and may
        be replaced; any other existing, non-empty folder is refused.

    Yields
    ------
    pathlib.Path
        An empty folder to fill. If the block raises, it is removed and ``path`` is as before.

    Raises
    ------
    FileExistsError
        Something else is at ``path``.
    """
    path = Path(path)
    refuse_foreign(path, ours=ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        fresh.chmod(0o755)
        yield fresh
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            os.replace(path, old / "old")
            os.replace(fresh, path)
            shutil.rmtree(old)
        else:
            os.replace(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_whole_file(path, text):
    """Write text beside ``path`` first, then put it in its place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
