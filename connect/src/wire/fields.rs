//! Reads the top level of protobuf messages.
//!
//! Implementations differ in what they accept: a tag of ten bytes, a group that does not end, a field of another
//! type. Whatever two of them could read differently is an error here, so that a server reads the same fields.

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'m> {
    pub(crate) number: u32,
    pub(crate) value: Value<'m>,
    /// The field as it is in the message, with its tag.
    pub(crate) bytes: &'m [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'m> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'m [u8]),
    Fixed32([u8; 4]),
}

/// The bytes are no message that every implementation reads in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is not valid protobuf: {0}")]
pub(crate) struct Malformed(&'static str);

impl Malformed {
    pub(crate) const fn new(why: &'static str) -> Self {
        Self(why)
    }
}

/// Returns the fields of a message, until the first that is malformed.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

#[derive(Debug, Clone)]
pub(crate) struct Fields<'m> {
    rest: &'m [u8],
}

impl<'m> Iterator for Fields<'m> {
    type Item = Result<Field<'m>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = field(self.rest);
        self.rest = read.as_ref().map_or(&[], |(_, rest)| rest);
        Some(read.map(|(field, _)| field))
    }
}

fn field(message: &[u8]) -> Result<(Field<'_>, &[u8]), Malformed> {
    let (tag, rest) = varint(message)?;
    // A server written in Java cuts a longer tag off to 32 bits.
    let tag = u32::try_from(tag).map_err(|_| Malformed("a tag has more than 32 bits"))?;
    let number = tag >> 3;
    if number == 0 {
        return Err(Malformed("a field has the number 0"));
    }
    let (value, rest) = match tag & 7 {
        0 => varint(rest).map(|(value, rest)| (Value::Varint(value), rest))?,
        1 => array(rest).map(|(value, rest)| (Value::Fixed64(value), rest))?,
        2 => bytes(rest).map(|(value, rest)| (Value::Bytes(value), rest))?,
        5 => array(rest).map(|(value, rest)| (Value::Fixed32(value), rest))?,
        3 | 4 => return Err(Malformed("a field is a group")),
        _ => return Err(Malformed("a field has no type")),
    };
    let (bytes, _) = message.split_at(message.len() - rest.len());
    Ok((Field { number, value, bytes }, rest))
}

fn varint(message: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut value = 0;
    for (at, byte) in message.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            break;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            if at > 0 && *byte == 0 {
                return Err(Malformed("a number is longer than necessary"));
            }
            return Ok((value, &message[at + 1..]));
        }
    }
    Err(Malformed("a number does not end"))
}

fn array<const N: usize>(message: &[u8]) -> Result<([u8; N], &[u8]), Malformed> {
    let (value, rest) = message.split_first_chunk().ok_or(Malformed("a field does not end"))?;
    Ok((*value, rest))
}

fn bytes(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (length, rest) = varint(message)?;
    let length = usize::try_from(length).map_err(|_| Malformed("a field does not end"))?;
    rest.split_at_checked(length).ok_or(Malformed("a field does not end"))
}

/// Appends a field of bytes to a message.
pub(crate) fn append_bytes(message: &mut impl Extend<u8>, number: u32, value: &[u8]) {
    append_varint(message, u64::from(number << 3 | 2));
    append_varint(message, value.len() as u64);
    message.extend(value.iter().copied());
}

fn append_varint(message: &mut impl Extend<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits fit into a byte");
        value >>= 7;
        message.extend([if value == 0 { low } else { low | 0x80 }]);
        if value == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(message: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
        fields(message).collect()
    }

    #[test]
    fn fields_of_every_type_are_read() {
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1a, 2, b'a', b'b'],
            &[0x25, 1, 2, 3, 4],
            &[0x08, 0],
        ]
        .concat();
        let values: Vec<_> =
            read(&message).unwrap().iter().map(|field| (field.number, field.value)).collect();
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Fixed64([1, 2, 3, 4, 5, 6, 7, 8])),
            (3, Value::Bytes(b"ab")),
            (4, Value::Fixed32([1, 2, 3, 4])),
            (1, Value::Varint(0)),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn messages_that_parsers_read_differently_are_rejected() {
        for (message, why) in [
            (&[0x0a][..], "a number does not end"),
            (&[0x0a, 5, b'a'], "a field does not end"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], "a field does not end"),
            (&[0x0b, 0x0c], "a field is a group"),
            (&[0x0c], "a field is a group"),
            (&[0x0e], "a field has no type"),
            (&[0x02, 0], "a field has the number 0"),
            (&[0x8a, 0], "a number is longer than necessary"),
            // Field 1 for a parser of 32 bits.
            (&[0x8a, 0x80, 0x80, 0x80, 0x10, 0], "a tag has more than 32 bits"),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], "a number does not end"),
            (&[0x09, 1, 2], "a field does not end"),
        ] {
            assert_eq!(read(message).unwrap_err(), Malformed(why), "{message:x?}");
        }
    }

    proptest! {
        #[test]
        fn fields_cover_the_message(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(fields) = read(&message) {
                let together: Vec<u8> = fields.iter().flat_map(|field| field.bytes).copied().collect();
                prop_assert_eq!(together, message);
            }
        }

        #[test]
        fn appended_fields_are_read(number in 1..1000_u32, value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut message = vec![0x08, 1];
            append_bytes(&mut message, number, &value);
            let fields = read(&message).unwrap();
            prop_assert_eq!((fields[1].number, fields[1].value), (number, Value::Bytes(&value)));
        }
    }
}
