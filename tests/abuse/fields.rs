//! Everything else that a client writes.
