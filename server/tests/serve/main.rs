//! Tests of a server over real connections.

// Each module has `cfg(test)`, so that lints treat its helpers as test code.
#[cfg(test)]
mod calls;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod client;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod unix;
