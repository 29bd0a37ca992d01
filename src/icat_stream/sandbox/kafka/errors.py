"""What goes wrong with a broker of the sandbox."""


class BrokerError(Exception):
    """A broker could not be installed, started or stopped; the text says what to do."""
