//! Sandboxes.

mod spark;
