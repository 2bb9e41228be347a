//! PostgreSQL: a server that the user runs.

use std::str::FromStr as _;

use sqlx::any::AnyConnectOptions;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;

use super::{Database, Error, Identity, Kind, Result};

/// Limits the time of statements, of waits for another's commit, and of transactions whose control plane is gone.
pub(super) const SETUP: &str = "SET application_name = 'dcp'; SET statement_timeout = '60s'; SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = 'warning'; \
    SET synchronous_commit = 'on'";

const CONNECTIONS: u32 = 16;

pub(super) async fn open(url: &str) -> Result<Database> {
    // The parser's message may quote parts of the URL, and so of a password.
    let unreadable = || {
        Error::Invalid(
            "the database's URL can't be read: write `postgres://user@host:5432/database`".to_owned(),
        )
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(unreadable());
    }
    let known = PgConnectOptions::from_str(url).map_err(|_| unreadable())?;
    let database = known.get_database().unwrap_or(known.get_username());
    let identity = Identity {
        kind: Kind::Postgres,
        name: format!("PostgreSQL `{}:{}/{database}`", known.get_host(), known.get_port()),
    };
    sqlx::any::install_default_drivers();
    let options = AnyConnectOptions::from_str(url).map_err(|_| unreadable())?;
    identity.open(options, CONNECTIONS, SETUP).await
}

pub(super) fn error(identity: &Identity, error: &dyn DatabaseError) -> Error {
    let message = error.message();
    let code = error.code().unwrap_or_default();
    match (code.get(..2).unwrap_or_default(), &*code) {
        ("28", _) => {
            Error::Denied(format!("{identity} refuses the user: {message}; see the URL's user and password"))
        }
        (_, "42501") => {
            Error::Denied(format!("{identity} does not let the user: {message}; grant it to the URL's user"))
        }
        ("3D" | "3F", _) => {
            Error::NotFound(format!("{identity} is not there: {message}; create it, and start again"))
        }
        ("53", _) => {
            Error::Unavailable(format!("{identity} is short of something: {message}; nothing was written"))
        }
        (_, "55P03" | "57014") => {
            Error::Unavailable(format!("{identity} took too long: {message}; nothing was written, try again"))
        }
        // A wrong table, column or constraint, or a damaged page. Other errors may be temporary.
        ("23" | "42" | "XX", _) => identity.corrupt(message),
        _ => Error::Unavailable(format!("{identity} did not do it: {message}; try again")),
    }
}
