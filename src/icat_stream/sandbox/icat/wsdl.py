"""The description of the web service, generated from the schema."""

from dataclasses import dataclass
from functools import lru_cache
from xml.sax.saxutils import quoteattr

from icat_stream.sandbox.icat.schema import STAMPS, Entity, Field, Schema, load_schema

NAMESPACE = "http://icatproject.org"

_XSD = {
    "String": "xs:string",
    "Long": "xs:long",
    "Integer": "xs:int",
    "Double": "xs:double",
    "boolean": "xs:boolean",
    "Date": "xs:dateTime",
}

_PARAMETER = (
    "dateTimeValue",
    "error",
    "numericValue",
    "rangeBottom",
    "rangeTop",
    "stringValue",
    "type",
)


@dataclass(frozen=True)
class Operation:
    """What can be called.

    Parameters
    ----------
    name
        Its name.
    takes
        Arguments as name and type; a type that ends in ``*`` may come many times.
    gives
        Type of the result, in the same way, if there is one.
    fails
        Whether it can answer with ICAT's fault.
    """

    name: str
    takes: tuple[tuple[str, str], ...] = ()
    gives: str | None = None
    fails: bool = True


_SESSION = ("sessionId", "xs:string")

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation(
            "login",
            (("plugin", "xs:string"), ("credentials", "tns:credentials")),
            "xs:string",
        ),
        Operation("logout", (_SESSION,)),
        Operation("refresh", (_SESSION,)),
        Operation("getUserName", (_SESSION,), "xs:string"),
        Operation("getRemainingMinutes", (_SESSION,), "xs:double"),
        Operation("getApiVersion", (), "xs:string"),
        Operation("getVersion", (), "xs:string", fails=False),
        Operation("getAuthenticatorInfo", (), "tns:authenticatorInfo*"),
        Operation("getProperties", (_SESSION,), "xs:string*"),
        Operation("getEntityNames", (), "xs:string*"),
        Operation("getEntityInfo", (("beanName", "xs:string"),), "tns:entityInfo"),
        Operation(
            "get",
            (_SESSION, ("query", "xs:string"), ("primaryKey", "xs:long")),
            "tns:entityBaseBean",
        ),
        Operation("search", (_SESSION, ("query", "xs:string")), "xs:anyType*"),
        Operation("create", (_SESSION, ("bean", "tns:entityBaseBean")), "xs:long"),
        Operation(
            "createMany", (_SESSION, ("beans", "tns:entityBaseBean*")), "xs:long*"
        ),
        Operation("update", (_SESSION, ("bean", "tns:entityBaseBean"))),
        Operation("delete", (_SESSION, ("bean", "tns:entityBaseBean"))),
        Operation("deleteMany", (_SESSION, ("beans", "tns:entityBaseBean*"))),
        Operation(
            "isAccessAllowed",
            (
                _SESSION,
                ("bean", "tns:entityBaseBean"),
                ("accessType", "tns:accessType"),
            ),
            "xs:boolean",
        ),
    )
}

_FIXED: dict[str, tuple[tuple[str, str], ...]] = {
    "credentials": (("entry", "tns:credentialsEntry*"),),
    "credentialsEntry": (("key", "xs:string"), ("value", "xs:string")),
    "authenticatorInfo": (
        ("admin", "xs:boolean!"),
        ("friendly", "xs:string"),
        ("keys", "tns:authenticatorCredentialKey*"),
        ("mnemonic", "xs:string"),
    ),
    "authenticatorCredentialKey": (("hide", "xs:boolean!"), ("name", "xs:string")),
    "entityInfo": (
        ("classComment", "xs:string"),
        ("constraints", "tns:constraint*"),
        ("fields", "tns:entityField*"),
    ),
    "constraint": (("fieldNames", "xs:string*"),),
    "entityField": (
        ("comment", "xs:string"),
        ("name", "xs:string"),
        ("notNullable", "xs:boolean!"),
        ("relType", "tns:relType"),
        ("stringLength", "xs:int"),
        ("type", "xs:string"),
    ),
    "fieldSet": (("fields", "xs:anyType*"),),
    "IcatException": (
        ("message", "xs:string"),
        ("offset", "xs:int!"),
        ("type", "tns:icatExceptionType"),
    ),
}

_ENUMS = {
    "accessType": ("CREATE", "READ", "UPDATE", "DELETE"),
    "relType": ("ATTRIBUTE", "ONE", "MANY"),
    "icatExceptionType": (
        "BAD_PARAMETER",
        "INTERNAL",
        "INSUFFICIENT_PRIVILEGES",
        "NO_SUCH_OBJECT_FOUND",
        "OBJECT_ALREADY_EXISTS",
        "SESSION",
        "VALIDATION",
        "NOT_IMPLEMENTED",
    ),
}


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


def _element(name: str, kind: str) -> str:
    occurs = ' minOccurs="0"'
    if kind.endswith("*"):
        occurs = ' minOccurs="0" maxOccurs="unbounded" nillable="true"'
    elif kind.endswith("!"):
        occurs = ""
    kind = kind.rstrip("*!")
    return f'<xs:element name="{name}" type="{kind}"{occurs}/>'


def _sequence(elements: list[str]) -> str:
    return f"<xs:sequence>{''.join(elements)}</xs:sequence>"


def _complex(
    name: str, elements: list[str], base: str = "", abstract: bool = False
) -> str:
    content = _sequence(elements)
    if base:
        content = (
            f'<xs:complexContent><xs:extension base="tns:{base}">{content}'
            "</xs:extension></xs:complexContent>"
        )
    extra = ' abstract="true"' if abstract else ""
    return f'<xs:complexType name="{name}"{extra}>{content}</xs:complexType>'


def _enum(name: str, values: tuple[str, ...]) -> str:
    listed = "".join(f'<xs:enumeration value="{value}"/>' for value in values)
    return (
        f'<xs:simpleType name="{name}"><xs:restriction base="xs:string">{listed}'
        "</xs:restriction></xs:simpleType>"
    )


def _field(field: Field) -> str:
    if field.relation != "ATTRIBUTE":
        star = "*" if field.relation == "MANY" else ""
        return _element(field.name, f"tns:{_lower(field.type)}{star}")
    kind = _XSD.get(field.type, f"tns:{_lower(field.type)}")
    return _element(field.name, kind + ("!" if field.type == "boolean" else ""))


def _entity(entity: Entity) -> str:
    inherited = {"id", *STAMPS}
    base = "entityBaseBean"
    if entity.owner is not None:
        inherited |= set(_PARAMETER)
        base = "parameter"
    fields = [_field(f) for f in entity.fields.values() if f.name not in inherited]
    return _complex(entity.element, fields, base)


def _messages() -> list[str]:
    parts = []
    for operation in OPERATIONS.values():
        parts.append(
            _complex(operation.name, [_element(*take) for take in operation.takes])
        )
        gives = [_element("return", operation.gives)] if operation.gives else []
        parts.append(_complex(f"{operation.name}Response", gives))
        parts.extend(
            f'<xs:element name="{name}" type="tns:{name}"/>'
            for name in (operation.name, f"{operation.name}Response")
        )
    return parts


@lru_cache(maxsize=1)
def types() -> str:
    """Return the XML schema of everything that is sent."""
    schema: Schema = load_schema()
    root = [_field(field) for field in schema["Facility"].fields.values()]
    meta = [f for f in root if any(f'name="{n}"' in f for n in ("id", *STAMPS))]
    values = schema["DatasetParameter"].fields
    parts = [
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" '
        f'xmlns:tns="{NAMESPACE}" targetNamespace="{NAMESPACE}" version="1.0">',
        *_messages(),
        '<xs:element name="IcatException" type="tns:IcatException"/>',
        *(_complex(n, [_element(*e) for e in es]) for n, es in _FIXED.items()),
        *(_enum(name, values) for name, values in _ENUMS.items()),
        *(_enum(_lower(name), values) for name, values in schema.enums.items()),
        _complex("entityBaseBean", meta, abstract=True),
        _complex(
            "parameter", [_field(values[n]) for n in _PARAMETER], "entityBaseBean", True
        ),
        *(_entity(entity) for entity in schema),
        "</xs:schema>",
    ]
    return "".join(parts)


def describe(url: str) -> str:
    """Return the WSDL for a server.

    Parameters
    ----------
    url
        Where the service is.
    """
    messages: list[str] = []
    port: list[str] = []
    binding: list[str] = []
    fault = '<wsdl:part name="fault" element="tns:IcatException"/>'
    for operation in OPERATIONS.values():
        name = operation.name
        messages.extend(
            f'<wsdl:message name="{message}">'
            f'<wsdl:part name="parameters" element="tns:{message}"/></wsdl:message>'
            for message in (name, f"{name}Response")
        )
        fails = operation.fails
        port.append(
            f'<wsdl:operation name="{name}"><wsdl:input message="tns:{name}"/>'
            f'<wsdl:output message="tns:{name}Response"/>'
            + (
                '<wsdl:fault name="IcatException" message="tns:Failure"/>'
                if fails
                else ""
            )
            + "</wsdl:operation>"
        )
        body = '<soap:body use="literal"/>'
        binding.append(
            f'<wsdl:operation name="{name}"><soap:operation soapAction=""/>'
            f"<wsdl:input>{body}</wsdl:input><wsdl:output>{body}</wsdl:output>"
            + (
                '<wsdl:fault name="IcatException">'
                '<soap:fault name="IcatException" use="literal"/></wsdl:fault>'
                if fails
                else ""
            )
            + "</wsdl:operation>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" '
        'xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" '
        f'xmlns:tns="{NAMESPACE}" targetNamespace="{NAMESPACE}" name="ICATService">'
        f"<wsdl:types>{types()}</wsdl:types>"
        f'<wsdl:message name="Failure">{fault}</wsdl:message>{"".join(messages)}'
        f'<wsdl:portType name="ICAT">{"".join(port)}</wsdl:portType>'
        '<wsdl:binding name="ICATPortBinding" type="tns:ICAT">'
        '<soap:binding transport="http://schemas.xmlsoap.org/soap/http" '
        f'style="document"/>{"".join(binding)}</wsdl:binding>'
        '<wsdl:service name="ICATService">'
        '<wsdl:port name="ICATPort" binding="tns:ICATPortBinding">'
        f"<soap:address location={quoteattr(url)}/></wsdl:port></wsdl:service>"
        "</wsdl:definitions>"
    )
