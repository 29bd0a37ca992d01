"""What a schema makes of a file: a dataset before the catalogue is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from icat_stream.records import ValueType, parameter_label


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftParameter:
    """A parameter of the dataset, in the units of its type.

    Parameters
    ----------
    name, units
        The key of the parameter type.
    value_type
        Which kind of value it is.
    value
        A float, a string or an aware datetime, as `value_type` says.
    error, range_bottom, range_top
        In `units`; only of numbers.
    source
        Where it is from, see :meth:`Draft.where`.
    """

    name: str
    units: str
    value_type: ValueType
    value: float | str | datetime
    error: float | None = None
    range_bottom: float | None = None
    range_top: float | None = None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A dataset as the file tells of it.

    Parameters
    ----------
    schema_id
        The schema that says so.
    entry
        The NXentry that it is made of, where each of a file is a dataset.
    investigation, visit_id
        Names; without a visit it is found by date.
    name, type, description, location, start, end, complete
        Of the dataset; times are aware.
    sample, sample_type, sample_formula
        Name of the sample, and the key of its type.
    instruments, techniques
        Names.
    parameters
        In the schema's order.
    file_name
        Name of the datafile.
    format
        Name and version of its format.
    include_external_links
        Whether files that the file links to are datafiles too.
    notes
        What was left out, or is not quite what the file says, and why.
    sources
        Where what is above is from, by the names here, see :meth:`where`.
    """

    schema_id: str
    entry: str | None = None
    investigation: str
    visit_id: str | None = None
    name: str
    type: str
    description: str | None = None
    location: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    complete: bool = True
    sample: str | None = None
    sample_type: str | None = None
    sample_formula: str = ""
    instruments: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    parameters: tuple[DraftParameter, ...] = ()
    file_name: str | None = None
    format: tuple[str, str] | None = None
    include_external_links: bool = False
    notes: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    def where(self, field: str) -> str:
        """Say where a value is from, for messages about it.

        Parameters
        ----------
        field
            A name from here, such as ``description``; or a parameter, as
            ``temperature [K]``, or by its name alone if that is no name from here.

        Returns
        -------
        :
            The schema, the place in the file or message, and the variable, such as
            ``schema isis: /raw_data_1/title (variable title)``; the schema alone if
            there is no such value.
        """
        parameters = {p.name: p.source for p in reversed(self.parameters)}
        parameters |= {
            parameter_label(p.name, p.units): p.source for p in self.parameters
        }
        source = (parameters | dict(self.sources)).get(field)
        return f"schema {self.schema_id}" + ("" if source is None else f": {source}")
