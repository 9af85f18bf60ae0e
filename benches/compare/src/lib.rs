//! Nothing here: the comparisons are in `benches/`.
