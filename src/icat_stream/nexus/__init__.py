"""Reading declared paths of a NeXus file safely, in child processes.

Nothing that is announced is touched by the calling process: a stalled mount or a
hostile file costs a child at most.  Importing this room imports no h5py.
"""

from .limits import Limits
from .outline import OutlineNode, read_outline
from .reader import NexusReader

__all__ = ["Limits", "NexusReader", "OutlineNode", "read_outline"]
