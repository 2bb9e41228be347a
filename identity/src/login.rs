//! Logins of people at `OpenID` providers, and tokens of continuous integration.
//!
//! [`discovery`], [`grant`], [`device`] and [`callback`] read what providers and browsers send, and decide; [`client`] and
//! [`browser`] send and receive. Providers and local processes are treated as hostile: sizes and times are limited, and
//! messages quote the text of a provider only shortened and without control characters.

mod browser;
mod callback;
mod client;
mod device;
mod discovery;
mod github;
mod grant;

pub use browser::{BrowserLogin, LOGIN_TIMEOUT};
pub use client::LoginClient;
pub use device::DeviceCode;
pub use discovery::{Endpoints, check_issuer};
pub use github::{Actions, is_github};
pub use grant::{Error, Grant};
