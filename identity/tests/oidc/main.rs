//! Verification of access tokens, with providers that are broken or hostile.

mod documents;
mod keys;
mod provider;
mod rotation;
mod tokens;
