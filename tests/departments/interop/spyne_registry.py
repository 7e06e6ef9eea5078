"""The civil registry's person query on Python's spyne.

Usage: spyne_registry.py PEOPLE.json

PEOPLE.json is the output of `jumpgate-departments --dump-people`. Prints the port it listens on, on
loopback, as one line; stops when its standard input closes. The types come from our WSDL, the
envelopes, prefixes and faults from spyne: a reply that an adapter reads here was written by nobody
who knows the adapter.
"""

import json
import logging
import pathlib
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

from lxml import etree
from spyne import Application, ComplexModelBase, Fault, ServiceBase, Unicode, rpc
from spyne import Integer, XmlAttribute, XmlData
from spyne.model.complex import ComplexModelMeta
from spyne.protocol.soap import Soap11
from spyne.server.wsgi import WsgiApplication

NAMESPACE = "urn:civil-registry:person:2"
WSDL = pathlib.Path(__file__).parent.parent / "wsdl" / "person-query.wsdl"
XS = "{http://www.w3.org/2001/XMLSchema}"
KINDS = ("passport", "handle", "resident-identity", "isikukood")


def complex_type(name, members):
    """A spyne class with members in this order."""
    body = {"__namespace__": NAMESPACE, "__type_name__": name, "_type_info": members}
    return ComplexModelMeta(name, (ComplexModelBase,), body)


Identifier = complex_type(
    "Identifier", [("text", XmlData(Unicode)), ("type", XmlAttribute(Unicode))]
)


def types_of(wsdl):
    """The complex types of a WSDL's schema, by name."""
    declared = {node.get("name"): node for node in etree.parse(wsdl).iter(XS + "complexType")}
    made = {"Identifier": Identifier}

    def make(name):
        if name not in made:
            elements = declared[name].iter(XS + "element")
            made[name] = complex_type(name, [(e.get("name"), member(e)) for e in elements])
        return made[name]

    def member(element):
        prefix, _, name = element.get("type").partition(":")
        kind = make(name) if prefix == "p" and name in declared else Unicode
        several = {"max_occurs": "unbounded"} if element.get("maxOccurs") else {}
        least = int(element.get("minOccurs", "1"))
        return kind.customize(min_occurs=least, nillable=True, **several)

    make("Person")
    return made


TYPES = types_of(WSDL)
Person = TYPES["Person"]
Result = complex_type("Result", [("Code", Unicode), ("Count", Integer)])


def instance(kind, value):
    """An object of a spyne class from the dump's JSON."""
    if isinstance(value, list):
        return [instance(kind, item) for item in value]
    if not isinstance(value, dict):
        return value
    # A customised class only describes a member; objects are made of the type itself.
    plain = TYPES[kind.get_type_name()]
    known = plain.get_flat_type_info(plain)
    return plain(**{name: instance(known[name], item) for name, item in value.items()})


class PersonQuery(ServiceBase):
    """The one operation. `people` is filled before the server starts."""

    people = {}

    @rpc(
        Identifier.customize(min_occurs=1, nillable=False),
        Unicode.customize(min_occurs=1, nillable=False),
        _in_variable_names={"identifier": "Identifier", "view": "View"},
        _returns=[Result, Person.customize(min_occurs=0, max_occurs="unbounded")],
        _out_variable_names=["Result", "Person"],
    )
    def QueryPerson(ctx, identifier, view):
        if identifier is None or identifier.type not in KINDS:
            raise Fault("Client", "the type of the Identifier is not known")
        if view != "full":
            raise Fault("Client", "View must be full")
        found = PersonQuery.people.get((identifier.type, (identifier.text or "").strip()), [])
        code = "NOT_FOUND" if not found else "OK" if len(found) == 1 else "MULTIPLE"
        return Result(Code=code, Count=len(found)), found


class Quiet(WSGIRequestHandler):
    """Writes no line for each request: a log would hold nothing a test reads."""

    def log_message(self, *_):
        pass


def main():
    # spyne writes a stack trace for each fault it sends; here faults are ordinary replies.
    logging.getLogger("spyne").setLevel(logging.CRITICAL)
    for person in json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")):
        record = instance(Person, person["record"])
        for key in person["identifiers"].items():
            PersonQuery.people.setdefault(key, []).append(record)
    application = Application(
        [PersonQuery],
        NAMESPACE,
        name="PersonQuery",
        in_protocol=Soap11(validator="soft"),
        out_protocol=Soap11(),
    )
    server = make_server("127.0.0.1", 0, WsgiApplication(application), handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
