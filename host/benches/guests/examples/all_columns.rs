//! Reads every column, and gives it back.

rowgate_transform::export!(bench_guests::AllColumns);
