"""Finished stages of an audit on disk, so that one that was interrupted goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attn_xai.auditing.attention_tests import AttentionTest
from keras_attn_xai.auditing.faithfulness_table import Curve, FaithfulnessRow, FaithfulnessTable
from keras_attn_xai.errors import ArgumentError, FileFormatError
from keras_attn_xai.metrics import Interval
from keras_attn_xai.records import Explanation
from keras_attn_xai.report import load_explanation, save_explanation
from keras_attn_xai.writing import refuse_foreign, whole_folder, write_whole_file

FORMAT, VERSION = "keras-attn-xai audit stages", 1
ASKED, STAGE, ARRAYS, EXPLANATION = "asked.json", "stage.json", "arrays.npz", "explanation"


@dataclass(frozen=True, eq=False)
class Stage:
    """What one stage of an audit found: records and arrays alone.

    Parameters
    ----------
    numbers : mapping of str to Interval
        What `judge` reads.
    tests : tuple of AttentionTest
    untested : tuple of str
    table : FaithfulnessTable, optional
    explanation : Explanation, optional
    arrays : mapping of str to array
    """

    numbers: Mapping[str, Interval] = field(default_factory=dict)
    tests: tuple[AttentionTest, ...] = ()
    untested: tuple[str, ...] = ()
    table: FaithfulnessTable | None = None
    explanation: Any = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


RECORDS = {one.__name__: one for one in (Stage, AttentionTest, FaithfulnessTable, FaithfulnessRow, Curve, Interval)}


class Checkpoint:
    """A folder of finished stages, each whole or not there.

    Parameters
    ----------
    folder : str, path or None
        None keeps nothing.
    asked : callable
        Gives a dict of str to anything: what the stages depend on. Called where there is a folder.

    Raises
    ------
    ArgumentError
        The folder holds the stages of something else.
    FileExistsError
        The folder holds other files.
    """

    def __init__(self, folder, asked):
        self._folder: Any = None if folder is None else Path(folder)
        if self._folder is None:
            return
        found = {name: fingerprint(value) for name, value in asked().items()}
        refuse_foreign(self._folder, ours=ASKED)
        if (self._folder / ASKED).exists():
            self._require_same(found)
        else:
            document = {"format": FORMAT, "version": VERSION, "asked": found}
            write_whole_file(self._folder / ASKED, json.dumps(document, indent=1) + "\n")

    def stage(self, name, make):
        """A finished stage, or a new one that is put away once it is finished.

        Parameters
        ----------
        name : str
        make : callable
            Gives a `Stage`.

        Returns
        -------
        Stage

        Raises
        ------
        FileFormatError
            The files of the stage are damaged.
        """
        if self._folder is None:
            return make()
        place = self._folder / name
        if place.exists():
            return _read(place)
        made = make()
        arrays: dict[str, np.ndarray] = {}
        with whole_folder(place, ours=STAGE) as fresh:
            described = _described(made, "stage", arrays, fresh)
            np.savez_compressed(fresh / ARRAYS, **arrays)  # type: ignore[arg-type]
            (fresh / STAGE).write_text(json.dumps(described, ensure_ascii=False) + "\n", encoding="utf-8")
        return made

    def _require_same(self, found):
        try:
            document = json.loads((self._folder / ASKED).read_text(encoding="utf-8"))
            same = (document["format"], document["version"]) == (FORMAT, VERSION)
            before = dict(document["asked"])
        except (ValueError, KeyError, TypeError):
            same, before = False, {}
        if not same:
            raise FileFormatError(f"{self._folder / ASKED} is not of '{FORMAT}', version {VERSION}; remove the folder.")
        others = [name for name in found if found[name] != before.get(name)]
        if others:
            raise ArgumentError(
                f"{self._folder} holds the stages of an audit with another {', '.join(others)}; give this audit a "
                "folder of its own, or remove that one."
            )


def fingerprint(value):
    """A text that is the same for the same value, in every process.

    Parameters
    ----------
    value : model, array, text, number, or a list, tuple or dict of these
        Of a callable or another object only its name counts.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from keras_attn_xai.auditing.checkpoint import fingerprint
    >>> fingerprint([1, 2]) == fingerprint([1, 2]), fingerprint([1, 2]) == fingerprint([1.0, 2.0])
    (True, False)
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _parts(value):
    if isinstance(value, keras.Model):
        yield _architecture(value).encode()
        yield from _parts(value.get_weights())
    elif isinstance(value, Mapping):
        yield b"mapping"
        yield from _parts([one for name in sorted(value, key=repr) for one in (name, value[name])])
    elif isinstance(value, (list, tuple)):
        yield f"{len(value)} of {type(value).__name__}".encode()
        for one in value:
            yield from _parts(one)
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, np.ndarray):
        yield from _parts(value.tolist())
    elif value is None or isinstance(value, (str, int, float, np.generic)):
        yield repr(value).encode()
    else:
        named = value if hasattr(value, "__qualname__") else type(value)
        yield f"{named.__module__}.{named.__qualname__}".encode()


def _architecture(model):
    """What a model is made of, as text; its class where it does not say."""
    try:
        config = keras.saving.serialize_keras_object(model)["config"]
    except (NotImplementedError, TypeError, ValueError):
        config = type(model).__qualname__
    return json.dumps(config, sort_keys=True, default=lambda one: type(one).__qualname__)


def _described(value, place, arrays, folder):
    """A stage as JSON; its arrays go to ``arrays`` under the place they stand in, an explanation to its own folder."""
    if isinstance(value, Explanation):
        save_explanation(value, folder / EXPLANATION)
        return {"explanation": EXPLANATION}
    if isinstance(value, np.ndarray):
        arrays[place] = value
        return {"array": place}
    name = type(value).__name__
    if name in RECORDS:
        held = {one.name: getattr(value, one.name) for one in fields(value)} if is_dataclass(value) else value._asdict()
        return {"record": name, "fields": _pairs(held, place, arrays, folder)}
    if isinstance(value, Mapping):
        return {"mapping": _pairs(value, place, arrays, folder)}
    if isinstance(value, (list, tuple)):
        return [_described(one, f"{place}.{number}", arrays, folder) for number, one in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _pairs(held, place, arrays, folder):
    return [
        [_described(name, "", {}, folder), _described(one, f"{place}.{number}", arrays, folder)]
        for number, (name, one) in enumerate(held.items())
    ]


def _read(place):
    try:
        described = json.loads((place / STAGE).read_text(encoding="utf-8"))
        with np.load(place / ARRAYS, allow_pickle=False) as arrays:
            return _restored(described, arrays, place)
    except Exception as error:  # a damaged file may be anything
        raise FileFormatError(f"{place} is damaged ({error}); remove it, and the stage is made again.") from None


def _restored(described, arrays, place):
    if isinstance(described, list):
        return tuple(_restored(one, arrays, place) for one in described)
    if not isinstance(described, dict):
        return described
    if "explanation" in described:
        return load_explanation(place / EXPLANATION)
    if "array" in described:
        array = arrays[described["array"]]
        array.setflags(write=False)
        return array
    pairs = described["fields"] if "record" in described else described["mapping"]
    held = {_restored(name, arrays, place): _restored(one, arrays, place) for name, one in pairs}
    return RECORDS[described["record"]](**held) if "record" in described else held
