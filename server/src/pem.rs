//! Files of certificates, keys and tokens: their reading, with a limit, and the certificates in them.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Maximum size of a file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a file. Errors name it.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("`{}` can't be read: {error}", path.display()))
    };
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
        .map_err(named)?;
    match content.len() as u64 > MAX_FILE_BYTES {
        true => Err(named(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"))),
        false => Ok(content),
    }
}

/// Returns the certificates in a text, at least one. Errors complete a sentence about the text, and do not quote it.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Err(_) => Err("is damaged"),
        Ok(found) if found.is_empty() => Err("has no certificate in PEM"),
        Ok(found) => Ok(found),
    }
}

/// Returns the authorities in a text.
pub(crate) fn authorities(pem: &[u8]) -> Result<RootCertStore, &'static str> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|_| "has a damaged certificate")?;
    }
    Ok(roots)
}

/// Returns the key in a text.
pub(crate) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "has no key in PEM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        let limit = usize::try_from(MAX_FILE_BYTES).unwrap();
        std::fs::write(&path, vec![b'a'; limit]).unwrap();
        assert_eq!(read(&path).unwrap().len(), limit);
        std::fs::write(&path, vec![b'a'; limit + 1]).unwrap();
        for path in [path.as_path(), Path::new("/dev/zero"), Path::new("missing"), folder.path()] {
            let error = read(path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{}` can't be read: ", path.display())), "{error}");
        }
    }
}
