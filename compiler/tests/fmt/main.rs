//! Tests of `dcp fmt`.

mod document;
mod fmt_golden;
mod fmt_limits;
mod fmt_properties;
mod inline;
mod writer;
