//! The Spark dialect of `sqlparser`, extended by missing parts of Spark's lexer and grammar.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, Expr, ObjectName};
use sqlparser::dialect::{Dialect, SparkSqlDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// The parser treats it as [`SparkSqlDialect`]. All methods up to `parse_infix` return the same as that dialect.
#[derive(Debug)]
pub(super) struct Spark {
    /// Accepts `VERSION AS OF`. In return, `at`, `before` and `changes` can't be aliases.
    pub(super) versions: bool,
}

impl Dialect for Spark {
    fn dialect(&self) -> TypeId {
        TypeId::of::<SparkSqlDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch == '_' || ch.is_alphabetic()
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch == '_' || ch.is_alphanumeric()
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_table_sample_before_alias(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_create_table_using(&self) -> bool {
        true
    }

    fn supports_long_type_as_bigint(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    fn supports_select_item_multi_column_alias(&self) -> bool {
        true
    }

    fn supports_cte_without_as(&self) -> bool {
        true
    }

    fn supports_map_literal_with_angle_brackets(&self) -> bool {
        true
    }

    fn supports_pipe_operator(&self) -> bool {
        true
    }

    /// Parses common expressions directly. The parser first tries to parse every expression as a data type, as `DATE`
    /// before a text, and creates an error that it discards. Literals, and words that are not keywords, can't be data
    /// types.
    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let TokenWithSpan { token, span } = parser.peek_token_ref();
        match token {
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Colon => {
                Some(parser.parse_value().map(Expr::Value))
            }
            // The parser's own literal doesn't support a star.
            Token::Word(word) if word.keyword == Keyword::STRUCT && word.quote_style.is_none() => {
                let name = word.clone().into_ident(*span);
                (parser.peek_nth_token_ref(1).token == Token::LParen).then(|| {
                    parser.advance_token();
                    parser.parse_function(ObjectName::from(vec![name]))
                })
            }
            Token::Word(word) if word.keyword == Keyword::NoKeyword => {
                let name = word.clone().into_ident(*span);
                let plain = match &parser.peek_nth_token_ref(1).token {
                    Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) if is_timestamp(word) => {
                        parser.advance_token();
                        return Some(parser.parse_value().map(Expr::Value));
                    }
                    Token::LParen => {
                        parser.advance_token();
                        return Some(parser.parse_function(ObjectName::from(vec![name])));
                    }
                    // The second of two words may be the type of a lambda's parameter.
                    Token::Word(_) => parser.peek_nth_token_ref(2).token != Token::Arrow,
                    Token::Arrow | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) => false,
                    next => !matches!(next, Token::HexStringLiteral(_)),
                };
                plain.then(|| {
                    parser.advance_token();
                    Ok(Expr::Identifier(name))
                })
            }
            _ => None,
        }
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        unsigned_shift(parser, expr, precedence)
            .or_else(|| SparkSqlDialect.parse_infix(parser, expr, precedence))
    }

    // The following methods differ from `SparkSqlDialect`.

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_string_literal_concatenation(&self) -> bool {
        true
    }

    /// Accepts `LIMIT 1, 2`, which Spark doesn't support, so that it can be rejected by name.
    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_cross_join_constraint(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_execute_immediate(&self) -> bool {
        true
    }

    fn supports_from_first_select(&self) -> bool {
        true
    }

    fn supports_order_by_all(&self) -> bool {
        true
    }

    fn supports_aliased_function_args(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        self.versions
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_comment_on(&self) -> bool {
        true
    }

    fn supports_create_view_comment_syntax(&self) -> bool {
        true
    }

    /// Accepts `INTERVAL '5 minutes'`, which has no separate unit.
    fn require_interval_qualifier(&self) -> bool {
        false
    }
}

/// Returns whether a word is a type of literal that the parser doesn't know.
fn is_timestamp(word: &Word) -> bool {
    let kinds = ["timestamp_ltz", "timestamp_ntz"];
    word.quote_style.is_none() && kinds.iter().any(|kind| kind.eq_ignore_ascii_case(&word.value))
}

/// Parses `a >>> b`, which the tokenizer splits into `>>` and `>`.
fn unsigned_shift(parser: &mut Parser<'_>, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
    let [first, second] = [0, 1].map(|nth| parser.peek_nth_token_ref(nth).clone());
    let adjacent = first.span.end == second.span.start;
    if first.token != Token::ShiftRight || second.token != Token::Gt || !adjacent {
        return None;
    }
    parser.advance_token();
    parser.advance_token();
    Some(parser.parse_subexpr(precedence).map(|right| Expr::BinaryOp {
        left: Box::new(left.clone()),
        op: BinaryOperator::Custom(">>>".to_owned()),
        right: Box::new(right),
    }))
}
