//! What may be set, and its defaults
