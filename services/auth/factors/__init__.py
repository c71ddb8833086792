"""Second factors: codes of an authenticator app (RFC 6238), and recovery codes for who lost it."""
