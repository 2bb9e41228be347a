//! Callers that are identified by their client certificates.

use dcp_model::policy::CallerName;
use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AttributeTypeAndValue;

use crate::caller::{Caller, Credential};

/// The prefix of the names of users and groups.
pub const PREFIX: &str = "certificate:";
/// Further groups of a certificate are rejected, together with it.
const MAX_GROUPS: usize = 64;

/// The part of a certificate that names its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserField {
    /// The common name of the subject.
    CommonName,
    /// The only URI among the alternative names of the subject, as SPIFFE has it.
    Uri,
}

/// The holder of a verified client certificate.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    caller: Caller,
    not_after: i64,
}

impl Holder {
    /// Returns the holder of a certificate that TLS has verified, or the reason why it does not identify a caller.
    pub(crate) fn of(certificate: &[u8], field: UserField) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|_| "the client certificate can't be read".to_owned())?;
        let user = match field {
            UserField::CommonName => {
                only(certificate.subject().iter_common_name().map(text), "common name in its subject")?
            }
            UserField::Uri => only(uris(&certificate)?.into_iter().map(Ok), "URI as alternative name")?,
        };
        let groups = certificate.subject().iter_organization().map(text).collect::<Result<Vec<_>, _>>()?;
        if groups.len() > MAX_GROUPS {
            return Err(format!("the client certificate has more than {MAX_GROUPS} organizations"));
        }
        let groups = groups.iter().map(|group| name(group)).collect::<Result<Vec<_>, _>>()?;
        let not_after = certificate.validity().not_after.timestamp();
        let caller = Caller::new(&name(&user)?, groups, Credential::Certificate);
        Ok(Self { caller: caller.until(Timestamp::from_second(not_after).ok()), not_after })
    }

    /// Returns the caller, while the certificate is valid.
    pub(crate) fn at(&self, now: Timestamp) -> Result<Caller, String> {
        match now.as_second() <= self.not_after {
            true => Ok(self.caller.clone()),
            false => Err("the client certificate has expired".to_owned()),
        }
    }
}

/// Returns the only value, or an error that names what is missing.
fn only(mut values: impl Iterator<Item = Result<String, String>>, what: &str) -> Result<String, String> {
    match (values.next(), values.next()) {
        (Some(value), None) => value,
        (None, _) => Err(format!("the client certificate has no {what}")),
        (Some(_), Some(_)) => Err(format!("the client certificate has more than one {what}")),
    }
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> Result<String, String> {
    let text = attribute.as_str().map(str::to_owned);
    text.map_err(|_| "the subject of the client certificate is no text".to_owned())
}

fn uris(certificate: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| "the alternative names of the client certificate can't be read".to_owned())?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let uris = names.filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Ok(uris.collect())
}

/// Returns the name of a user or a group, if a policy can name it.
fn name(text: &str) -> Result<String, String> {
    let name = format!("{PREFIX}{text}");
    CallerName::parse(&name)
        .map(|_| name)
        .map_err(|error| format!("the name in the client certificate can't be used: {}", error.message))
}
