//! Blocks, Merkle proofs, seals and receipts of the Event Chain.
