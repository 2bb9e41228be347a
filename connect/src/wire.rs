//! Spark Connect on the wire, as far as the proxy has to understand it.
//!
//! The proxy reads the session of a request, sets its user, and removes the driver's token from one kind of response. It decodes
//! nothing else, so fields and methods of newer clients and servers pass unchanged.

pub(crate) mod config;
mod fields;
pub(crate) mod frame;
pub(crate) mod request;
