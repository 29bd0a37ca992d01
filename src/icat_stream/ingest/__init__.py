"""Messages, handlers, catalogue and storage joined into consumers.

Used by the daemon and by the one-shot alike.
"""
