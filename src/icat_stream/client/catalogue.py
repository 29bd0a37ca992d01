"""The catalogue as a script sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import icat.config
from icat.exception import ICATError, ICATInternalError

from .beans import entity_of, fill, make_exact, reference
from .connection import Connection
from .errors import QueryError, shorten
from .items import Batch, Item, adopt
from .objects import Objects
from .schema import Kind
from .undo import Undo


class Catalogue(Connection):
    """ICAT by way of one of python-icat's clients, which stays as it is.

    For one thread at a time, as the client itself.

    Parameters
    ----------
    client
        An ``icat.Client``, logged in.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self._undo: Undo | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.icat.logout()

    # Reading

    def objects(self, kind: str) -> Objects:
        """Return the objects of a kind, to be narrowed and iterated over.

        Parameters
        ----------
        kind
            The name of an entity, such as ``"Dataset"``.

        Raises
        ------
        QueryError
            This ICAT has none of that name.
        """
        return Objects(self, self.schema.kind(kind))

    def wrap(self, entities: Iterable[Any]) -> list[Item]:
        """Return python-icat's objects, all of one kind, as a result of this client.

        Parameters
        ----------
        entities
            From elsewhere, such as ``icat.Client.search``.
        """
        listed = list(entities)
        if not listed:
            return []
        return adopt(self, self.schema.kind(listed[0].BeanName), listed, {})

    # Writing

    def new(self, kind: str, **values: Any) -> Item:
        """Return an object that is not in ICAT yet.

        Parameters
        ----------
        kind
            Its entity.
        values
            Its attributes and relations: other items, or lists of new ones.
        """
        found = self.schema.kind(kind)
        batch = Batch(self, found)
        item = Item(batch, self.icat.new(found.name))
        batch.items.append(item)
        for name, value in values.items():
            found.field(name)
            setattr(item, name, value)
        return item

    def create(self, what: Any, **values: Any) -> Item:
        """Create an object with everything below it, in one transaction.

        Parameters
        ----------
        what
            An item, one of python-icat's objects, or the name of an entity.
        values
            As for :meth:`new`, with a name.

        Returns
        -------
        Item
            It, with its id.
        """
        item = self._item(what, values)
        self._create([item])
        return item

    def create_many(self, items: Iterable[Any]) -> list[Item]:
        """Create several objects in one transaction: all or none.

        Parameters
        ----------
        items
            Items or python-icat's objects; they need not be of one kind.
        """
        listed = [self._item(item, {}) for item in items]
        if listed:
            self._create(listed)
        return listed

    def update(self, what: Any, **changes: Any) -> Item:
        """Write what was assigned to an object, and nothing else.

        ICAT's own update sets whatever is not sent to null; so the object is read
        again first, and only what changed here is changed there.

        Parameters
        ----------
        what
            An item, or one of python-icat's objects.
        changes
            More to change.
        """
        item = what if isinstance(what, Item) else self.wrap([what])[0]
        kind = self.schema.kind(item.BeanName)
        for name, value in changes.items():
            kind.field(name)
            setattr(item, name, value)
        pending = dict(item._changes)  # noqa: SLF001 - the item's own catalogue
        if not pending:
            return item
        if item.id is None:
            raise QueryError(f"{item!r} is not in ICAT; create() it")
        entity = self.read(kind, item.id)
        undo = self._undo
        entry = undo.changing(kind, entity, pending) if undo else None
        make_exact(entity)
        fill(self.schema, kind, entity, pending)
        self._write(lambda: self.icat.update(entity), entry)
        for name, value in pending.items():
            self._settle(item, kind, name, value)
        item._changes.clear()  # noqa: SLF001
        return item

    def delete(self, *things: Any) -> None:
        """Delete objects, with everything below them, in one transaction.

        Parameters
        ----------
        things
            Items, python-icat's objects, or lists of them.
        """
        entities = []
        for thing in things:
            many = isinstance(thing, Iterable) and not isinstance(thing, Item)
            entities += [entity_of(one) for one in (thing if many else [thing])]
        entities = [reference(self.schema, entity) for entity in entities]
        for entity in entities:
            if entity.id is None:
                raise QueryError(f"a {entity.BeanName} to delete is not in ICAT")
        if not entities:
            return
        entry = self._undo.deleting(entities) if self._undo else None
        self._write(lambda: self.icat.deleteMany(entities), entry)

    def rollback(self) -> Undo:
        """Return a context whose writes through this catalogue can be undone.

        ``with catalogue.rollback() as undo:`` keeps what was done if the block ends
        normally, and undoes it if it ends with an exception, which goes on. Blocks
        may be nested.
        """
        return Undo(self, self._undo, self._use_undo)

    def _use_undo(self, undo: Undo | None) -> None:
        """Note what is written from now on in this undo."""
        self._undo = undo

    def _item(self, what: Any, values: Mapping[str, Any]) -> Item:
        if isinstance(what, str):
            return self.new(what, **values)
        if values:
            raise QueryError("create() takes values with the name of an entity only")
        if isinstance(what, Item):
            return what
        if not hasattr(what, "BeanName"):
            raise QueryError(f"expected an object of ICAT, not {shorten(what)}")
        return self.wrap([what])[0]

    def _create(self, items: Sequence[Item]) -> None:
        for item in items:
            self._prepare(item)
        entities = [item.entity for item in items]
        entry = self._undo.creating(entities) if self._undo else None
        self.icat.autoRefresh()
        if len(entities) == 1:
            ids = self._write(lambda: [self.icat.create(entities[0])], entry)
        else:
            ids = self._write(lambda: self.icat.createMany(entities), entry)
        for item, number in zip(items, ids, strict=True):
            kind = self.schema.kind(item.BeanName)
            item.entity.id = number
            for name, value in item._changes.items():  # noqa: SLF001
                self._settle(item, kind, name, value)
            item._changes.clear()  # noqa: SLF001
            for field in kind.of("MANY"):
                # Of what was made below, the ids are known to ICAT alone.
                item._loaded.pop(field.name, None)  # noqa: SLF001
                delattr(item.entity, field.name)
        if entry is not None:
            entry.done([int(number) for number in ids])

    def _prepare(self, item: Item) -> None:
        """Put what was assigned into python-icat's object, also below."""
        kind = self.schema.kind(item.BeanName)
        if item.id is not None:
            raise QueryError(f"{item!r} is in ICAT already; update() it")
        for value in item._changes.values():  # noqa: SLF001
            if isinstance(value, list | tuple):
                for child in value:
                    if isinstance(child, Item):
                        self._prepare(child)
        fill(self.schema, kind, item.entity, item._changes)  # noqa: SLF001

    def _settle(self, item: Item, kind: Kind, name: str, value: Any) -> None:
        field = kind.fields[name]
        if field.relation == "ATTRIBUTE":
            setattr(item.entity, name, value)
        elif field.relation == "ONE":
            known = value is None or isinstance(value, Item)
            item._loaded[name] = value if known else self.wrap([value])[0]  # noqa: SLF001

    def _write(self, call: Callable[[], Any], entry: Any) -> Any:
        self.icat.autoRefresh()
        try:
            return call()
        except ICATError as error:
            # ICAT undid it itself; only INTERNAL may hide anything.
            if entry is not None and not isinstance(error, ICATInternalError):
                entry.refused()
            raise


def connect(
    section: str | None = None,
    *,
    file: str | Path | None = None,
    timeout: float | None = None,
) -> Catalogue:
    """Log in as ``icat.cfg`` and the environment say, and return the catalogue.

    Parameters
    ----------
    section
        Of the configuration file; by default ``ICAT_CFG_SECTION``.
    file
        The configuration file; by default ``ICAT_CFG``, then the usual places.
    timeout
        Of each call, in seconds; by default python-icat's.
    """
    arguments = []
    if file is not None:
        arguments += ["--configfile", str(file)]
    if section is not None:
        arguments += ["--configsection", section]
    client, settings = icat.config.Config(args=arguments).getconfig()
    if timeout is not None:
        client.set_options(timeout=timeout)
    client.login(settings.auth, settings.credentials)
    return Catalogue(client)
