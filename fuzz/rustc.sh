#!/bin/sh
# Compiles a crate of the workspace so that the fuzzer sees which branches it takes and what it compares. Cargo
# calls it in place of rustc (RUSTC_WORKSPACE_WRAPPER) for these crates alone: the dependencies stay as they are
# and are not compiled again. Sanitizer passes are part of the stable compiler; only their short flags are not.
exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
