"""An ICAT Data Service: stores files and hands them out, as the catalogue allows.

Every call is checked against ICAT with the caller's own session.  A file is stored
first and catalogued after, and uncatalogued first and removed after: there may be a
file without an entry in ICAT, never an entry without its file.
"""
