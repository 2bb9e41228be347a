//! What is served, over real connections.

// So that the lints see tests in what tests call.
#[cfg(test)]
mod calls;
