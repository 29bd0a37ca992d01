"""Names that a machine can judge: modules are nouns, and say what they hold."""

from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "icat_stream"
# Words that say nothing of what is inside, and acts instead of things.
EMPTY = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
ACTS = ("ing", "said", "told")
# Nouns all the same.
NOUNS = {"binding", "gc_tuning", "zip_mapping"}


def names() -> set[str]:
    return {path.stem for path in SOURCE.rglob("*.py")} | {
        path.name for path in SOURCE.rglob("*") if path.is_dir()
    }


def test_no_module_is_named_after_nothing_or_after_an_act() -> None:
    wrong = names() & EMPTY
    wrong |= {name for name in names() if name.endswith(ACTS)} - NOUNS
    assert wrong == set()
