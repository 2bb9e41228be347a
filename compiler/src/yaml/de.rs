//! Implements `serde` for the tree, so that manifests are decoded without a copy.

use std::fmt;

use dcp_model::manifest::RAW_SCALAR;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{Kind, Member, NodeRef};
use crate::source::Span;

/// The reason why a node can't be decoded, and its place.
#[derive(Debug)]
pub struct Error {
    pub message: String,
    pub at: Option<Span>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), at: None }
    }
}

impl Error {
    /// Sets the place, unless a node further inside has set it already.
    fn at(mut self, node: NodeRef<'_>) -> Self {
        self.at.get_or_insert(node.span());
        self
    }
}

impl<'t> NodeRef<'t> {
    fn any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        let node = self.node();
        match node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(value),
            Kind::Int(value) => visitor.visit_i64(value),
            Kind::Float(value) => visitor.visit_f64(value),
            Kind::Str => visitor.visit_borrowed_str(&node.text),
            Kind::Seq(_) => visitor.visit_seq(Items(self.items())),
            Kind::Map(_) => visitor.visit_map(Members { rest: self.members(), value: None }),
        }
    }
}

impl<'t> Deserializer<'t> for NodeRef<'t> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        self.any(visitor).map_err(|error| error.at(self))
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node().kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Accepts any scalar as text. The schema has already checked its type.
    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scalar() {
            Some(text) => visitor.visit_borrowed_str(text).map_err(|error: Error| error.at(self)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(Enum(self)).map_err(|error: Error| error.at(self))
    }

    /// Returns the original text of a scalar to types that request it, so that `1.10` stays `1.10`.
    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name {
            RAW_SCALAR => match (self.node().kind, self.scalar()) {
                (Kind::Bool(_) | Kind::Int(_) | Kind::Float(_), Some(text)) => {
                    visitor.visit_bytes(text.as_bytes())
                }
                _ => self.deserialize_any(visitor),
            },
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'t>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

struct Items<I>(I);

impl<'t, I: ExactSizeIterator<Item = NodeRef<'t>>> SeqAccess<'t> for Items<I> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|node| seed.deserialize(node)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Members<'t, I> {
    rest: I,
    value: Option<NodeRef<'t>>,
}

impl<'t, I: ExactSizeIterator<Item = Member<'t>>> MapAccess<'t> for Members<'t, I> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(member) = self.rest.next() else { return Ok(None) };
        self.value = Some(member.value);
        seed.deserialize(BorrowedStrDeserializer::new(member.key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let node =
            self.value.take().ok_or_else(|| de::Error::custom("a value is asked for before its key"))?;
        seed.deserialize(node)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// An enum: `variant` as text, or `variant: content` as a map with one entry.
struct Enum<'t>(NodeRef<'t>);

impl<'t> EnumAccess<'t> for Enum<'t> {
    type Error = Error;
    type Variant = Content<'t>;

    fn variant_seed<V: DeserializeSeed<'t>>(self, seed: V) -> Result<(V::Value, Content<'t>), Error> {
        let (name, content) = match self.0.members().next() {
            Some(member) => (member.key, Content(Some(member.value))),
            None => (self.0.scalar().unwrap_or_default(), Content(None)),
        };
        Ok((seed.deserialize(BorrowedStrDeserializer::<Error>::new(name))?, content))
    }
}

struct Content<'t>(Option<NodeRef<'t>>);

impl<'t> Content<'t> {
    fn node(self) -> Result<NodeRef<'t>, Error> {
        self.0.ok_or_else(|| de::Error::custom("expected a map of one key"))
    }
}

impl<'t> VariantAccess<'t> for Content<'t> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'t>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.node()?)
    }

    fn tuple_variant<V: Visitor<'t>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.node()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'t>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.node()?.deserialize_any(visitor)
    }
}
