"""What keeps a backup from being made or put back, in words for whom it concerns."""


class BackupFailed(Exception):
    """Nothing was made or put back; what lay there before is as it was."""
