//! Reads tables, and turns rows into values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;

use dcp_database::{Database, MAX_ROWS, Transaction, parameter_table, signed};
use dcp_model::primitive::{Address, Fingerprint};
use dcp_server::offload;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::Sql;
use crate::registry::check::{self, LastRevision};
use crate::registry::{Error, Result};
use crate::state::Action;
use crate::state::{Applied, Base, Entry, Head, Revision, Scope};

const APPLIED_COLUMNS: &str = "serial, id, applied_by, applied_at, source_commit, counts";

/// A transaction with its reads.
pub(super) struct View(pub(super) Transaction);

impl Sql {
    /// A snapshot, which concurrent commits don't change.
    pub(super) async fn view(&self) -> Result<View> {
        Ok(View(self.database.read().await?))
    }
}

impl View {
    pub(super) async fn base(&mut self, scope: &Scope) -> Result<Base> {
        let query =
            sqlx::query("SELECT lineage, serial FROM registry_scopes WHERE scope = $1").bind(scope.as_str());
        let Some(row) = self.0.rows(query).await?.pop() else { return Ok(Base::default()) };
        Ok(Base { lineage: self.database().get(&row, 0)?, serial: self.database().number(&row, 1)? })
    }

    pub(super) async fn head(&mut self, scope: &Scope) -> Result<Head> {
        let Base { lineage, serial } = self.base(scope).await?;
        self.head_at(scope, lineage, serial).await
    }

    /// Returns the head at an earlier serial.
    pub(super) async fn head_at(
        &mut self,
        scope: &Scope,
        lineage: Option<String>,
        serial: u64,
    ) -> Result<Head> {
        if serial == 0 {
            return Ok(Head::default());
        }
        let applied = self.history(scope, Some(serial + 1), 1).await?.pop().filter(|it| it.serial == serial);
        match applied {
            Some(applied) => Ok(Head { base: Base { lineage, serial }, applied: Some(applied) }),
            None => Err(self.corrupt(&format!("nothing is known of serial {serial} of `{scope}`"))),
        }
    }

    pub(super) async fn entries(&mut self, scope: &Scope) -> Result<BTreeMap<Address, Entry>> {
        // All entries in one row, as passing rows takes longer than finding them. None of these texts has a space or a
        // comma.
        let query = "SELECT string_agg(address || ' ' || revision || ' ' || serial || ' ' || fingerprint, ',') \
            FROM registry_current WHERE scope = $1 AND fingerprint IS NOT NULL";
        let rows = self.0.rows(sqlx::query(query).bind(scope.as_str())).await?;
        let all: Option<&str> = rows.first().map(|row| self.database().get(row, 0)).transpose()?.flatten();
        let entry = |text: &str| {
            let number = |text: Option<&str>| text?.parse::<u64>().ok();
            let mut parts = text.split(' ');
            let address = parts.next().and_then(|text| Address::from_str(text).ok());
            let (revision, serial) = (number(parts.next()), number(parts.next()));
            let fingerprint = parts.next().and_then(Fingerprint::parse);
            match (address, revision, serial, fingerprint) {
                (Some(address), Some(revision), Some(serial), Some(fingerprint)) => {
                    Ok((address, Entry { fingerprint, revision, serial }))
                }
                _ => Err(self.corrupt(&format!("`{text}` is no entry"))),
            }
        };
        all.into_iter().flat_map(|all| all.split(',')).map(entry).collect()
    }

    pub(super) async fn entries_at(
        &mut self,
        scope: &Scope,
        serial: u64,
    ) -> Result<BTreeMap<Address, Entry>> {
        let query = "SELECT was.address, was.revision, was.serial, was.fingerprint \
            FROM registry_revisions AS was JOIN ( \
                SELECT address, max(revision) AS revision FROM registry_revisions \
                WHERE scope = $1 AND serial <= $2 GROUP BY address \
            ) AS newest ON was.address = newest.address AND was.revision = newest.revision \
            WHERE was.scope = $1 AND was.fingerprint IS NOT NULL";
        let query = sqlx::query(query).bind(scope.as_str()).bind(signed(serial));
        let rows = self.0.rows(query).await?;
        rows.iter().map(|row| self.entry(row)).collect()
    }

    pub(super) async fn unpublished(&mut self, scope: &Scope) -> Result<Vec<u64>> {
        let query = "SELECT serial FROM registry_unpublished WHERE scope = $1 ORDER BY serial";
        let rows = self.0.rows(sqlx::query(query).bind(scope.as_str())).await?;
        rows.iter().map(|row| Ok(self.database().number(row, 0)?)).collect()
    }

    pub(super) async fn bodies(&mut self, scope: &Scope, wanted: &[Fingerprint]) -> Result<Vec<String>> {
        let mut found = HashMap::with_capacity(wanted.len());
        for some in wanted.chunks(MAX_ROWS) {
            let wanted = parameter_table(2, some.len());
            let query = "JOIN registry_bodies ON scope = $1 AND fingerprint = column1";
            let query = format!("SELECT fingerprint, body FROM {wanted} {query}");
            let query =
                sqlx::query(AssertSqlSafe(query)).persistent(some.len() == MAX_ROWS).bind(scope.as_str());
            let query = some.iter().fold(query, |query, it| query.bind(it.as_str()));
            let rows = self.0.rows(query).await?;
            let read = {
                let get = |row, column| self.database().get(row, column);
                let read = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
                read.collect::<Result<Vec<(String, String)>>>()?
            };
            drop(rows);
            let bytes = read.iter().map(|(_, body)| body.len()).sum();
            let is_whole =
                |(fingerprint, body): &(String, String)| Fingerprint::of(body).as_str() == fingerprint;
            let check = move || {
                let damaged =
                    read.iter().find(|it| !is_whole(it)).map(|(fingerprint, _)| fingerprint.clone());
                damaged.map_or(Ok(read), Err)
            };
            match offload(bytes, check).await {
                Ok(read) => found.extend(read),
                Err(fingerprint) => {
                    let what = format!("a body is not what its fingerprint {fingerprint} is of");
                    return Err(self.corrupt(&what));
                }
            }
        }
        let body = |it: &Fingerprint| found.get(it.as_str()).cloned().ok_or_else(|| check::no_body(it));
        wanted.iter().map(body).collect()
    }

    pub(super) async fn domains(
        &mut self,
        scope: &Scope,
        wanted: &[Fingerprint],
    ) -> Result<Vec<BTreeSet<String>>> {
        let mut found: HashMap<String, BTreeSet<String>> = HashMap::with_capacity(wanted.len());
        for some in wanted.chunks(MAX_ROWS) {
            let wanted = parameter_table(2, some.len());
            let query = format!(
                "SELECT DISTINCT fingerprint, address FROM registry_revisions \
                 JOIN {wanted} ON fingerprint = column1 WHERE scope = $1"
            );
            let query =
                sqlx::query(AssertSqlSafe(query)).persistent(some.len() == MAX_ROWS).bind(scope.as_str());
            let query = some.iter().fold(query, |query, it| query.bind(it.as_str()));
            for row in &self.0.rows(query).await? {
                let (fingerprint, address): (String, String) =
                    (self.database().get(row, 0)?, self.database().get(row, 1)?);
                let address: Address = address.parse().map_err(|why: String| self.corrupt(&why))?;
                found.entry(fingerprint).or_default().insert(address.domain);
            }
        }
        Ok(wanted.iter().map(|it| found.get(it.as_str()).cloned().unwrap_or_default()).collect())
    }

    pub(super) async fn revisions(&mut self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        let query = "SELECT revision, serial, action, fingerprint FROM registry_revisions \
            WHERE scope = $1 AND address = $2 ORDER BY revision DESC";
        let rows = self.0.rows(sqlx::query(query).bind(scope.as_str()).bind(address.to_string())).await?;
        rows.iter().map(|row| self.revision(row)).collect()
    }

    pub(super) async fn history(
        &mut self,
        scope: &Scope,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Applied>> {
        let query = format!(
            "SELECT {APPLIED_COLUMNS} FROM registry_applies WHERE scope = $1 AND serial < $2 ORDER BY serial DESC LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(query)).bind(scope.as_str());
        let query = query.bind(before.map_or(i64::MAX, signed)).bind(i64::from(limit));
        let rows = self.0.rows(query).await?;
        rows.iter().map(|row| self.applied(row)).collect()
    }

    /// Returns the commit with an id.
    pub(super) async fn by_id(&mut self, scope: &Scope, id: &str) -> Result<Option<Applied>> {
        let query = format!("SELECT {APPLIED_COLUMNS} FROM registry_applies WHERE scope = $1 AND id = $2");
        let rows = self.0.rows(sqlx::query(AssertSqlSafe(query)).bind(scope.as_str()).bind(id)).await?;
        rows.first().map(|row| self.applied(row)).transpose()
    }

    /// Returns the last revisions of addresses that have one.
    pub(super) async fn last(
        &mut self,
        scope: &Scope,
        addresses: &[String],
    ) -> Result<HashMap<String, LastRevision>> {
        let wanted = parameter_table(2, addresses.len());
        let query = "JOIN registry_current ON scope = $1 AND address = column1";
        let query = format!("SELECT address, revision, fingerprint FROM {wanted} {query}");
        let query =
            sqlx::query(AssertSqlSafe(query)).persistent(addresses.len() == MAX_ROWS).bind(scope.as_str());
        let rows = self.0.rows(addresses.iter().fold(query, |query, it| query.bind(it.as_str()))).await?;
        let last = |row: &AnyRow| {
            let present = self.database().get::<Option<&str>>(row, 2)?.is_some();
            Ok((
                self.database().get(row, 0)?,
                LastRevision { revision: self.database().number(row, 1)?, present },
            ))
        };
        rows.iter().map(last).collect()
    }

    fn database(&self) -> &Database {
        self.0.database()
    }

    fn corrupt(&self, what: &str) -> Error {
        self.database().corrupt(what).into()
    }

    pub(super) fn revision(&self, row: &AnyRow) -> Result<Revision> {
        let fingerprint: Option<String> = self.database().get(row, 3)?;
        Ok(Revision {
            revision: self.database().number(row, 0)?,
            serial: self.database().number(row, 1)?,
            action: self.database().json::<Action>(row, 2)?,
            fingerprint: fingerprint.map(|it| self.fingerprint(&it)).transpose()?,
        })
    }

    pub(super) fn address(&self, row: &AnyRow, column: usize) -> Result<Address> {
        let address: &str = self.database().get(row, column)?;
        Address::from_str(address).map_err(|why| self.corrupt(&why))
    }

    fn entry(&self, row: &AnyRow) -> Result<(Address, Entry)> {
        let address = self.address(row, 0)?;
        let fingerprint = self.fingerprint(self.database().get(row, 3)?)?;
        Ok((
            address,
            Entry {
                fingerprint,
                revision: self.database().number(row, 1)?,
                serial: self.database().number(row, 2)?,
            },
        ))
    }

    fn applied(&self, row: &AnyRow) -> Result<Applied> {
        let at: &str = self.database().get(row, 3)?;
        let not_a_time = |_| self.corrupt(&format!("`{at}` is no time"));
        Ok(Applied {
            serial: self.database().number(row, 0)?,
            id: self.database().get(row, 1)?,
            by: self.database().get(row, 2)?,
            at: at.parse().map_err(not_a_time)?,
            commit: self.database().get(row, 4)?,
            counts: self.database().json(row, 5)?,
        })
    }

    fn fingerprint(&self, text: &str) -> Result<Fingerprint> {
        let wrong = || self.corrupt(&format!("`{text}` is no fingerprint"));
        Fingerprint::parse(text).ok_or_else(wrong)
    }
}
