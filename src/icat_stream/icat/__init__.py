"""ICAT's protocol, spoken here only: connection, session, SOAP, queries, schema, faults."""
