//! Texts that are taken for secrets, and texts that are not.

mod golden;
mod properties;
