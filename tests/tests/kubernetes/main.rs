//! Tests of the backend `kubernetes` with a real cluster.

mod cluster;
