//! Bytes of a file, decompressed, with positions.
