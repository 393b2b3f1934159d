//! Identity, agreement and keys of the mesh: the pure protocol core.
