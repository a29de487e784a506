"""Explanations on disk: back bit for bit, or one sentence."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_attn_xai import load_explanation, save_explanation
from keras_attn_xai.errors import FileFormatError
from keras_attn_xai.records import field_names
from tests.made import explanation


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif hasattr(one, "__dataclass_fields__"):
        for name in field_names(one):
            same(getattr(one, name), getattr(other, name))
    else:
        assert one == other


@pytest.mark.parametrize("attention", [True, False])
def test_everything_comes_back(tmp_path, attention):
    saved = explanation(4, rows=3, padding=2, attention=attention, labels=["ü", "电影", "<b>", "👍"])
    same(load_explanation(save_explanation(saved, tmp_path / "b")), saved)


def test_every_field_of_a_map_comes_back(tmp_path):
    whole = explanation(4, rows=3, padding=2)
    seen = whole.attention[0]
    indices = np.argsort(-seen.weights, axis=-1)[..., :2]
    part = replace(
        seen,
        weights=np.take_along_axis(seen.weights, indices, -1),
        indices=indices,
        values=np.ones((3, 2, 6, 5), np.float32),
        gradients=-seen.weights,
    )
    saved = replace(whole, attention=(seen, part))
    again = load_explanation(save_explanation(saved, tmp_path / "b"))
    same(again, saved)
    assert (again.attention[0].values, again.attention[1].values.dtype) == (None, np.float32)


def test_a_bundle_of_version_1_is_read():
    """Written by this library before maps had indices, values and gradients."""
    same(load_explanation(Path(__file__).parent / "bundle_of_version_1"), explanation(3, rows=2, padding=1))


def test_there_is_no_pickle_inside(tmp_path):
    path = save_explanation(explanation(), tmp_path / "b")
    with np.load(path / "arrays.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)
    assert zipfile.is_zipfile(path / "arrays.npz")
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["format"], manifest["version"]) == ("keras-attn-xai explanation", 4)


def test_an_old_bundle_is_replaced_and_a_foreign_folder_refused(tmp_path):
    path = save_explanation(explanation(3), tmp_path / "b")
    save_explanation(explanation(4), path)
    assert len(load_explanation(path).labels[0]) == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"does not hold manifest\.json"):
        save_explanation(explanation(), tmp_path / "mine")


def test_an_interrupted_save_leaves_the_old_bundle(tmp_path, monkeypatch):
    path = save_explanation(explanation(3), tmp_path / "b")

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stop)
    with pytest.raises(KeyboardInterrupt):
        save_explanation(explanation(4), path)
    assert len(load_explanation(path).labels[0]) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def changed(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    (path / "manifest.json").write_text(json.dumps(manifest))


DAMAGE = {
    r"is not JSON": lambda path: (path / "manifest.json").write_text("{"),
    r"is not a manifest of": lambda path: changed(path, format="something else"),
    r"bundle of version 5; this library reads versions up to 4": lambda path: changed(path, version=5),
    r"the bundle is damaged": lambda path: (path / "arrays.npz").write_bytes(b"PK"),
    r"lacks 'fields'": lambda path: changed(path, explanation={"record": "Explanation"}),
    r"lacks 'Diary'": lambda path: changed(path, explanation={"record": "Diary", "fields": {}}),
}


@pytest.mark.parametrize("sentence", DAMAGE)
def test_damage_is_one_sentence(tmp_path, sentence):
    path = save_explanation(explanation(), tmp_path / "b")
    DAMAGE[sentence](path)
    with pytest.raises(FileFormatError, match=sentence) as caught:
        load_explanation(path)
    assert "\n" not in str(caught.value)


def test_a_missing_bundle_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no manifest\.json"):
        load_explanation(tmp_path / "nowhere")
