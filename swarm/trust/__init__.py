"""Keys, sealed and countersigned contracts, the checks before dispatch, and the audit log."""
