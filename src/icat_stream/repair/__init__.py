"""After the fact: reconciliation of disk, catalogue and journal; handling again."""
