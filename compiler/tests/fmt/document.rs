//! Generates random documents in random styles, with all notations of YAML that the parser supports, and with
//! comments everywhere.

use proptest::prelude::*;

use crate::writer::Writer;

/// The content of a document, without its style.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Null,
    Scalar(String),
    Lines(Vec<String>),
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

pub(crate) fn stream() -> impl Strategy<Value = String> {
    (prop::collection::vec(node(), 1..4), any::<u64>(), any::<bool>()).prop_map(|(nodes, seed, carriage)| {
        let text = Writer::new(seed).write(&nodes);
        if carriage { text.replace('\n', "\r\n") } else { text }
    })
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        1 => Just(Node::Null),
        4 => scalar().prop_map(Node::Scalar),
        2 => prop::collection::vec(line(), 1..5).prop_map(Node::Lines),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Node::Seq),
            prop::collection::vec((key(), inner), 0..5).prop_map(Node::Map),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "[a-z] [a-zß]{1,3}", "\"[a-z :#]{0,4}\"", "'[a-z -]{0,4}'", "[a-z]:[0-9]"]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[0-9]{1,5}",
        "[a-z]{1,3}(#|:|\\\\|-|é|日)[a-z]{1,3}",
        "\"[a-z #:,{}\\[\\]é]{0,9}(\\\\n|\\\\\"|\\\\\\\\)?\"",
        "'[a-z #:,{}\\[\\]\\\\\"]{0,9}('')?'",
    ]
}

/// Generates a line of a block scalar or of a quoted scalar.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        2 => "[a-z]{1,5} [a-z]{1,5}",
        1 => " {1,4}[a-z]{1,5}",
        1 => "[a-z]{1,5} {1,3}",
        1 => "(#|- |a: |---|\\|)[a-z]{0,3}",
        1 => " {1,5}",
        1 => "\u{a0}?\t?[a-z]{1,3}",
    ]
}
