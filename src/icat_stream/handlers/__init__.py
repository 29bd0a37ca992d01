"""From a message, and what it points to, to a plan: reading only, writing nothing."""

from typing import TYPE_CHECKING

from icat_stream import lazy_face

from .handler import Handler, HandlerContext, PlainHandler, PlainHandlers

if TYPE_CHECKING:
    from .datasets import Datasets
    from .field_map_handler import FieldMapHandler
    from .file_written import FileWritten
    from .investigations import Investigations
    from .operations import OperationsHandler, visit_meant
    from .options import read_options
    from .paths import Confinement, Locations, locate, map_path
    from .rights import READING
    from .user_office_text import cut, orcid
    from .users import Users

__getattr__ = lazy_face(
    __name__,
    {
        "Confinement": ".paths",
        "Datasets": ".datasets",
        "FieldMapHandler": ".field_map_handler",
        "FileWritten": ".file_written",
        "Investigations": ".investigations",
        "READING": ".rights",
        "Locations": ".paths",
        "OperationsHandler": ".operations",
        "Users": ".users",
        "cut": ".user_office_text",
        "locate": ".paths",
        "map_path": ".paths",
        "orcid": ".user_office_text",
        "read_options": ".options",
        "visit_meant": ".operations",
    },
)

__all__ = [
    "READING",
    "Confinement",
    "Datasets",
    "FieldMapHandler",
    "FileWritten",
    "Handler",
    "HandlerContext",
    "Investigations",
    "Locations",
    "OperationsHandler",
    "PlainHandler",
    "PlainHandlers",
    "Users",
    "cut",
    "locate",
    "map_path",
    "orcid",
    "read_options",
    "visit_meant",
]
