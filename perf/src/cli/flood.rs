//! `sluice-perf flood`.
