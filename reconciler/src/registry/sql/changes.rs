//! Changes since a serial, for the reconciler.

use std::collections::BTreeMap;

use dcp_database::signed;
use dcp_model::primitive::{Address, Fingerprint, Kind};

use super::Sql;
use crate::registry::Result;
use crate::state::{Revision, Scope};

/// The applied body of an address, with its revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedAddress {
    pub address: Address,
    /// All revisions, newest first.
    pub revisions: Vec<Revision>,
    /// The applied body; none if it was deleted.
    pub body: Option<String>,
    /// The author of the newest revision.
    pub author: String,
}

impl Sql {
    /// Returns all scopes with their serials.
    pub async fn scopes(&self) -> Result<Vec<(Scope, u64)>> {
        let query = sqlx::query("SELECT scope, serial FROM registry_scopes ORDER BY scope");
        let rows = self.database.rows(query).await?;
        let scope = |row| {
            let name: &str = self.database.get(row, 0)?;
            let scope = name.parse().map_err(|_| self.database.corrupt(&format!("`{name}` is no scope")))?;
            Ok((scope, self.database.number(row, 1)?))
        };
        rows.iter().map(scope).collect()
    }

    /// Returns the current serial, and the addresses of a kind that changed after a serial, deleted ones included.
    pub async fn changed(&self, scope: &Scope, kind: Kind, since: u64) -> Result<(u64, Vec<ChangedAddress>)> {
        let mut view = self.view().await?;
        let serial = view.base(scope).await?.serial;
        let rows = view.rows_of_changed(scope, &format!("{}/", kind.name()), since).await?;
        let mut all: BTreeMap<Address, Vec<Revision>> = BTreeMap::new();
        let mut authors = BTreeMap::new();
        for (address, revision, author) in rows {
            authors.insert(address.clone(), author);
            all.entry(address).or_default().push(revision);
        }
        let newest = |revisions: &[Revision]| revisions.first().and_then(|it| it.fingerprint.clone());
        let wanted: Vec<Fingerprint> = all.values().filter_map(|it| newest(it)).collect();
        let mut bodies = view.bodies(scope, &wanted).await?.into_iter();
        let changed = all.into_iter().map(|(address, revisions)| {
            let body = newest(&revisions).and_then(|_| bodies.next());
            let author = authors.remove(&address).unwrap_or_default();
            ChangedAddress { address, revisions, body, author }
        });
        Ok((serial, changed.collect()))
    }
}

impl super::read::View {
    /// Returns all revisions of the changed addresses with a prefix, newest first, each with the author of the newest.
    async fn rows_of_changed(
        &mut self,
        scope: &Scope,
        begins: &str,
        since: u64,
    ) -> Result<Vec<(Address, Revision, String)>> {
        // Compares the first characters, because the order of texts depends on the collation.
        let query = "SELECT was.revision, was.serial, was.action, was.fingerprint, was.address, last.applied_by \
            FROM registry_current AS now JOIN registry_revisions AS was \
                ON was.scope = now.scope AND was.address = now.address \
            JOIN registry_applies AS last ON last.scope = now.scope AND last.serial = now.serial \
            WHERE now.scope = $1 AND now.serial > $2 AND substr(now.address, 1, length($3)) = $3 \
            ORDER BY was.address, was.revision DESC";
        let query = sqlx::query(query).bind(scope.as_str()).bind(signed(since)).bind(begins);
        let rows = self.0.rows(query).await?;
        let read = |row| Ok((self.address(row, 4)?, self.revision(row)?, self.0.database().get(row, 5)?));
        rows.iter().map(read).collect()
    }
}
