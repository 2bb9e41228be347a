//! `dcp fmt`: what it does to files.

mod fmt_golden;
