"""ICAT's protocol, spoken here only: sessions, SOAP, queries, schema and faults."""
