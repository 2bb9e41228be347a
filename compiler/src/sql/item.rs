//! The items of a `FROM` clause.

use std::collections::HashSet;

use sqlparser::ast::{Spanned, TableAlias, TableFactor};

use super::walk::Source;

/// A source as a `FROM` clause names it.
#[derive(Debug)]
pub(super) struct Item {
    /// What qualifies its columns, lower-cased.
    pub(super) qualifier: Option<String>,
    /// The relation, if it is a base relation and nothing else.
    pub(super) base: Option<usize>,
    pub(super) source: Source,
    /// The qualifiers that a `LATERAL` subquery names.
    pub(super) mentioned: HashSet<String>,
}

impl Item {
    pub(super) fn new(alias: Option<&TableAlias>, source: Source) -> Self {
        Self::of(alias.map(|alias| alias.name.value.to_lowercase()), None, source)
    }

    pub(super) fn of(qualifier: Option<String>, base: Option<usize>, source: Source) -> Self {
        Self { qualifier, base, source, mentioned: HashSet::new() }
    }
}

pub(super) fn factor_span(factor: &TableFactor) -> sqlparser::tokenizer::Span {
    match factor {
        TableFactor::Table { name, .. } => name.span(),
        TableFactor::Derived { subquery, .. } => subquery.span(),
        other => other.span(),
    }
}
