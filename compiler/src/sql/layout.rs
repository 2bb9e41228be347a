//! Places that the tokens have and the tree doesn't.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::facts::Parameter;
use super::tokens::span_range;

/// Maximum number of chained operators. The parser builds `a + b + c + …` as a tree whose depth is the length of the
/// chain, and the functions that walk it are recursive.
const MAX_CHAIN: u32 = 400;

/// Maximum number of pipe operators in a text. Each one walks all operators before it again.
const MAX_PIPES: usize = 1_000;

/// Information about the text that the tokens have and the tree doesn't.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Pairs of brackets, ordered by the opening one. Unclosed ones end where they begin.
    brackets: Vec<Range<u32>>,
    /// Closed pairs, ordered by the closing bracket.
    closed: Vec<Range<u32>>,
    /// The statements between semicolons, each from its first to its last token.
    pub(super) statements: Vec<Range<u32>>,
    pub(super) parameters: Vec<Parameter>,
    /// The keywords of joins and set operations, in order, with the modifiers before them.
    join_keywords: Vec<Range<u32>>,
    /// Intervals with their units. The parser has the place of the number only.
    intervals: Vec<Range<u32>>,
    pub(super) too_deep: Option<Range<u32>>,
    /// The offset of each `|>`, in order.
    pipes: Vec<u32>,
    /// The offsets of each `|> SELECT DISTINCT`, in order. The parser reads `DISTINCT` as a column.
    distinct_pipes: Vec<u32>,
    /// The places of `PIVOT`, in order.
    pivots: Vec<Range<u32>>,
    /// The functions that the script may declare: the words after `FUNCTION`, in lower case.
    pub(super) functions: HashSet<String>,
    /// Set if the script changes its catalog or database, which may have functions.
    pub(super) has_use: bool,
    /// Set if the script may declare variables.
    pub(super) has_variables: bool,
}

impl Layout {
    pub(super) fn of(tokens: &[TokenWithSpan]) -> Self {
        let mut pass = Pass::default();
        for TokenWithSpan { token, span } in tokens {
            pass.token(token, span_range(*span));
        }
        pass.finish()
    }

    /// Returns the range of a span of the tree, extended to whole pairs of brackets.
    pub(super) fn range(&self, span: Span) -> Range<u32> {
        let range = span_range(span);
        let closed = self.closed.partition_point(|pair| pair.end <= range.start);
        let opened = self.pairs_from(range.start);
        let opened = opened.take_while(|pair| pair.start < range.end);
        let closed = self.closed.iter().skip(closed);
        let closed = closed.take_while(|pair| pair.end <= range.end);
        let wide = opened
            .chain(closed)
            .fold(range.clone(), |wide, pair| wide.start.min(pair.start)..wide.end.max(pair.end));
        self.whole_interval(wide.start).map_or(wide.start, |it| it.start)
            ..self.whole_interval(wide.end).map_or(wide.end, |it| it.end)
    }

    /// Returns the interval that contains an offset.
    fn whole_interval(&self, offset: u32) -> Option<&Range<u32>> {
        let next = self.intervals.partition_point(|it| it.start < offset);
        self.intervals.get(next.checked_sub(1)?).filter(|it| offset < it.end)
    }

    /// Returns the range from the first token to the last.
    pub(super) fn whole(&self) -> Range<u32> {
        let start = self.statements.first().map_or(0, |at| at.start);
        let end = self.statements.last().map_or(start, |at| at.end);
        start..end
    }

    /// Returns the range from the name of a function to the bracket that closes its arguments.
    pub(super) fn call(&self, name: Span) -> Range<u32> {
        let name = span_range(name);
        let end = self.pairs_from(name.end).next().map_or(name.end, |pair| pair.end);
        name.start..end
    }

    /// Returns the last keyword of a join or set operation before an offset.
    pub(super) fn join_keyword_before(&self, offset: u32) -> Option<Range<u32>> {
        let next = self.join_keywords.partition_point(|at| at.start < offset);
        self.join_keywords.get(next.checked_sub(1)?).cloned()
    }

    /// Returns the first `PIVOT` at or after an offset.
    pub(super) fn pivot_from(&self, offset: u32) -> Range<u32> {
        let next = self.pivots.partition_point(|at| at.start < offset);
        self.pivots.get(next).cloned().unwrap_or(offset..offset)
    }

    pub(super) fn has_distinct_pipe(&self) -> bool {
        !self.distinct_pipes.is_empty()
    }

    /// Returns whether the pipe operator that begins at an offset is a `SELECT DISTINCT`.
    pub(super) fn is_distinct_pipe(&self, offset: u32) -> bool {
        self.distinct_pipes.binary_search(&offset).is_ok()
    }

    /// Returns the ranges of the first pipe operators of the query that begins at an offset, each from its `|>` to
    /// the next one.
    pub(super) fn pipes_of(&self, query: u32, count: usize) -> Vec<Range<u32>> {
        let depth = self.depth_at(query);
        let from = self.pipes.partition_point(|pipe| *pipe < query);
        let own = self.pipes.iter().skip(from).filter(|pipe| self.depth_at(**pipe) == depth);
        let starts: Vec<u32> = own.take(count + 1).copied().collect();
        let Some(last) = starts.last() else { return Vec::new() };
        let around = self.closed.iter().skip(self.closed.partition_point(|pair| pair.end <= *last));
        let around = around.map(|pair| (pair.start, pair.end - 1)).find(|(start, _)| start < last);
        let end = around.map_or_else(|| self.whole().end.max(*last), |(_, end)| end);
        let ends = starts.iter().skip(1).copied().chain([end]);
        starts.iter().zip(ends).take(count).map(|(start, end)| *start..end).collect()
    }

    /// Returns the number of open brackets before an offset.
    fn depth_at(&self, offset: u32) -> usize {
        let opened = self.brackets.partition_point(|pair| pair.start < offset);
        opened - self.closed.partition_point(|pair| pair.end <= offset).min(opened)
    }

    fn pairs_from(&self, offset: u32) -> impl Iterator<Item = &Range<u32>> {
        let first = self.brackets.partition_point(|pair| pair.start < offset);
        self.brackets.iter().skip(first)
    }
}

/// An open bracket or `CASE`, and the number of operators since the last comma in it.
#[derive(Default)]
struct Open {
    bracket: Option<usize>,
    chain: u32,
}

#[derive(Default)]
struct Pass {
    layout: Layout,
    open: Vec<Open>,
    top: u32,
    /// The number of operators of everything that is open.
    depth: u32,
    statement: Option<Range<u32>>,
    /// The names of parameters, with their indices in the list.
    names: HashMap<String, usize>,
    /// The colon of a parameter whose name comes next.
    colon: Option<u32>,
    /// The end of the last token that may be followed by a path into a variant.
    operand_end: Option<u32>,
    /// The start of the modifiers before a `JOIN`.
    lead: Option<u32>,
    /// The interval that may continue.
    interval: Option<Range<u32>>,
    /// The number of previous words of `|> SELECT`.
    piped: u8,
    /// Set if the previous words are `FUNCTION` and a part of its name.
    declaring: bool,
}

impl Pass {
    fn token(&mut self, token: &Token, at: Range<u32>) {
        if matches!(token, Token::Whitespace(_)) {
            self.colon = None;
            return;
        }
        self.distinct_pipe(token);
        self.declaration(token);
        self.parameter(token, &at);
        self.interval(token, &at);
        self.nesting(token, &at);
        self.lead(token, &at);
        if *token == Token::SemiColon {
            self.layout.statements.extend(self.statement.take());
        } else {
            let start = self.statement.as_ref().map_or(at.start, |it| it.start);
            self.statement = Some(start..at.end);
        }
    }

    fn declaration(&mut self, token: &Token) {
        match token {
            Token::Word(word) if self.declaring => {
                self.layout.functions.insert(word.value.to_lowercase());
            }
            Token::Word(word) if word.quote_style.is_none() => {
                self.declaring = word.keyword == Keyword::FUNCTION;
                self.layout.has_use |= word.keyword == Keyword::USE && self.statement.is_none();
                self.layout.has_variables |= matches!(word.keyword, Keyword::DECLARE | Keyword::EXECUTE);
            }
            Token::Period => {}
            _ => self.declaring = false,
        }
    }

    fn distinct_pipe(&mut self, token: &Token) {
        let keyword = match token {
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        };
        if self.piped == 2 && keyword == Keyword::DISTINCT {
            self.layout.distinct_pipes.extend(self.layout.pipes.last());
        }
        self.piped = match token {
            Token::VerticalBarRightAngleBracket => 1,
            _ if self.piped == 1 && keyword == Keyword::SELECT => 2,
            _ => 0,
        };
    }

    fn parameter(&mut self, token: &Token, at: &Range<u32>) {
        match token {
            Token::Colon if self.operand_end != Some(at.start) => self.colon = Some(at.end),
            Token::Word(word) if self.colon == Some(at.start) => {
                self.colon = None;
                self.named(&word.value, at);
            }
            _ => self.colon = None,
        }
        let operand = match token {
            Token::Word(word) => word.keyword == Keyword::NoKeyword || word.quote_style.is_some(),
            Token::RParen | Token::RBracket => true,
            _ => false,
        };
        if operand {
            self.operand_end = Some(at.end);
        }
    }

    fn named(&mut self, name: &str, at: &Range<u32>) {
        let parameters = &mut self.layout.parameters;
        let known = self.names.get(name).copied();
        if let Some(known) = known.and_then(|index| parameters.get_mut(index)) {
            known.at.push(at.clone());
            return;
        }
        self.names.insert(name.to_owned(), parameters.len());
        parameters.push(Parameter { name: name.to_owned(), at: vec![at.clone()] });
    }

    fn nesting(&mut self, token: &Token, at: &Range<u32>) {
        match token {
            Token::LParen | Token::LBracket => {
                let bracket = self.layout.brackets.len();
                self.layout.brackets.push(at.start..at.start);
                self.push(Some(bracket));
            }
            Token::RParen | Token::RBracket => self.close(at.end),
            Token::Comma | Token::SemiColon => self.reset(),
            Token::Word(word) if word.quote_style.is_none() => self.keyword(word.keyword, at),
            Token::VerticalBarRightAngleBracket => {
                self.reset();
                self.layout.pipes.push(at.start);
                if self.layout.pipes.len() > MAX_PIPES {
                    self.layout.too_deep.get_or_insert_with(|| at.clone());
                }
            }
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::Period
            | Token::Word(_)
            | Token::EOF => {}
            _ => self.count_operator(at),
        }
    }

    fn keyword(&mut self, keyword: Keyword, at: &Range<u32>) {
        match keyword {
            Keyword::CASE => self.push(None),
            Keyword::END => {
                if self.open.last().is_some_and(|it| it.bracket.is_none()) {
                    self.pop();
                }
            }
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE => self.reset(),
            keyword => {
                if keyword == Keyword::PIVOT {
                    self.layout.pivots.push(at.clone());
                }
                if chains_operands(keyword) {
                    self.count_operator(at);
                }
                if is_join_keyword(keyword) {
                    let lead = self.lead.filter(|_| keyword == Keyword::JOIN);
                    self.layout.join_keywords.push(lead.unwrap_or(at.start)..at.end);
                }
            }
        }
    }

    fn lead(&mut self, token: &Token, at: &Range<u32>) {
        match token {
            Token::Word(word) if word.quote_style.is_none() && is_join_modifier(word.keyword) => {
                self.lead.get_or_insert(at.start);
            }
            _ => self.lead = None,
        }
    }

    fn interval(&mut self, token: &Token, at: &Range<u32>) {
        let Some(open) = &mut self.interval else {
            if matches!(token, Token::Word(word) if word.keyword == Keyword::INTERVAL) {
                self.interval = Some(at.clone());
            }
            return;
        };
        let begins = open.end - open.start == 8;
        let goes_on = match token {
            Token::Minus => begins,
            Token::Number(..) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) => true,
            Token::Word(word) => !begins && is_unit(&word.value),
            _ => false,
        };
        if goes_on {
            open.end = at.end;
        } else {
            self.layout.intervals.extend(self.interval.take());
        }
    }

    fn count_operator(&mut self, at: &Range<u32>) {
        *self.open.last_mut().map_or(&mut self.top, |it| &mut it.chain) += 1;
        self.depth += 1;
        if self.depth > MAX_CHAIN && self.layout.too_deep.is_none() {
            self.layout.too_deep = Some(at.clone());
        }
    }

    fn reset(&mut self) {
        let chain = self.open.last_mut().map_or(&mut self.top, |it| &mut it.chain);
        self.depth -= std::mem::take(chain);
    }

    fn push(&mut self, bracket: Option<usize>) {
        self.open.push(Open { bracket, chain: 0 });
    }

    fn pop(&mut self) -> Option<Open> {
        self.reset();
        self.open.pop()
    }

    fn close(&mut self, end: u32) {
        while let Some(Open { bracket, .. }) = (!self.open.is_empty()).then(|| self.pop()).flatten() {
            if let Some(pair) = bracket.and_then(|index| self.layout.brackets.get_mut(index)) {
                pair.end = end;
                self.layout.closed.push(pair.clone());
                return;
            }
        }
    }

    fn finish(mut self) -> Layout {
        self.layout.statements.extend(self.statement);
        self.layout.intervals.extend(self.interval);
        self.layout
    }
}

fn is_join_keyword(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::JOIN | Keyword::UNION | Keyword::EXCEPT | Keyword::MINUS | Keyword::INTERSECT)
}

/// Returns whether a keyword is a modifier of `JOIN`.
fn is_join_modifier(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::LEFT
            | Keyword::RIGHT
            | Keyword::FULL
            | Keyword::INNER
            | Keyword::CROSS
            | Keyword::NATURAL
            | Keyword::OUTER
            | Keyword::SEMI
            | Keyword::ANTI
    )
}

pub(super) fn is_unit(word: &str) -> bool {
    let lower = word.to_lowercase();
    let units = [
        "year",
        "month",
        "week",
        "day",
        "hour",
        "minute",
        "second",
        "millisecond",
        "microsecond",
        "nanosecond",
    ];
    lower == "to" || units.contains(&lower.strip_suffix('s').unwrap_or(&lower))
}

/// Returns whether a keyword chains operands like an operator.
fn chains_operands(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::BETWEEN
            | Keyword::DIV
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::XOR
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::MINUS
            | Keyword::INTERSECT
            | Keyword::PIVOT
            | Keyword::UNPIVOT
            | Keyword::MATCH_RECOGNIZE
            | Keyword::SIMILAR
            | Keyword::OVERLAPS
            | Keyword::MEMBER
            | Keyword::NOTNULL
    )
}
