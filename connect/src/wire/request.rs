//! Requests of clients: their session, and their user.

use bytes::BytesMut;

use super::fields::{Malformed, Value, append_bytes, fields};
use super::frame;

/// Fields of every request.
const SESSION_ID: u32 = 1;
const USER_CONTEXT: u32 = 2;
/// Fields of a user context.
const USER_ID: u32 = 1;
const USER_NAME: u32 = 2;

/// Returns the session of a request. Of several values of a field, the last one counts, as for every server.
pub(crate) fn session_id(message: &[u8]) -> Result<Option<&str>, Malformed> {
    let mut found = None;
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (SESSION_ID, Value::Bytes(value)) => found = Some(value),
            (SESSION_ID, _) => return Err(Malformed::new("`session_id` is no text")),
            (USER_CONTEXT, Value::Bytes(_)) | (3.., _) => {}
            (USER_CONTEXT, _) => return Err(Malformed::new("`user_context` is no message")),
            (0, _) => return Err(Malformed::new("a field has the number 0")),
        }
    }
    let text = |value| std::str::from_utf8(value).map_err(|_| Malformed::new("`session_id` is not UTF-8"));
    found.map(text).transpose()
}

/// Sets the user of a request whose message [`session_id`] has read. A message is the merge of its parts, and the last value
/// of a field counts, so the user is appended.
pub(crate) fn set_user(frame: &mut BytesMut, user: &str) {
    let mut context = Vec::with_capacity(2 * user.len() + 12);
    append_bytes(&mut context, USER_ID, user.as_bytes());
    append_bytes(&mut context, USER_NAME, user.as_bytes());
    let mut appended = Vec::with_capacity(context.len() + 12);
    append_bytes(&mut appended, USER_CONTEXT, &context);
    frame.extend_from_slice(&appended);
    frame::update_length(frame);
}

/// The field of a request to release a session.
const ALLOW_RECONNECT: u32 = 4;
/// The field of a response to `CloneSession`.
const NEW_SESSION_ID: u32 = 3;

/// Returns whether a session that is released may be used again.
pub(crate) fn allows_reconnect(message: &[u8]) -> bool {
    let fields = fields(message).filter_map(Result::ok);
    fields
        .filter(|field| field.number == ALLOW_RECONNECT)
        .last()
        .is_some_and(|field| field.value == Value::Varint(1))
}

/// Returns the session that a response to `CloneSession` names.
pub(crate) fn new_session_id(message: &[u8]) -> Result<Option<&str>, Malformed> {
    let mut found = None;
    for field in fields(message) {
        let field = field?;
        if let (NEW_SESSION_ID, Value::Bytes(value)) = (field.number, field.value) {
            found = std::str::from_utf8(value).ok();
        }
    }
    Ok(found)
}

/// Returns the response to the release of a session.
pub(crate) fn released(session: &str) -> Vec<u8> {
    let mut message = Vec::new();
    append_bytes(&mut message, SESSION_ID, session.as_bytes());
    message
}

/// Returns a new id for a session or an operation.
pub(crate) fn random_uuid() -> String {
    let random: u128 = rand::random();
    let text = format!("{random:032x}");
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// Returns whether a text is a UUID in the form that Spark's clients use.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION: &str = "8f2fd7b4-4a3c-4c0e-9d1a-0b1c2d3e4f50";

    fn request(session: &str, user: &str) -> Vec<u8> {
        let mut context = Vec::new();
        append_bytes(&mut context, USER_ID, user.as_bytes());
        let mut message = Vec::new();
        append_bytes(&mut message, SESSION_ID, session.as_bytes());
        append_bytes(&mut message, USER_CONTEXT, &context);
        append_bytes(&mut message, 99, b"of a newer client");
        message
    }

    /// Returns the user of a request as a server reads it: the merge of all contexts.
    fn user(message: &[u8]) -> Option<String> {
        let contexts = fields(message).map(Result::unwrap).filter(|field| field.number == USER_CONTEXT);
        let merged: Vec<u8> = contexts
            .flat_map(|field| match field.value {
                Value::Bytes(context) => context.to_vec(),
                _ => panic!("the context is no message"),
            })
            .collect();
        let ids = fields(&merged).map(Result::unwrap).filter(|field| field.number == USER_ID);
        ids.last().map(|field| match field.value {
            Value::Bytes(id) => String::from_utf8(id.to_vec()).unwrap(),
            _ => panic!("the user is no text"),
        })
    }

    #[test]
    fn last_session_of_a_message_counts() {
        let mut message = request("first", "a");
        append_bytes(&mut message, SESSION_ID, b"last");
        assert_eq!(session_id(&message), Ok(Some("last")));
        assert_eq!(session_id(&[]), Ok(None));
        assert!(session_id(&[0x08, 1]).is_err(), "a number is no session");
        assert!(session_id(&[0x0a, 1, 0xff]).is_err(), "the session is not UTF-8");
        assert!(session_id(&[0x10, 1]).is_err(), "a number is no context");
    }

    #[test]
    fn uuids_are_recognized() {
        for (text, expected) in [(SESSION, true), (&SESSION.to_uppercase(), true), (&SESSION[1..], false)] {
            assert_eq!(is_uuid(text), expected, "{text}");
        }
        assert!(!is_uuid("8f2fd7b4-4a3c-4c0e-9d1a-0b1c2d3e4f5/"));
        assert!(!is_uuid("8f2fd7b4+4a3c-4c0e-9d1a-0b1c2d3e4f50"));
    }

    proptest! {
        #[test]
        fn user_is_forced_and_the_rest_is_kept(
            own in "[a-z]{0,9}",
            forced in "\\PC{1,200}",
            others in proptest::collection::vec("[a-z]{0,5}", 0..3),
            rest in proptest::collection::vec((3..2000_u32, proptest::collection::vec(any::<u8>(), 0..20)), 0..4),
        ) {
            let mut message = request(SESSION, &own);
            for other in &others {
                message.extend(request(SESSION, other));
            }
            for (number, value) in &rest {
                append_bytes(&mut message, *number, value);
            }
            let mut frame = frame::frame_of(&message);
            set_user(&mut frame, &forced);
            let sent = frame::message(&frame);
            prop_assert!(sent.starts_with(&message));
            prop_assert_eq!(user(sent), Some(forced));
            prop_assert_eq!(session_id(sent), session_id(&message));
            prop_assert_eq!(&frame[..frame::PREFIX], &frame::frame_of(sent)[..frame::PREFIX]);
        }
    }
}
