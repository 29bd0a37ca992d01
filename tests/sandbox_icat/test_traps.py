"""The real server's traps: what envelopes that nobody checked bring about."""

import pytest


@pytest.fixture
def make(soap, place):
    def create(content, name="d", kind="dataset"):
        return soap.create(
            kind,
            f"<name>{name}</name><type><id>{place.dataset_type.id}</id></type>"
            f"<investigation><id>{place.investigation.id}</id></investigation>{content}",
        )

    return create


def parameter(kind, value="<numericValue>1</numericValue>", said=""):
    return f"<parameters><type><id>{kind}</id>{said}</type>{value}</parameters>"


APPLICABLE = "<applicableToDataset>true</applicableToDataset>"


def test_values_are_lost_without_a_word(make, root):
    answer = make(
        "<complete>maybe</complete><startDate>yesterday</startDate><colour>red</colour>"
        "<datafiles><fileSize>12x</fileSize><name>f</name></datafiles><id>7</id>"
        "<createId>me</createId><createTime>2001-01-01T00:00:00Z</createTime>"
        "<description xsi:nil='true'/>"
    )
    found = root.get("Dataset INCLUDE Datafile", int(answer.text("return")))
    assert (found.complete, found.startDate, found.description) == (False, None, None)
    assert found.datafiles[0].fileSize == 0
    assert found.createId == "simple/root"
    assert found.createTime.year > 2001


def test_parameter_type_with_an_id_only(make, place):
    kind, message = make(parameter(place.temperature.id)).fault
    assert kind == "INTERNAL"
    assert message.endswith("Parameter of type null is not applicable to a Dataset")


def test_the_client_is_believed_about_the_type(make, place, root):
    answer = make(
        parameter(place.temperature.id, "<numericValue>99</numericValue>", APPLICABLE)
    )
    found = root.get("Dataset INCLUDE DatasetParameter", int(answer.text("return")))
    assert found.parameters[0].numericValue == 99
    stored = root.get("ParameterType", place.temperature.id)
    assert stored.enforced is True


def test_mistakes_below_the_top_are_internal(make, place, soap):
    limits = (
        f"{APPLICABLE}<enforced>true</enforced><name>temperature</name>"
        "<valueType>NUMERIC</valueType><maximumNumericValue>10.0</maximumNumericValue>"
    )
    value = "<numericValue>99</numericValue>"
    kind, message = make(parameter(place.temperature.id, value, limits)).fault
    assert kind == "INTERNAL"
    assert message == (
        "class org.icatproject.core.IcatException Parameter of type temperature has "
        "value 99.0 > 10.0"
    )
    for below in (
        "<datafiles><name>a</name></datafiles><datafiles><name>a</name></datafiles>",
        f"<datafiles><name>{'n' * 256}</name></datafiles>",
        "<datafiles><fileSize>1</fileSize></datafiles>",
        "<sample><id>99999999</id></sample>",
        "<sample><name>without id</name></sample>",
    ):
        kind, message = make(below).fault
        assert kind == "INTERNAL"
        assert message.startswith("Unexpected DB response")
    assert (
        soap.search(
            f"SELECT COUNT(d) FROM Dataset d WHERE d.type.id = {place.dataset_type.id}"
        ).text("return")
        == "0"
    )


def test_the_same_mistakes_at_the_top_are_not(make, place, soap):
    assert make("", name="n" * 256).fault == (
        "VALIDATION",
        "Dataset: name cannot have length > 255",
    )
    number = make("").text("return")
    top = (
        f"<dataset><id>{number}</id></dataset><numericValue>99</numericValue><type>"
        f"<id>{place.temperature.id}</id>{APPLICABLE}<enforced>true</enforced>"
        "<valueType>NUMERIC</valueType><minimumNumericValue>100</minimumNumericValue>"
        "<name>T</name></type>"
    )
    assert soap.create("datasetParameter", top).fault == (
        "VALIDATION",
        "Parameter of type T has value 99.0 < 100.0",
    )
    kind, message = soap.create(
        "datasetParameter", top.replace("<numericValue>99</numericValue>", "")
    ).fault
    assert kind == "INTERNAL"
    assert message.startswith('Cannot invoke "java.lang.Double.doubleValue()"')


def test_only_permissible_strings(soap, place, root, make):
    kind = root.new(
        "ParameterType",
        name="colour",
        units="",
        valueType="STRING",
        facility=place.facility,
        applicableToDataset=True,
        enforced=True,
    )
    kind.permissibleStringValues.append(root.new("PermissibleStringValue", value="red"))
    kind.create()
    said = (
        f"{APPLICABLE}<enforced>true</enforced><valueType>STRING</valueType>"
        "<name>colour</name>"
    )
    answer = make(parameter(kind.id, "<stringValue>blue</stringValue>", said))
    assert answer.fault[1].endswith("has value blue not in allowed set [red]")
    assert (
        make(parameter(kind.id, "<stringValue>red</stringValue>", said)).status == 200
    )


def test_references_are_not_touched(make, place, root):
    before = root.get("Investigation", place.investigation.id)
    make("")
    after = root.get("Investigation", place.investigation.id)
    assert after.modTime == before.modTime
    assert after.title == before.title


def test_time_without_zone_is_the_servers(make, root):
    number = int(make("<startDate>2026-07-02T03:04:05</startDate>").text("return"))
    assert (
        root.get("Dataset", number).startDate.isoformat() == "2026-07-02T03:04:05+00:00"
    )
    number = int(
        make("<startDate>2026-07-02T03:04:05.999+02:00</startDate>", "e").text("return")
    )
    assert (
        root.get("Dataset", number).startDate.isoformat() == "2026-07-02T01:04:05+00:00"
    )


def test_an_update_is_checked_against_the_stored_type(make, place, root, soap):
    answer = make(
        parameter(place.temperature.id, "<numericValue>5</numericValue>", APPLICABLE)
    )
    number = int(answer.text("return"))
    found = root.search(
        f"SELECT p FROM DatasetParameter p WHERE p.dataset.id = {number}"
    )[0]
    change = (
        f'<bean xsi:type="n:datasetParameter"><id>{found.id}</id>'
        f"<dataset><id>{number}</id></dataset><numericValue>99</numericValue>"
        f"<type><id>{place.temperature.id}</id></type></bean>"
    )
    assert soap.call("update", change).fault == (
        "VALIDATION",
        "Parameter of type temperature has value 99.0 > 10.0",
    )
    assert soap.call("update", change.replace("99", "9")).status == 200


def test_a_parameter_needs_a_type(make):
    kind, message = make(
        "<parameters><numericValue>1</numericValue></parameters>"
    ).fault
    assert kind == "INTERNAL"
    assert message.endswith("Type of parameter is not set")


def test_an_object_created_again_exists(make, soap, place):
    number = make("").text("return")
    answer = make(f"<id>{number}</id>")
    assert answer.fault[0] == "OBJECT_ALREADY_EXISTS"
