//! What is served, over real connections.

// So that the lints see tests in what tests call.
#[cfg(test)]
mod calls;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod unix;
