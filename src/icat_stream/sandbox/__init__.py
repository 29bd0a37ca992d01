"""The embedded facility: an ICAT, an IDS, a Kafka and files to try things on."""
