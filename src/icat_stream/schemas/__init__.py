"""What the files of an instrument become: metadata schemas in YAML.

:func:`load_schemas` reads and checks a folder of them; a :class:`SchemaSet` says what
of a file has to be read and which schema it is for; a :class:`MetadataSchema` makes
the :class:`Draft` of a dataset.  Pure but for reading the folder.
"""

from .draft import Draft, DraftParameter
from .schema import MetadataSchema, SchemaSet
from .schema_files import SchemaError, load_schemas
from .schema_proposal import proposed_schema
from .selectors import Announcement
from .units import UnitError, conversion

__all__ = [
    "Announcement",
    "Draft",
    "DraftParameter",
    "MetadataSchema",
    "SchemaError",
    "SchemaSet",
    "UnitError",
    "conversion",
    "load_schemas",
    "proposed_schema",
]
