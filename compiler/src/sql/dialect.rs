//! `sqlparser`'s Spark dialect with what it misses of Spark's lexer and grammar.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, Expr, ObjectName};
use sqlparser::dialect::{Dialect, SparkSqlDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// The parser takes it for [`SparkSqlDialect`], whose answers it repeats down to `parse_infix`.
#[derive(Debug)]
pub(super) struct Spark {
    /// Reads `VERSION AS OF`, for the price of not taking `at`, `before` and `changes` for aliases.
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

    /// The parser first tries to read every expression as a data type, `DATE` before a text, and makes an error of it
    /// that nobody sees. Literals, and words that are no keyword, can't be one.
    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let TokenWithSpan { token, span } = parser.peek_token_ref();
        match token {
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Colon => {
                Some(parser.parse_value().map(Expr::Value))
            }
            // The parser's own literal takes no star.
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
                    // Of two words, the second may be the type of a lambda's parameter.
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

    // From here on it says more than `SparkSqlDialect`.

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_string_literal_concatenation(&self) -> bool {
        true
    }

    /// Spark does not: it is read so that it can be refused by name.
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

    /// `INTERVAL '5 minutes'` has no unit of its own.
    fn require_interval_qualifier(&self) -> bool {
        false
    }
}

/// Types of literals that the parser does not know.
fn is_timestamp(word: &Word) -> bool {
    let kinds = ["timestamp_ltz", "timestamp_ntz"];
    word.quote_style.is_none() && kinds.iter().any(|kind| kind.eq_ignore_ascii_case(&word.value))
}

/// `a >>> b`, of which the tokenizer makes `>>` and `>`.
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
