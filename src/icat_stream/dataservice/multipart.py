"""Forms with a file in them, as older clients and browsers send a put."""

from collections.abc import AsyncIterator
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from .errors import BadRequest
from .parameters import MOST

_FIELDS_MAX = 2**16


def _parser(boundary: bytes, callbacks: Any) -> MultipartParser:
    try:
        return MultipartParser(boundary, callbacks)
    except FormParserError as error:
        raise BadRequest(f"the form is malformed: {error}") from None


class FormUpload:
    """Reads fields up to the file, and then the file, never more than a piece.

    Raises
    ------
    BadRequest
        It is no multipart form.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise BadRequest("POST of put needs a body of multipart/form-data")
        self.fields: dict[str, str] = {}
        self._body = body
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._in_file = False
        self._had_file = False
        self._ended = False
        self._field = bytearray()
        self._file: list[bytes] = []
        self._seen = 0
        self._parts = 0
        self._parser = _parser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    async def read_fields(self) -> dict[str, str]:
        """Return the fields that come before the file.

        Raises
        ------
        BadRequest
            There is no file, or the form is malformed.
        """
        async for piece in self._body:
            self._feed(piece)
            if self._had_file:
                return self.fields
        raise BadRequest("the form has no file")

    async def read_file(self) -> AsyncIterator[bytes]:
        """Return the file, piece by piece.

        Raises
        ------
        BadRequest
            It is not complete.
        """
        while True:
            for piece in self._file:
                yield piece
            self._file.clear()
            try:
                piece = await anext(self._body)
            except StopAsyncIteration:
                break
            self._feed(piece)
        if not self._ended:
            raise BadRequest("the form ends in the middle")

    def _feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise BadRequest(f"the form is malformed: {error}") from None

    def _count(self, size: int) -> None:
        self._seen += size
        if self._seen > _FIELDS_MAX:
            raise BadRequest(f"the form's fields are longer than {_FIELDS_MAX} bytes")

    def _on_part_begin(self) -> None:
        # Empty ones have no bytes to be counted, and take as long as others.
        self._parts += 1
        if self._parts > MOST:
            raise BadRequest(f"the form has more than {MOST} parts")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(
            self._headers.get(b"content-disposition", b"")
        )
        self._headers = {}
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = b"filename" in options or self._name == "file"
        if self._in_file and self._had_file:
            raise BadRequest("the form has more than one file")
        self._had_file = self._had_file or self._in_file

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._file.append(data[start:end])
        else:
            self._count(end - start)
            self._field += data[start:end]

    def _on_part_end(self) -> None:
        if not self._in_file:
            if self._had_file:
                raise BadRequest(
                    f"field {self._name!r} comes after the file: it must come before"
                )
            self.fields[self._name] = self._field.decode("utf-8", "replace")
            self._field.clear()
        self._in_file = False

    def _on_end(self) -> None:
        self._ended = True
