//! `dcp fmt`: what it does to files.

mod document;
mod fmt_golden;
mod fmt_properties;
