"""Explanations on disk: one npz of arrays and one JSON manifest, without pickle."""

import hashlib
import json
from pathlib import Path

import numpy as np

from keras_attn_xai.errors import FileFormatError
from keras_attn_xai.records import AttentionMap, Attribution, Explanation, Provenance, field_names
from keras_attn_xai.writing import whole_folder

FORMAT = "keras-attn-xai explanation"
VERSION = (
    4  # 2: a map may have indices, values and gradients; 3: players of any kind, with axes; 4: what was asked and used
)
READABLE = (1, 2, 3, 4)
ARRAYS, MANIFEST = "arrays.npz", "manifest.json"


def save_explanation(explanation, path):
    """Write an explanation to a folder.

    Parameters
    ----------
    explanation : Explanation
    path : str or path
        The folder; a bundle already there is replaced. It appears whole or not at all.

    Returns
    -------
    pathlib.Path
        The folder, holding ``arrays.npz`` and ``manifest.json``.

    Raises
    ------
    FileExistsError
        Something that is not a bundle is at ``path``.

    Examples
    --------
    >>> import tempfile
    >>> from keras_attn_xai import Explanation, Provenance, load_explanation, save_explanation
    >>> empty = Explanation((), (), (("a", "b"),), Provenance("model"))
    >>> load_explanation(save_explanation(empty, tempfile.mkdtemp())).labels
    (('a', 'b'),)
    """
    arrays: dict[str, np.ndarray] = {}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "explanation": _described(explanation, "explanation", arrays),
    }
    with whole_folder(path, ours=MANIFEST) as folder:
        np.savez_compressed(folder / ARRAYS, **arrays)  # type: ignore[arg-type]
        manifest["sha256"] = hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest()
        text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return Path(path)


def load_explanation(path):
    """Read what `save_explanation` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Explanation

    Raises
    ------
    FileNotFoundError
        There is no bundle.
    FileFormatError
        The files are not a bundle, of a later version, or do not belong together.
    """
    folder = Path(path)
    for name in (MANIFEST, ARRAYS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}; expected a folder written by save_explanation.")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{folder / MANIFEST} is not JSON: {error}.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FileFormatError(f"{folder / MANIFEST} is not a manifest of '{FORMAT}'.")
    if manifest.get("version") not in READABLE:
        raise FileFormatError(
            f"{folder} is a bundle of version {manifest.get('version')}; this library reads versions up to {VERSION}."
        )
    if hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest() != manifest.get("sha256"):
        raise FileFormatError(f"{folder / ARRAYS} is not the file the manifest was written for; the bundle is damaged.")
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        try:
            return _restored(manifest["explanation"], arrays)
        except (KeyError, TypeError) as error:
            raise FileFormatError(f"{folder / MANIFEST} lacks {error} of an explanation.") from None


RECORDS = {kind.__name__: kind for kind in (Explanation, AttentionMap, Attribution, Provenance)}


def _described(value, place, arrays):
    """A record as JSON; its arrays go to ``arrays`` under the place they stand in."""
    if type(value).__name__ in RECORDS:
        fields = {name: _described(getattr(value, name), f"{place}.{name}", arrays) for name in field_names(value)}
        return {"record": type(value).__name__, "fields": fields}
    if isinstance(value, np.ndarray):
        arrays[place] = value
        return {"array": place}
    if isinstance(value, tuple):
        return [_described(one, f"{place}.{i}", arrays) for i, one in enumerate(value)]
    return value


def _restored(described, arrays):
    if isinstance(described, list):
        return tuple(_restored(one, arrays) for one in described)
    if isinstance(described, dict) and "array" in described:
        return arrays[described["array"]]
    if isinstance(described, dict):
        fields = {name: _restored(one, arrays) for name, one in described["fields"].items()}
        return RECORDS[described["record"]](**fields)
    return described
