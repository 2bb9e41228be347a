//! The bearer token of a caller.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::CallError;
use crate::pem;

/// Time for which the token of a file is used before the file is read again.
const FILE_LIFETIME: Duration = Duration::from_secs(10);

/// The source of a token.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum TokenSource {
    #[default]
    None,
    Text(String),
    /// A file whose content is replaced before it expires, as Kubernetes replaces the token of a service account.
    File(PathBuf),
}

impl From<String> for TokenSource {
    fn from(token: String) -> Self {
        if token.is_empty() { Self::None } else { Self::Text(token) }
    }
}

impl From<&str> for TokenSource {
    fn from(token: &str) -> Self {
        token.to_owned().into()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Adds the token, if there is one, to every call. Clones share it.
#[derive(Clone)]
pub struct Bearer(Source);

#[derive(Clone)]
enum Source {
    None,
    Header(Arc<RwLock<MetadataValue<Ascii>>>),
    File(Arc<TokenFile>),
}

/// A file with a token, and its content when it was read.
struct TokenFile {
    path: PathBuf,
    read: Mutex<Option<(Instant, MetadataValue<Ascii>)>>,
}

impl Bearer {
    pub(super) fn new(token: TokenSource) -> Result<Self, CallError> {
        Ok(Self(match token {
            TokenSource::None => Source::None,
            TokenSource::Text(token) => {
                let header = header(&token).map_err(CallError::Denied)?;
                Source::Header(Arc::new(RwLock::new(header)))
            }
            TokenSource::File(path) => {
                let file = TokenFile { path, read: Mutex::default() };
                file.header(Instant::now()).map_err(CallError::Denied)?;
                Source::File(Arc::new(file))
            }
        }))
    }

    /// Replaces the token for the next calls, unless it is that of a file.
    pub(super) fn set(&self, token: &str) -> Result<(), CallError> {
        if let Source::Header(current) = &self.0 {
            let header = header(token).map_err(CallError::Denied)?;
            *current.write().unwrap_or_else(PoisonError::into_inner) = header;
        }
        Ok(())
    }
}

fn header(token: &str) -> Result<MetadataValue<Ascii>, String> {
    let header: Result<MetadataValue<Ascii>, _> = format!("Bearer {token}").parse();
    let mut header = header
        .map_err(|_| "the token has characters that no token has: give it without a line end".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

impl TokenFile {
    /// Returns the header with the current token.
    fn header(&self, now: Instant) -> Result<MetadataValue<Ascii>, String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, header)) = &*read
            && now.duration_since(*at) < FILE_LIFETIME
        {
            return Ok(header.clone());
        }
        let path = self.path.display();
        let text = pem::read(&self.path).map_err(|error| format!("the file of the token: {error}"))?;
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_end();
        if text.is_empty() {
            return Err(format!("the file of the token, `{path}`, is empty"));
        }
        let header = header(text).map_err(|why| format!("`{path}`: {why}"))?;
        *read = Some((now, header.clone()));
        Ok(header)
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        let header = match &self.0 {
            Source::None => return Ok(request),
            Source::Header(header) => header.read().unwrap_or_else(PoisonError::into_inner).clone(),
            Source::File(file) => file.header(Instant::now()).map_err(Status::unauthenticated)?,
        };
        request.metadata_mut().insert("authorization", header);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_token_of_a_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "first\n").unwrap();
        let token = TokenFile { path: file.path().to_owned(), read: Mutex::default() };
        let (now, soon) = (Instant::now(), Instant::now() + FILE_LIFETIME * 2);
        assert_eq!(token.header(now).unwrap(), "Bearer first");
        fs::write(file.path(), "second").unwrap();
        assert_eq!(
            (token.header(now).unwrap(), token.header(soon).unwrap()),
            ("Bearer first".parse().unwrap(), "Bearer second".parse().unwrap())
        );
        fs::write(file.path(), "\n").unwrap();
        assert!(token.header(soon + FILE_LIFETIME).unwrap_err().contains("is empty"));
        assert!(Bearer::new(TokenSource::File("missing".into())).is_err());
    }

    #[test]
    fn debug_output_has_no_token() {
        let source = TokenSource::from("secret-token");
        let shown = format!("{source:?} {:?}", Bearer::new(source.clone()).unwrap());
        assert!(!shown.contains("secret-token"), "{shown}");
    }
}
