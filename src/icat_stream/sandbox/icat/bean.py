"""Entities as clients send them, and what can be said of one by itself."""

from collections.abc import Iterable, Iterator
from typing import Any

from icat_stream.sandbox.icat.schema import Entity


class Bean:
    """An entity as a client sent it.

    Parameters
    ----------
    entity
        What it is.
    """

    __slots__ = ("entity", "id", "manys", "ones", "values")

    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        self.id: int | None = None
        self.values: dict[str, Any] = {}
        self.ones: dict[str, Bean] = {}
        self.manys: dict[str, list[Bean]] = {}


def below(beans: Iterable[Bean]) -> Iterable[Bean]:
    """Yield all that is nested in some beans.

    Parameters
    ----------
    beans
        The tops.
    """
    for bean in beans:
        for children in bean.manys.values():
            yield from children
            yield from below(children)


def key_values(bean: Bean) -> Iterable[Any]:
    """Yield the values of a bean's unique key: plain ones, and ids.

    Parameters
    ----------
    bean
        The bean.
    """
    for name in bean.entity.key:
        if bean.entity.fields[name].relation == "ONE":
            one = bean.ones.get(name)
            yield one.id if one is not None else None
        else:
            yield bean.values.get(name)


def exists(bean: Bean) -> str:
    """Return what is said when there is one with the same key.

    Parameters
    ----------
    bean
        The bean.
    """
    entity = bean.entity
    shown = ", ".join(
        f"{name} = '{entity.fields[name].type}:{value}'"
        if entity.fields[name].relation == "ONE"
        else f"{name} = '{value}'"
        for name, value in zip(entity.key, key_values(bean), strict=True)
    )
    return f"{entity.name} exists with {shown}"


def invalid(bean: Bean, parent: str | None = None) -> str | None:
    """Return what is wrong with a bean's own values, if anything is.

    Parameters
    ----------
    bean
        The bean.
    parent
        The relation that it is nested by, which it need not give.
    """
    entity = bean.entity
    for field in entity.fields.values():
        if field.relation == "ONE":
            missing = field.required and field.name not in (*bean.ones, parent)
        elif field.relation == "ATTRIBUTE":
            value = bean.values.get(field.name, field.default)
            missing = field.required and value is None
            if isinstance(value, str) and len(value) > (field.length or 255):
                return (
                    f"{entity.name}: {field.name} cannot have length > "
                    f"{field.length or 255}"
                )
        else:
            continue
        if missing:
            return f"{entity.name}: {field.name} cannot be null."
    return None


def invalid_below(top: Bean) -> Iterator[str]:
    """Yield what is wrong with what is nested in a bean.

    Parameters
    ----------
    top
        The bean.
    """
    for name, children in top.manys.items():
        for child in children:
            wrong = invalid(child, top.entity.fields[name].by)
            if wrong is not None:
                yield wrong
            yield from invalid_below(child)
