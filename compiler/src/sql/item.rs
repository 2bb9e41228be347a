//! The items of a `FROM` clause.

use std::collections::HashSet;

use sqlparser::ast::{Spanned, TableAlias, TableFactor};

use super::walk::Source;

/// A source in a `FROM` clause.
#[derive(Debug)]
pub(super) struct Item {
    /// The qualifier of its columns, in lower case.
    pub(super) qualifier: Option<String>,
    /// The relation, if it is a single base relation.
    pub(super) base: Option<usize>,
    pub(super) source: Source,
    /// The qualifiers that a `LATERAL` subquery uses.
    pub(super) lateral_qualifiers: HashSet<String>,
}

impl Item {
    pub(super) fn new(alias: Option<&TableAlias>, source: Source) -> Self {
        Self::of(alias.map(|alias| alias.name.value.to_lowercase()), None, source)
    }

    pub(super) fn of(qualifier: Option<String>, base: Option<usize>, source: Source) -> Self {
        Self { qualifier, base, source, lateral_qualifiers: HashSet::new() }
    }
}

pub(super) fn factor_span(factor: &TableFactor) -> sqlparser::tokenizer::Span {
    match factor {
        TableFactor::Table { name, .. } => name.span(),
        TableFactor::Derived { subquery, .. } => subquery.span(),
        other => other.span(),
    }
}
