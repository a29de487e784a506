"""The command line: parse, call one public function, print what it made.

Nothing slow is imported before a command needs it, and a user's mistake ends in one sentence and exit code 2. Every
command makes one document of dicts, lists, texts and numbers, which is printed as JSON or shown by `terminal`.
"""

import argparse
import contextlib
import json
import math
import os
import sys
from pathlib import Path

from keras_attn_xai.errors import ArgumentError, AttnXaiError, FileFormatError

MARKER, AUDITED = "report.html", "audit.html"  # show that a folder is one of ours
LABELS, BACKGROUND = "y", "background"  # arrays of data that are no input
LIBRARIES = ("keras-attn-xai", "tensorflow", "keras", "shap", "numpy", "scipy", "matplotlib")


def main(argv=None):
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        By default the process' own arguments.

    Returns
    -------
    int
        Exit code: 0 done, 1 `lint` found something, 2 the input cannot be used (argparse exits with 2 by itself).
    """
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up talk, not its errors
    try:
        document = _made(arguments)
        _print(document, arguments)
    except (AttnXaiError, OSError) as error:
        print(f"keras-attn-xai {arguments.command}: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"keras-attn-xai {arguments.command}: stopped; nothing was written.", file=sys.stderr)
        return 130
    return 1 if document.get("leaks") else 0


def _made(arguments):
    """What the command makes; where JSON is asked for, whatever is said meanwhile goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        return arguments.run(arguments)


def _print(document, arguments):
    if arguments.json:
        written, binary = _as_json(document), getattr(sys.stdout, "buffer", None)
        if binary is None:  # what stands for it in a notebook
            sys.stdout.write(written.decode())
        else:
            binary.write(written)
            binary.flush()
        return
    from keras_attn_xai.terminal import show

    show(arguments.command, document)


def _as_json(document):
    """UTF-8, whatever the terminal's encoding; a byte of a path that is no text becomes an escape of JSON."""
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-attn-xai", description="Attention and SHAP of Keras models, side by side."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train a small model on movie reviews, explain it, write a page")
    demo.add_argument("--out", default="demo-output", metavar="DIR", help="folder to write (default: %(default)s)")
    demo.add_argument("--sentences", type=_positive, default=120, help="held-out sentences (default: %(default)s)")
    demo.add_argument("--epochs", type=_positive, default=4, help="training epochs (default: %(default)s)")
    demo.set_defaults(run=_demo)

    explain = commands.add_parser("explain", help="explain a model of your own on texts of your own")
    explain.add_argument("model", metavar="MODEL.keras", help="a Keras model that reads token ids")
    explain.add_argument("--texts", required=True, metavar="FILE", help="UTF-8, one text a line")
    explain.add_argument("--vocabulary", required=True, metavar="FILE", help="UTF-8, one token a line; line 1 is id 0")
    explain.add_argument("--mask-token", required=True, metavar="TOKEN", help="stands for an absent word, as [MASK]")
    explain.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    explain.add_argument("--classes", metavar="A,B,...", help="a name for each class of the model's output")
    explain.add_argument("--method", default="auto", help="auto, exact, paired_kernel, deep or another")
    explain.add_argument("--budget", type=_positive, help="evaluations per text")
    explain.add_argument("--seed", type=_seed, default=0, help="of the sampling (default: %(default)s)")
    explain.set_defaults(run=_explain)

    report = commands.add_parser("report", help="write the page of explanations that were saved")
    report.add_argument(
        "bundle", metavar="BUNDLE", help="a folder of explanations, as `explain` writes one into its own"
    )
    report.add_argument("--out", required=True, metavar="FILE.html", help="page to write; an existing file is replaced")
    report.add_argument("--classes", metavar="A,B,...", help="a name for each class of the model's output")
    report.set_defaults(run=_report)

    lint = commands.add_parser("lint", help="find attention of a model that reads padding")
    lint.add_argument("model", metavar="MODEL.keras", help="a Keras model with attention")
    lint.add_argument("--inputs", required=True, metavar="FILE.npz", help="a padded batch, one array for each input")
    lint.set_defaults(run=_lint)

    audit = commands.add_parser("audit", help="say whether the attention of a model can be read as an explanation")
    audit.add_argument("model", metavar="MODEL.keras", help="a Keras model with attention")
    audit.add_argument("--data", required=True, metavar="FILE.npz", help="held-out rows, one array for each input")
    audit.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    audit.add_argument(
        "--background",
        metavar="WHAT",
        help="stands for an absent position: a token id or number, zeros, mean, or an array of the file by its name "
        f"(default: the array '{BACKGROUND}' if there is one, else the mean row; token ids have none)",
    )
    audit.add_argument("--labels", metavar="NAME", help=f"array of right classes (default: '{LABELS}' if there is one)")
    audit.add_argument("--players", metavar="INPUT", help="of several inputs, the one whose positions are judged")
    audit.add_argument("--effort", choices=("quick", "full"), default="quick", help="(default: %(default)s)")
    audit.add_argument("--seed", type=_seed, default=0, help="of all that is drawn (default: %(default)s)")
    audit.set_defaults(run=_audit)

    info = commands.add_parser("info", help="print versions")
    info.set_defaults(run=_info)

    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return parser


def _demo(arguments):
    from keras_attn_xai.demo import run_demo

    result = run_demo(arguments.out, sentences=arguments.sentences, epochs=arguments.epochs, say=_say)
    return {
        "accuracy": result.accuracy,
        "kendall_tau": _interval(result.tau),
        "top_3_overlap": _interval(result.overlap),
        "written": [os.path.join(result.folder, name) for name in result.written],
    }


def _interval(interval):
    """By name; None where there are too few rows for a number."""
    return {name: None if math.isnan(value) else value for name, value in interval._asdict().items()}


def _explain(arguments):
    from keras_attn_xai.text import Vocabulary, tokenize
    from keras_attn_xai.writing import refuse_foreign

    refuse_foreign(arguments.out, ours=MARKER)
    texts = _lines(arguments.texts)
    vocabulary = Vocabulary.read(_existing(arguments.vocabulary))
    background = vocabulary.id_of(arguments.mask_token)
    model = _load(arguments.model)
    from keras_attn_xai.explain.explainer import AttentionExplainer

    explainer = AttentionExplainer(
        model, background, method=arguments.method, tokenizer=vocabulary, seed=arguments.seed
    )
    explanation = explainer(texts, budget=arguments.budget, progress=None if sys.stderr.isatty() else False)
    if not explanation.attention:
        _say(f"The model '{model.name}' has no attention layer, so there is no map; SHAP is shown alone.")
    from keras_attn_xai.report.rows import describe

    described = describe(explanation, class_names=_classes(arguments), texts=texts)
    written = _write(model, tokenize(vocabulary, texts).ids, explanation, arguments)
    return described | {"written": [os.path.join(arguments.out, name) for name in written]}


def _write(model, example, explanation, arguments):
    """The page, the bundle, a picture per text and the SavedModel, all or none; the names of what was written."""
    from keras_attn_xai.export import export_saved_model
    from keras_attn_xai.plots import plot_side_by_side
    from keras_attn_xai.report import save_explanation, write_report
    from keras_attn_xai.writing import whole_folder

    classes = _classes(arguments)
    with whole_folder(arguments.out, ours=MARKER) as folder:
        write_report(explanation, folder / MARKER, class_names=classes)
        save_explanation(explanation, folder / "explanations")
        if explanation.attention:
            (folder / "pictures").mkdir()
            for row in range(len(explanation)):
                figure = plot_side_by_side(explanation[row], class_names=classes)
                figure.savefig(folder / "pictures" / f"text_{row + 1}.png", dpi=150)
            export_saved_model(model, folder / "saved_model", example=example)
        return sorted(entry.name for entry in folder.iterdir())


def _classes(arguments):
    return arguments.classes.split(",") if arguments.classes else None


def _report(arguments):
    from keras_attn_xai.report import load_explanation, write_report
    from keras_attn_xai.report.rows import describe

    unreadable = f"{arguments.bundle} is not a bundle that can be read"
    with _retold(FileFormatError, unreadable, but=(AttnXaiError, OSError)):  # a manifest somebody changed
        explanation = load_explanation(arguments.bundle)
    classes = _classes(arguments)
    described = describe(explanation, class_names=classes)
    return described | {"written": [str(write_report(explanation, arguments.out, class_names=classes))]}


def _lint(arguments):
    from dataclasses import asdict

    arrays = _arrays(arguments.inputs)
    model = _load(arguments.model)
    from keras_attn_xai.capture import check_masks

    with _retold(ArgumentError, f"{model.name} refused {arguments.inputs}", but=AttnXaiError):
        leaks = check_masks(model, _fitted(model, arrays, arguments.inputs))
    found = [asdict(leak) | {"sentence": str(leak)} for leak in leaks]
    return {"model": model.name, "inputs": arguments.inputs, "leaks": found}


def _audit(arguments):
    from dataclasses import replace

    from keras_attn_xai.writing import refuse_foreign

    refuse_foreign(arguments.out, ours=AUDITED)
    arrays = _arrays(arguments.data)
    model = _load(arguments.model)
    from keras_attn_xai.auditing import audit

    x, options, note = _asked(model, arrays, arguments)
    progress = sys.stderr.isatty()
    with _retold(ArgumentError, f"{model.name} cannot be audited on {arguments.data}", but=AttnXaiError):
        found = audit(model, x, **options, effort=arguments.effort, seed=arguments.seed, progress=progress)
    found = replace(found, notes=(*found.notes, note))
    return found.to_dict() | {"written": _write_audit(found, arguments.out)}


def _write_audit(found, out):
    """The page, the JSON and the table, all or none; the names of what was written."""
    import csv

    from keras_attn_xai.writing import whole_folder

    with whole_folder(out, ours=AUDITED) as folder:
        found.to_html(folder / AUDITED)
        (folder / "audit.json").write_bytes(_as_json(found.to_dict()))
        with open(folder / "audit.csv", "w", encoding="utf-8", newline="") as file:
            numbers = found.to_dict()["numbers"]
            table = csv.DictWriter(file, list(numbers[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(numbers)
    return [os.path.join(out, name) for name in (AUDITED, "audit.csv", "audit.json")]


def _asked(model, arrays, arguments):
    """The rows, what `audit` is given beside them, and a sentence about the background."""
    from keras_attn_xai.explain.inputs import InputReader

    path, inputs = arguments.data, InputReader(model).known_names
    labels, rows = (_taken_out(arrays, name, inputs) for name in (arguments.labels or LABELS, BACKGROUND))
    if labels is None and arguments.labels:
        raise ArgumentError(
            f"{path} has {', '.join(map(repr, arrays)) or 'no arrays'}, and no '{arguments.labels}' beside the inputs."
        )
    if arguments.background not in (None, BACKGROUND):
        rows = _taken_out(arrays, arguments.background, inputs)
    x = _fitted(model, arrays, path)
    several = isinstance(x, dict) and len(x) > 1
    players = arguments.players or (None if several else next(iter(arrays)))
    if players not in arrays:
        raise ArgumentError(
            f"'{model.name}' takes {', '.join(map(repr, arrays))}; say with --players which one's positions are judged."
        )
    background, said = _background(arguments.background, rows, arrays[players], path)
    options = {"y": labels, "background": background}
    if several:
        options |= {"background": {players: background}, "players": {players: "auto"}}
    return x, options, f"An absent position is {said}."


def _taken_out(arrays, name, inputs):
    """An array that is no input, by its name; the others stay. None if there is no such."""
    return None if name in inputs or len(arrays) == 1 else arrays.pop(name, None)


def _background(wanted, rows, data, path):
    """What stands for an absent position of the data, and how that is called."""
    if wanted == "zeros" or (wanted or "").isdecimal():
        number = 0 if wanted == "zeros" else int(wanted)
        return number, f"id {number}" if data.dtype.kind in "iu" else f"the number {number}"
    with contextlib.suppress(TypeError, ValueError):
        return float(wanted), f"the number {wanted}"
    if rows is not None:
        return rows, f"that of {len(rows)} background rows, averaged over"
    if wanted not in (None, "mean"):
        raise ArgumentError(
            f"--background must be a token id or number, zeros, mean, or an array of {path}, not '{wanted}'."
        )
    if data.dtype.kind != "f":
        raise ArgumentError(
            f"The rows of {path} are {data.dtype}, and ids have no mean: give --background the id of the mask or "
            f"unknown token, or put an array '{BACKGROUND}' of rows into the file."
        )
    return data.mean(0, keepdims=True), f"that of the mean row of {path}"


def _fitted(model, arrays, path):
    """The arrays of a file as the model takes them: one input takes the only array, several go by name."""
    from keras_attn_xai.capture.model_inputs import symbolic_inputs

    inputs = symbolic_inputs(model)
    if len(arrays) == 1 and (inputs is None or not isinstance(inputs, (dict, list, tuple))):
        return next(iter(arrays.values()))
    if inputs is None:  # a subclassed model: only its call knows
        return arrays
    import keras

    names = [one.name for one in keras.tree.flatten(inputs)]
    if set(names) != set(arrays):
        raise ArgumentError(
            f"{path} has {', '.join(map(repr, arrays)) or 'no arrays'}, and the model '{model.name}' takes "
            f"{', '.join(map(repr, names))}; name the arrays as the inputs."
        )
    return arrays


def _arrays(path):
    """The arrays of an npz by name."""
    import zipfile

    import numpy as np

    if not zipfile.is_zipfile(_existing(path)):
        raise FileFormatError(f"{path} is not an npz file; numpy.savez writes one.")
    unreadable = f"{path} is not an npz file that can be read"
    with _retold(FileFormatError, unreadable), np.load(path) as file:  # refuses pickled objects
        return {name: file[name] for name in file.files}


def _info(arguments):
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": sys.version.split()[0]} | dict.fromkeys(LIBRARIES)
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"versions": versions}


def _load(path):
    """A Keras model from disk; whatever Keras says of a bad file becomes one sentence."""
    path = _existing(path)
    import keras

    import keras_attn_xai.capture
    import keras_attn_xai.layers  # noqa: F401  registers the layers a model may contain

    with _retold(FileFormatError, f"{path} is not a Keras model that can be loaded"):
        return keras.models.load_model(path, compile=False)


def _lines(path):
    """The texts of a file, one a line; blank lines at the end are not texts."""
    try:
        lines = _existing(path).read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    empty = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if empty:
        raise ArgumentError(f"{path}: line {empty[0]} is an empty text.")
    return lines


def _existing(path):
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    return Path(path)


@contextlib.contextmanager
def _retold(kind, head, but=()):
    """Whatever a file or a model of somebody else raises, which may be anything, in one sentence after ``head``."""
    try:
        yield
    except but:
        raise
    except Exception as error:
        raise kind(f"{head}: {_sentence(error)}") from None


def _sentence(error):
    """The first line of a message; an OSError's own text without its number."""
    if isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename  # of two, the one that was asked for
        return f"{name}: {error.strerror}." if name else error.strerror
    return str(error).strip().split("\n")[0]


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not '{text}'")
    return int(text)


def _seed(text):
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {2**32 - 1}, not '{text}'")
    return int(text)


def _say(line):
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
