//! The audit log of a service: its database, and a file with a line of JSON for each entry.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dcp_identity::audit::Store;
use dcp_server::{AuditEntry, AuditLog};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::failure::Failure;

/// Entries in the database, and then in a file.
#[derive(Debug)]
struct WithFile {
    store: Store,
    file: Mutex<File>,
}

/// Opens the audit log, and removes old entries of the database in a task of the current runtime.
pub(crate) fn open(store: Store, keep_days: u32, file: Option<&Path>) -> Result<Arc<dyn AuditLog>, Failure> {
    let retention = Duration::from_hours(24 * u64::from(keep_days));
    tokio::spawn(store.clone().clean(retention, Timestamp::now));
    let Some(path) = file else { return Ok(Arc::new(store)) };
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let file = opened.map_err(|error| Failure::at(path, "written", &error))?;
    Ok(Arc::new(WithFile { store, file: Mutex::new(file) }))
}

#[async_trait]
impl AuditLog for WithFile {
    async fn record(&self, entry: AuditEntry) -> Result<(), String> {
        self.store.record(entry.clone()).await?;
        let line = format!("{}\n", to_json(&entry));
        // One write for each line, so that lines do not mix.
        let written = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        written.map_err(|error| format!("its file can't be written: {error}"))
    }
}

pub(crate) fn to_json(entry: &AuditEntry) -> Value {
    let AuditEntry {
        at,
        caller,
        credential,
        action,
        scope,
        domain,
        subject,
        on_behalf_of,
        is_allowed,
        reason,
        peer,
        trace,
    } = entry;
    let mut value = json!({
        "at": at, "caller": caller, "credential": credential, "action": action, "scope": scope, "domain": domain,
        "subject": subject, "allowed": is_allowed, "reason": reason, "peer": peer, "trace": trace,
    });
    if let Some(person) = on_behalf_of {
        value["onBehalfOf"] = json!(person);
    }
    value
}
