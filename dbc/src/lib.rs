//! Load, decode and encode DBC databases.
