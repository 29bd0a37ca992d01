"""The commented sample, generated from the models so that it cannot go stale."""

import textwrap
from typing import Any, Literal, cast, get_args, get_origin

import yaml
from pydantic import BaseModel

from .settings import Settings

_HEADER = """\
# The configuration of icat-stream, with every setting at its default or, where there
# is none, at an example. Made by `icat_stream config sample`; check your own with
# `icat_validate_config FILE`.
#
# Relative paths are relative to this file. Durations: 500ms, 30s, 5m, 1h, 7d. Every
# setting can also be given in the environment, which wins:
# ICAT_STREAM_KAFKA__BOOTSTRAP_SERVERS, ICAT_STREAM_ICAT__PASSWORD_FILE, and so on.
"""


def render() -> str:
    """Return the sample configuration as YAML with comments."""
    return _HEADER + "\n" + "\n".join(_section(Settings, {}, 0, top=True)) + "\n"


def _section(
    model: type[BaseModel], given: dict[str, Any], depth: int, top: bool = False
) -> list[str]:
    lines: list[str] = []
    pad = "  " * depth
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        sample = extra.get("sample") if isinstance(extra, dict) else None
        inner = info.annotation
        text = info.description or ""
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            if top and lines:
                lines.append("")
            doc = text if not top else (inner.__doc__ or "").strip()
            lines += _comment(doc, pad)
            lines.append(f"{pad}{name}:")
            lines += _section(inner, {}, depth + 1)
            continue
        if top and lines:
            lines.append("")
        if get_origin(inner) is Literal:
            text += f" One of: {', '.join(get_args(inner))}."
        lines += _comment(text, pad)
        if name == "consumers" and isinstance(sample, dict):
            lines.append(f"{pad}{name}:")
            _, *others = sample
            for consumer, values in sample.items():
                if consumer in others:
                    lines.append(f"{pad}  {consumer}: {_flow(values)}")
                    continue
                lines.append(f"{pad}  {consumer}:")
                consumer_model = info.annotation.__args__[-1]  # type: ignore[union-attr]
                lines += _section(
                    consumer_model, cast(dict[str, Any], values), depth + 2
                )
            continue
        if name in given:
            value = given[name]
        elif sample is not None:
            value = sample
        else:
            value = _default(model, name)
        lines.append(f"{pad}{name}: {_flow(value)}")
    return lines


def _default(model: type[BaseModel], name: str) -> Any:
    info = model.model_fields[name]
    value = info.get_default(call_default_factory=True, validated_data={})
    # Through the model, so that durations and sizes come out as people write them.
    instance = model.model_construct(**{name: value})
    return instance.model_dump(mode="json", include={name}, warnings=False)[name]


def _flow(value: Any) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, width=10_000, allow_unicode=True
    )
    return str(text).removesuffix("\n").removesuffix("...").strip()


def _comment(text: str, pad: str) -> list[str]:
    if not text:
        return []
    return textwrap.wrap(
        text, 88, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# "
    )
