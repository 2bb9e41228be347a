//! Implements the JSON traits of `jsonschema`, which validates the arena directly.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, JsonNumber, Node, NodeIdentity, Object};
use serde_json::{Number, Value};

use super::{Entry, Kind, NodeId, NodeRef, Tree};
use crate::source::{FileId, Span};

/// Represents [`NodeRef`]s as JSON values.
#[derive(Debug)]
pub struct TreeJson;

impl NodeRef<'_> {
    /// Returns a copy as JSON, for error messages and for fields with arbitrary content.
    pub fn to_json(self) -> Value {
        let node = self.node();
        match node.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Int(value) => value.into(),
            Kind::Float(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
            Kind::Str => Value::String(node.text.clone().into_owned()),
            Kind::Seq(_) => self.items().map(NodeRef::to_json).collect(),
            Kind::Map(_) => {
                let members = self.members().map(|member| (member.key.to_owned(), member.value.to_json()));
                Value::Object(members.collect())
            }
        }
    }
}

impl Json for TreeJson {
    type Node<'a> = NodeRef<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = Tree<'static>;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(buffer: &mut Tree<'static>, string: &str, f: impl FnOnce(NodeRef<'_>) -> T) -> T {
        *buffer = Tree::default();
        let span = Span::new(FileId(0), 0, 0);
        buffer.root = buffer.add(super::Node { kind: Kind::Str, text: Cow::Owned(string.to_owned()), span });
        f(buffer.root())
    }
}

#[derive(Debug)]
pub enum TreeNumber {
    Int(i64),
    Float(f64),
}

impl JsonNumber for TreeNumber {
    fn as_u64(&self) -> Option<u64> {
        match self {
            TreeNumber::Int(value) => u64::try_from(*value).ok(),
            TreeNumber::Float(_) => None,
        }
    }

    fn as_i64(&self) -> Option<i64> {
        match self {
            TreeNumber::Int(value) => Some(*value),
            TreeNumber::Float(_) => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "comparing with a schema's limit is all that this is for"
            )]
            TreeNumber::Int(value) => Some(*value as f64),
            TreeNumber::Float(value) => Some(*value),
        }
    }

    fn as_str(&self) -> Cow<'_, str> {
        match self {
            TreeNumber::Int(value) => value.to_string().into(),
            TreeNumber::Float(value) => value.to_string().into(),
        }
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Owned(match self {
            TreeNumber::Int(value) => (*value).into(),
            TreeNumber::Float(value) => Number::from_f64(*value).unwrap_or_else(|| 0.into()),
        })
    }

    fn is_integer(&self) -> bool {
        match self {
            TreeNumber::Int(_) => true,
            TreeNumber::Float(value) => value.fract() == 0.0,
        }
    }
}

impl<'a> Node<'a, TreeJson> for NodeRef<'a> {
    type Object = NodeRef<'a>;
    type Array = NodeRef<'a>;
    type Number = TreeNumber;

    fn as_object(&self) -> Option<NodeRef<'a>> {
        matches!(self.node().kind, Kind::Map(_)).then_some(*self)
    }

    fn as_array(&self) -> Option<NodeRef<'a>> {
        matches!(self.node().kind, Kind::Seq(_)).then_some(*self)
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<TreeNumber> {
        match self.node().kind {
            Kind::Int(value) => Some(TreeNumber::Int(value)),
            Kind::Float(value) => Some(TreeNumber::Float(value)),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self.node().kind {
            Kind::Bool(value) => Some(value),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        NodeRef::is_null(*self)
    }

    fn json_type(&self) -> JsonType {
        match self.node().kind {
            Kind::Null => JsonType::Null,
            Kind::Bool(_) => JsonType::Boolean,
            Kind::Int(_) | Kind::Float(_) => JsonType::Number,
            Kind::Str => JsonType::String,
            Kind::Seq(_) => JsonType::Array,
            Kind::Map(_) => JsonType::Object,
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        // Only scalars and short lists of them are compared or displayed, so maps are not copied.
        match self.node().kind {
            Kind::Map(_) => Cow::Owned(Value::Null),
            _ => Cow::Owned(self.to_json()),
        }
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::tagged(std::ptr::from_ref(self.tree) as usize, self.id.0))
    }
}

impl<'a> Object<'a, TreeJson> for NodeRef<'a> {
    type Node = NodeRef<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        NodeRef::members(*self).len()
    }

    fn get(&self, key: &Box<str>) -> Option<NodeRef<'a>> {
        NodeRef::get(*self, key)
    }

    fn members(&self) -> Self::MembersIter {
        let entries = match self.node().kind {
            Kind::Map(range) => &self.tree.entries[range.of()],
            _ => &[],
        };
        Members { tree: self.tree, entries: entries.iter() }
    }
}

impl<'a> Array<'a, TreeJson> for NodeRef<'a> {
    type Node = NodeRef<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        NodeRef::items(*self).len()
    }

    fn elements(&self) -> Self::ElementsIter {
        let items = match self.node().kind {
            Kind::Seq(range) => &self.tree.items[range.of()],
            _ => &[],
        };
        Elements { tree: self.tree, items: items.iter() }
    }
}

/// The members of a map. It is a separate type because the trait can't name the type of a `map` iterator, and boxing
/// it for every map would cost more than the rest of the validation.
#[derive(Debug)]
pub struct Members<'a> {
    tree: &'a Tree<'a>,
    entries: std::slice::Iter<'a, Entry<'a>>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, NodeRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some((&entry.key, NodeRef { tree: self.tree, id: entry.value }))
    }
}

/// The elements of a list.
#[derive(Debug)]
pub struct Elements<'a> {
    tree: &'a Tree<'a>,
    items: std::slice::Iter<'a, NodeId>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = NodeRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.items.next().map(|&id| NodeRef { tree: self.tree, id })
    }
}
