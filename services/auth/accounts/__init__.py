"""Service accounts: software with a client id and secrets, which it trades for access tokens (RFC 6749, 4.4)."""
