"""The commands: arguments, printing and exit codes, nothing else.

Everything heavy is imported inside the commands, so that ``--help`` is quick.
"""
