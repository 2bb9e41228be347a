//! All uses of tables in one statement, each with its place, for programs that replace tables by others.
//!
//! The facts of a script may leave out what does not matter to lineage. Here, each table that a statement may write is a use, or
//! the statement is unsupported. Tables that it reads may be missing in rare forms.

use std::collections::HashSet;

use sqlparser::ast::{SetExpr, Statement as Ast, TableObject};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use super::dialect::Spark;
use super::facts::TableUse;
use super::layout::Layout;
use super::tokens::{self, span_range};
use super::walk::Walk;
use super::{Detail, MAX_NESTING, names, rewrite, script};

/// The uses of tables in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// In source order, without CTEs.
    pub uses: Vec<TableUse>,
    /// The temporary view that the statement defines, in lower case.
    pub temporary_view: Option<String>,
    /// Whether the statement drops a view: a temporary one, or another.
    pub drops_view: bool,
    /// The qualifiers of columns and of `*`, in lower case: the words before a dot that are no part of a table's name.
    pub qualifiers: HashSet<String>,
    /// Whether the table that it writes has to exist: it adds, changes or removes rows or columns.
    pub changes_table: bool,
    /// Whether columns of the table that it writes can have the table's name before them.
    pub qualifies_target: bool,
}

/// The reason why the uses of a statement are not known, to be read after the statement's name: "can't be followed".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported(pub String);

/// Returns the uses of tables in one statement.
///
/// Supported are queries, `INSERT`, `MERGE`, `UPDATE`, `DELETE`, `TRUNCATE`, and `CREATE`, `ALTER` and `DROP` of tables and views,
/// if all their tables are known before they run and have no location of their own.
pub fn uses(sql: &str) -> Result<Statement, Unsupported> {
    let not_read = || Unsupported("can't be read here".to_owned());
    let tokens = tokens::of(sql, &Spark { versions: false }).ok_or_else(not_read)?;
    reject_uncertain(sql)?;
    let tokens: Vec<_> = tokens.into_iter().filter(|it| !matches!(it.token, Token::Whitespace(_))).collect();
    let layout = Layout::of(&tokens);
    if layout.too_deep.is_some() || layout.statements.len() != 1 {
        return Err(Unsupported("is not one statement that can be read here".to_owned()));
    }
    let found = match definition(&tokens)? {
        Some(found) => found,
        None => parsed(sql, layout)?,
    };
    checked(sql, &tokens, found)
}

/// Rejects a text that Spark may read otherwise.
fn reject_uncertain(sql: &str) -> Result<(), Unsupported> {
    let unsupported = |why: &str| Err(Unsupported(why.to_owned()));
    if sql.contains("${") {
        return unsupported("has a variable `${…}`, which Spark replaces at run time");
    }
    // The tokens of the reader have no comments.
    let tokens = Tokenizer::new(&Spark { versions: false }, sql).with_unescape(false).tokenize();
    for token in tokens.map_err(|_| Unsupported("can't be read here".to_owned()))? {
        match token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. })
                if comment.trim_end_matches(['\r', '\n']).ends_with('\\') =>
            {
                return unsupported("has a comment that a backslash continues on the next line");
            }
            Token::Whitespace(Whitespace::MultiLineComment(comment)) if comment.contains("/*") => {
                return unsupported("has a comment in a comment");
            }
            _ => {}
        }
    }
    Ok(())
}

fn keyword(token: Option<&TokenWithSpan>) -> Keyword {
    match token.map(|it| &it.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Reads `CREATE TABLE` without a query, `ALTER` and `DROP`, in which only one name is of a table.
fn definition(tokens: &[TokenWithSpan]) -> Result<Option<Statement>, Unsupported> {
    let word = |index: usize| keyword(tokens.get(index));
    let (before_name, drops_view) = match (word(0), word(1)) {
        (Keyword::ALTER, Keyword::TABLE) if renames_table(tokens) => {
            return Err(Unsupported("renames a table".to_owned()));
        }
        (Keyword::ALTER | Keyword::DROP, Keyword::TABLE) => (2, false),
        (Keyword::DROP, Keyword::VIEW) => (2, true),
        _ => match created_table(tokens) {
            Some(before_name) => (before_name, false),
            None => return Ok(None),
        },
    };
    let range = rewrite::name(tokens, before_name);
    let range = range.ok_or_else(|| Unsupported("has a name that is only known when it runs".to_owned()))?;
    if drops_view && tokens.get(range.end).is_some_and(|it| it.token == Token::Comma) {
        return Err(Unsupported("drops several views".to_owned()));
    }
    Ok(Some(Statement {
        uses: vec![target(tokens.get(range).unwrap_or_default())],
        temporary_view: None,
        drops_view,
        qualifiers: HashSet::new(),
        changes_table: word(0) == Keyword::ALTER,
        qualifies_target: false,
    }))
}

/// Returns the number of tokens before the name in a `CREATE TABLE` without a query and without another table.
fn created_table(tokens: &[TokenWithSpan]) -> Option<usize> {
    let head = tokens.iter().map(|token| keyword(Some(token)));
    let head =
        head.take_while(|word| matches!(word, Keyword::CREATE | Keyword::OR | Keyword::REPLACE)).count();
    let mut words = tokens.iter().map(|token| keyword(Some(token)));
    let others = [Keyword::SELECT, Keyword::FROM, Keyword::LIKE, Keyword::AS, Keyword::VALUES];
    let is_plain = head > 0 && keyword(tokens.get(head)) == Keyword::TABLE;
    (is_plain && !words.any(|word| others.contains(&word))).then_some(head + 1)
}

/// Returns the use of a table that a statement creates, changes or drops, by the tokens of its name.
fn target(name: &[TokenWithSpan]) -> TableUse {
    let parts = name.iter().filter_map(|token| match &token.token {
        Token::Word(word) => Some(word.value.clone()),
        _ => None,
    });
    let start = name.first().map_or(0, |it| span_range(it.span).start);
    let end = name.last().map_or(start, |it| span_range(it.span).end);
    TableUse { parts: parts.collect(), at: start..end, writes: true, has_alias: false, is_path: false }
}

/// Returns whether `RENAME` is followed by `TO`: columns are renamed by `RENAME COLUMN`.
fn renames_table(tokens: &[TokenWithSpan]) -> bool {
    tokens
        .windows(2)
        .any(|pair| keyword(pair.first()) == Keyword::RENAME && keyword(pair.get(1)) != Keyword::COLUMN)
}

/// Parses a statement, and walks it.
fn parsed(sql: &str, layout: Layout) -> Result<Statement, Unsupported> {
    let not_read = || Unsupported("can't be read here".to_owned());
    let tokens = tokens::of(sql, &Spark { versions: false }).ok_or_else(not_read)?;
    let expressions = rewrite::expressions(&tokens);
    let first = keyword(expressions.first());
    let parse = |tokens: Vec<TokenWithSpan>| {
        let parser = Parser::new(&Spark { versions: false }).with_recursion_limit(MAX_NESTING);
        parser.with_tokens_with_locations(tokens).parse_statements().ok()
    };
    let statements = parse(expressions.clone()).or_else(|| {
        // Of these, only clauses without tables are left out.
        let simplified = matches!(first, Keyword::INSERT | Keyword::CREATE | Keyword::REPLACE);
        simplified.then(|| parse(rewrite::commands(&expressions))).flatten()
    });
    let [statement] = <[Ast; 1]>::try_from(statements.ok_or_else(not_read)?).map_err(|_| not_read())?;
    let temporary_view = check_kind(&statement, first)?;
    let mut walk = Walk::new(layout, Detail::Lineage);
    walk.uses = Some(Vec::new());
    walk.statement(&statement);
    if let Some(name) = script::defined(&statement) {
        walk.define_target(name);
    }
    if !walk.dynamic.is_empty() {
        let at = walk.dynamic.first().cloned().unwrap_or_default();
        let text = sql.get(at.start as usize..at.end as usize).unwrap_or_default();
        return Err(Unsupported(format!("has `{text}`, which is only known when it runs")));
    }
    if !walk.is_complete() {
        return Err(Unsupported("joins too many tables".to_owned()));
    }
    if let Some(form) = walk.unsupported_forms.first() {
        return Err(Unsupported(format!("has a form of another dialect ({:?})", form.form)));
    }
    let mut uses = walk.uses.unwrap_or_default();
    uses.sort_by_key(|it| (it.at.start, it.at.end));
    uses.dedup();
    let statement = inner(&statement);
    let qualifies_target = matches!(statement, Ast::Merge(_) | Ast::Update(_) | Ast::Delete(_));
    let changes_table = qualifies_target || matches!(statement, Ast::Insert(_) | Ast::Truncate(_));
    let (drops_view, qualifiers) = (false, HashSet::new());
    Ok(Statement { uses, temporary_view, drops_view, qualifiers, changes_table, qualifies_target })
}

/// Returns the statement after `WITH`, or the statement itself.
fn inner(statement: &Ast) -> &Ast {
    let Ast::Query(query) = statement else { return statement };
    match query.body.as_ref() {
        SetExpr::Insert(inner) | SetExpr::Update(inner) | SetExpr::Delete(inner) | SetExpr::Merge(inner) => {
            inner
        }
        _ => statement,
    }
}

/// Checks that the walk knows all tables that a statement of this kind writes. Returns the temporary view that it defines.
fn check_kind(statement: &Ast, first: Keyword) -> Result<Option<String>, Unsupported> {
    let unsupported = |why: &str| Err(Unsupported(why.to_owned()));
    match inner(statement) {
        Ast::Query(_) | Ast::Merge(_) | Ast::Update(_) | Ast::Delete(_) | Ast::Truncate(_) => Ok(None),
        Ast::Insert(insert) if matches!(insert.table, TableObject::TableName(_)) => Ok(None),
        Ast::CreateTable(create) if !create.external && create.clone.is_none() && !create.temporary => {
            Ok(None)
        }
        Ast::CreateTable(_) => unsupported("creates a table that is external, or a copy of another"),
        Ast::CreateView(view) if view.temporary => {
            let name = names::single(&view.name);
            name.map(Some).ok_or_else(|| {
                Unsupported("defines a temporary view whose name has several parts".to_owned())
            })
        }
        Ast::CreateView(view) if !view.materialized => Ok(None),
        Ast::Directory { .. } => unsupported("writes to a folder"),
        _ if matches!(first, Keyword::CREATE | Keyword::REPLACE) => {
            unsupported("creates something other than a table or a view of a query")
        }
        _ => unsupported("is of a kind that is not run in a sandbox"),
    }
}

/// Checks the places of uses, and adds the qualifiers.
fn checked(sql: &str, tokens: &[TokenWithSpan], mut found: Statement) -> Result<Statement, Unsupported> {
    let is_definition =
        matches!(keyword(tokens.first()), Keyword::CREATE | Keyword::REPLACE | Keyword::ALTER);
    for (index, token) in tokens.iter().enumerate() {
        let Token::Word(word) = &token.token else {
            let Token::SingleQuotedString(text) = &token.token else { continue };
            if is_definition && text.eq_ignore_ascii_case("path") {
                return Err(located());
            }
            continue;
        };
        if is_definition
            && ["location", "path", "external"].iter().any(|it| word.value.eq_ignore_ascii_case(it))
        {
            return Err(located());
        }
        let place = span_range(token.span);
        let is_qualifier = matches!(tokens.get(index + 1).map(|it| &it.token), Some(Token::Period));
        let is_in_table = || found.uses.iter().any(|it| it.at.start <= place.start && place.end <= it.at.end);
        if is_qualifier && !is_in_table() {
            found.qualifiers.insert(word.value.to_lowercase());
        }
    }
    let mut end = 0;
    for of in &found.uses {
        let text = sql.get(of.at.start as usize..of.at.end as usize).unwrap_or_default();
        if text.is_empty() || of.parts.is_empty() || of.at.start < end {
            let name = of.parts.join(".");
            return Err(Unsupported(format!("uses the table `{name}` at a place that is not known here")));
        }
        end = of.at.end;
        if !is_name(text, &of.parts) {
            return Err(Unsupported(format!("has `{text}`, which is only known when it runs")));
        }
    }
    Ok(found)
}

fn located() -> Unsupported {
    Unsupported(
        "names a location or a path (`LOCATION`, `path`, `EXTERNAL`), so its data is outside of the sandbox"
            .to_owned(),
    )
}

/// Returns whether a text is a name of these parts.
fn is_name(text: &str, parts: &[String]) -> bool {
    let Some(tokens) = tokens::of(text, &Spark { versions: false }) else { return false };
    let mut expected = parts.iter();
    let mut is_part = true;
    for token in tokens {
        match token.token {
            Token::Whitespace(_) => {}
            Token::Word(word) if is_part => {
                if expected.next() != Some(&word.value) {
                    return false;
                }
                is_part = false;
            }
            Token::Period if !is_part => is_part = true,
            _ => return false,
        }
    }
    !is_part && expected.next().is_none()
}
