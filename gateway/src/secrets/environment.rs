//! Secrets in variables of this process.

use async_trait::async_trait;

use super::{Provider, SecretValue};
use crate::SecretKey;
use crate::error::Result;

/// The beginning of the names of variables.
const PREFIX: &str = "DCP_SECRET_";

/// Variables of this process, whatever the domain. Their names could not separate domains: `A_B_C` may belong to `a` or
/// to `a-b`.
#[derive(Debug, Clone)]
pub struct Environment {
    prefix: String,
}

impl Default for Environment {
    fn default() -> Self {
        Self::new(PREFIX)
    }
}

impl Environment {
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Returns `<PREFIX><NAME>_<KEY>`, in upper case.
    fn variable(&self, secret: &SecretKey) -> String {
        let upper = |text: &str| text.to_ascii_uppercase().replace(['-', '.'], "_");
        format!("{}{}_{}", self.prefix, upper(secret.name()), upper(secret.key()))
    }
}

#[async_trait]
impl Provider for Environment {
    async fn get(&self, _: &str, secret: &SecretKey) -> Result<Option<SecretValue>> {
        Ok(std::env::var(self.variable(secret)).ok().map(SecretValue::new))
    }

    fn location(&self, _: &str, secret: &SecretKey) -> String {
        format!("the variable {} in the environment of dcp", self.variable(secret))
    }

    fn is_on_this_machine(&self) -> bool {
        true
    }
}
