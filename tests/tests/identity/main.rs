//! Identification of callers by a real provider. `make test-identity` runs these tests.

mod identity;
mod server;
