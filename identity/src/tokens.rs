//! Static tokens: their store, and the verifier of callers who send them.

mod text;
mod verifier;

use std::path::Path;

use dcp_database::{Database, Result, Schema};
use jiff::Timestamp;
use sqlx::any::AnyRow;

use text::SaltedHash;
pub use text::TokenText;
pub use verifier::StoredTokens;

const SCHEMA: Schema =
    Schema { table: "identity_schema", migrations: &[include_str!("tokens/schema-1.sql")] };

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    pub id: String,
    /// The name of the holder.
    pub name: String,
    pub groups: Vec<String>,
    pub created: Timestamp,
    pub created_by: String,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
    /// The time of the last use, to the minute.
    pub used: Option<Timestamp>,
    hash: SaltedHash,
}

impl StoredToken {
    /// Returns true if the token is neither revoked nor expired.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

/// The properties of a token to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub name: String,
    pub groups: Vec<String>,
    pub created_by: String,
    pub expires: Option<Timestamp>,
}

/// The stored tokens of a database. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
}

const COLUMNS: &str =
    "id, name, member_of, salt, hash, created_at, created_by, expires_at, revoked_at, used_at";

impl Store {
    /// Opens a file of SQLite. If it is missing, it is created.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        Self::with_database(Database::sqlite(path).await?).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`.
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::with_database(Database::postgres(url).await?).await
    }

    async fn with_database(database: Database) -> Result<Self> {
        database.migrate(&SCHEMA).await?;
        Ok(Self { database })
    }

    /// Creates a token, and returns its text. It is not stored, so this is the only time that it is known.
    pub async fn create(&self, new: &NewToken, now: Timestamp) -> Result<(StoredToken, TokenText)> {
        let text = TokenText::generate();
        let hash = SaltedHash::of(&text);
        let NewToken { name, groups, created_by, expires } = new.clone();
        let token = StoredToken {
            id: text.id().to_owned(),
            name,
            groups,
            created: now,
            created_by,
            expires,
            revoked: None,
            used: None,
            hash,
        };
        let insert = "INSERT INTO identity_tokens \
            (id, name, member_of, salt, hash, created_at, created_by, expires_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let groups = serde_json::to_string(&token.groups).unwrap_or_default();
        let query = sqlx::query(insert)
            .bind(token.id.as_str())
            .bind(token.name.as_str())
            .bind(groups)
            .bind(token.hash.salt.as_str())
            .bind(token.hash.hash.as_str())
            .bind(token.created.to_string())
            .bind(token.created_by.as_str())
            .bind(token.expires.map(|it| it.to_string()));
        self.database.execute(query).await?;
        Ok((token, text))
    }

    /// Returns all tokens, also those that are revoked or expired, the oldest first.
    pub async fn list(&self) -> Result<Vec<StoredToken>> {
        let query =
            sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM identity_tokens ORDER BY created_at, id"));
        let rows = self.database.rows(sqlx::query(query)).await?;
        rows.iter().map(|row| self.token(row)).collect()
    }

    /// Revokes a token. Returns false if there is no such token. A revoked token stays in the list.
    pub async fn revoke(&self, id: &str, now: Timestamp) -> Result<bool> {
        let update = "UPDATE identity_tokens SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2";
        Ok(self.database.execute(sqlx::query(update).bind(now.to_string()).bind(id)).await? > 0)
    }

    /// Records that tokens were used.
    async fn record_use(&self, ids: &[String], at: Timestamp) -> Result<()> {
        for id in ids {
            let update = sqlx::query("UPDATE identity_tokens SET used_at = $1 WHERE id = $2");
            self.database.execute(update.bind(at.to_string()).bind(id.as_str())).await?;
        }
        Ok(())
    }

    fn token(&self, row: &AnyRow) -> Result<StoredToken> {
        let database = &self.database;
        let time = |column| {
            let text: Option<String> = database.get(row, column)?;
            let parsed = text.map(|text| text.parse::<Timestamp>()).transpose();
            parsed.map_err(|error| database.corrupt(&format!("a token has no valid time: {error}")))
        };
        let created = time(5)?.ok_or_else(|| database.corrupt("a token has no time"))?;
        Ok(StoredToken {
            id: database.get(row, 0)?,
            name: database.get(row, 1)?,
            groups: database.json(row, 2)?,
            hash: SaltedHash { salt: database.get(row, 3)?, hash: database.get(row, 4)? },
            created,
            created_by: database.get(row, 6)?,
            expires: time(7)?,
            revoked: time(8)?,
            used: time(9)?,
        })
    }
}

#[cfg(test)]
mod tests;
