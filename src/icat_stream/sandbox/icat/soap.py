"""ICAT's web service: document/literal SOAP 1.1."""

import logging
import re
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.binding import BeanReader, Writer
from icat_stream.sandbox.icat.envelope import SOAP, Call, read_call
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.schema import Entity, Field
from icat_stream.sandbox.icat.service import Service
from icat_stream.sandbox.icat.wsdl import NAMESPACE

from .access_rules import Access

log = logging.getLogger(__name__)

# What XML cannot hold; the real server answers with something unreadable.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_TAKING_BEANS = frozenset(
    {"create", "createMany", "update", "delete", "deleteMany", "isAccessAllowed"}
)
_ACCESS: dict[str, Access] = {
    "CREATE": "CREATE",
    "READ": "READ",
    "UPDATE": "UPDATE",
    "DELETE": "DELETE",
}


class Soap:
    """Answers SOAP requests.

    Parameters
    ----------
    service
        The server.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reader = BeanReader(
            service.schema, service.clock, lenient=service.settings.traps
        )
        self._writer = Writer(service.schema, service.clock)

    def parse(self, body: bytes) -> Call:
        """Return what a request asks for.

        Parameters
        ----------
        body
            The request.

        Raises
        ------
        BadRequest
            If it is none.
        """
        return read_call(self._reader, body)

    def answer(self, call: Call) -> tuple[int, bytes]:
        """Carry out an operation and return status and body of the answer.

        Parameters
        ----------
        call
            What is asked for.
        """
        operation = call.operation
        try:
            if call.problem is not None:
                raise call.problem
            if operation in _TAKING_BEANS:
                taking: Callable[[Call], str] = getattr(self, f"_{operation}")
                content = taking(call)
            else:
                handler: Callable[[Any], str] = getattr(self, f"_{operation}")
                content = handler(call.element)
        except IcatError as error:
            return 500, fault(error.message, error)
        except Exception as error:
            # A mistake of this server; the client still gets an answer it understands.
            log.exception("%s failed", operation)
            message = f"class {type(error).__name__} {error}"
            return 500, fault(message, IcatError("INTERNAL", message))
        return 200, _envelope(
            f"<ns2:{operation}Response>{content}</ns2:{operation}Response>"
        )

    # Operations; each returns the content of its response

    def _login(self, element: Any) -> str:
        credentials = {
            _text(entry, "key") or "": _text(entry, "value") or ""
            for entry in element.iterfind("credentials/entry")
        }
        return _return(
            self._service.sessions.login(_text(element, "plugin"), credentials)
        )

    def _logout(self, element: Any) -> str:
        self._service.sessions.logout(_session(element))
        return ""

    def _refresh(self, element: Any) -> str:
        self._service.sessions.refresh(_session(element))
        return ""

    def _getUserName(self, element: Any) -> str:
        return _return(self._service.sessions.user(_session(element)))

    def _getRemainingMinutes(self, element: Any) -> str:
        return _return(str(self._service.sessions.remaining(_session(element))))

    def _getApiVersion(self, _: Any) -> str:
        return _return(self._service.version)

    _getVersion = _getApiVersion

    def _getAuthenticatorInfo(self, _: Any) -> str:
        return "".join(
            "<return><admin>false</admin>"
            + "".join(
                f"<keys><hide>{str(hide).lower()}</hide><name>{key}</name></keys>"
                for key, hide in keys
            )
            + f"<mnemonic>{escape(name)}</mnemonic></return>"
            for name, keys in self._service.authenticators()
        )

    def _getProperties(self, element: Any) -> str:
        lines = self._service.properties(_session(element))
        return "".join(_return(line) for line in lines)

    def _getEntityNames(self, _: Any) -> str:
        return "".join(_return(entity.name) for entity in self._service.schema)

    def _getEntityInfo(self, element: Any) -> str:
        name = _text(element, "beanName")
        entity = self._service.schema.entities.get(name or "")
        if name == "Parameter":
            entity = _parameter(self._service.schema["DatasetParameter"])
        if entity is None:
            raise IcatError("BAD_PARAMETER", f"{name} is not an EntityBaseBean")
        constraint = ""
        if entity.key:
            names = "".join(f"<fieldNames>{key}</fieldNames>" for key in entity.key)
            constraint = f"<constraints>{names}</constraints>"
        fields = "".join(_field_info(field) for field in entity.fields.values())
        comment = f"<classComment>{escape(entity.comment)}</classComment>"
        return f"<return>{comment}{constraint}{fields}</return>"

    def _get(self, element: Any) -> str:
        key = _text(element, "primaryKey") or ""
        number = int(key) if re.fullmatch(r"-?[0-9]{1,18}", key.strip()) else 0
        found = self._service.get(_session(element), _query(element), number)
        return self._writer.result("return", found)

    def _search(self, element: Any) -> str:
        found = self._service.search(_session(element), _query(element))
        return "".join(self._writer.result("return", result) for result in found)

    def _create(self, call: Call) -> str:
        ids = self._service.create(_session(call.element), [_bean(call)])
        return _return(str(ids[0]))

    def _createMany(self, call: Call) -> str:
        ids = self._service.create(_session(call.element), call.beans, many=True)
        return "".join(_return(str(number)) for number in ids)

    def _update(self, call: Call) -> str:
        self._service.update(_session(call.element), _bean(call))
        return ""

    def _delete(self, call: Call) -> str:
        self._service.delete(_session(call.element), [_bean(call)])
        return ""

    def _deleteMany(self, call: Call) -> str:
        self._service.delete(_session(call.element), call.beans)
        return ""

    def _isAccessAllowed(self, call: Call) -> str:
        access = _ACCESS.get(_text(call.element, "accessType") or "")
        if access is None:
            raise IcatError("BAD_PARAMETER", "accessType must not be null")
        bean = _bean(call)
        allowed = self._service.allowed(_session(call.element), bean, access)
        return _return(str(allowed).lower())


def _bean(call: Call) -> Bean:
    if not call.beans:
        raise IcatError("BAD_PARAMETER", "bean must not be null")
    return call.beans[0]


def _parameter(like: Entity) -> Entity:
    owner = like.owner.name if like.owner else ""
    fields = {name: field for name, field in like.fields.items() if name != owner}
    return Entity("Parameter", (), fields)


def _field_info(field: Field) -> str:
    length = f"<stringLength>{field.length}</stringLength>" if field.length else ""
    return (
        f"<fields><name>{field.name}</name>"
        f"<notNullable>{'true' if field.required else 'false'}</notNullable>"
        f"<relType>{field.relation}</relType>{length}<type>{field.type}</type></fields>"
    )


def _session(element: Any) -> str | None:
    return _text(element, "sessionId")


def _query(element: Any) -> str:
    query = _text(element, "query")
    if query is None:
        raise IcatError("BAD_PARAMETER", "query is not set")
    return query


def _text(element: Any, name: str) -> str | None:
    child = element.find(name)
    return None if child is None else child.text or ""


def _return(text: str) -> str:
    return f"<return>{escape(text)}</return>"


def _envelope(content: str) -> bytes:
    text = (
        "<?xml version='1.0' encoding='UTF-8'?>"
        f'<S:Envelope xmlns:S="{SOAP}" xmlns:ns2="{NAMESPACE}" '
        'xmlns:xs="http://www.w3.org/2001/XMLSchema" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<S:Body>{content}</S:Body></S:Envelope>"
    )
    return _ILLEGAL.sub("?", text).encode()


def fault(message: str, error: IcatError | None = None) -> bytes:
    """Return the body of an answer that says what went wrong.

    Parameters
    ----------
    message
        The text.
    error
        ICAT's own error; without one the request itself was no good.
    """
    detail = ""
    if error is not None:
        detail = (
            "<detail><ns2:IcatException>"
            f"<message>{escape(error.message)}</message><offset>{error.offset}</offset>"
            f"<type>{error.kind}</type></ns2:IcatException></detail>"
        )
    code = "S:Client" if error is None else "S:Server"
    return _envelope(
        f"<S:Fault><faultcode>{code}</faultcode>"
        f"<faultstring>{escape(message)}</faultstring>{detail}</S:Fault>"
    )
