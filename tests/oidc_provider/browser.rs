//! A person at a browser: follows redirects, keeps cookies, and submits the forms of the provider's pages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Redirects of a login, from the first page to the last.
const MAX_REDIRECTS: usize = 20;

/// A browser without scripts. Its cookies are those of one provider.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

/// A page, after all redirects.
#[derive(Debug)]
pub struct Page {
    pub url: String,
    pub status: u16,
    pub text: String,
}

impl Browser {
    /// Opens a page.
    ///
    /// # Panics
    /// If there are too many redirects, or nothing listens at the address.
    pub fn open(&mut self, url: &str) -> Page {
        self.send("GET", url, "")
    }

    /// Submits the form of a page with its hidden fields and further ones.
    ///
    /// # Panics
    /// If the page has no form.
    pub fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let action = attribute(&page.text, "<form", "action");
        let action = action.unwrap_or_else(|| unreachable!("{} has no form: {}", page.url, page.text));
        let mut body = String::new();
        for (name, value) in hidden_fields(&page.text)
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .chain(fields.iter().copied())
        {
            write!(body, "{name}={value}&").expect("writing to a String does not fail");
        }
        self.send("POST", &resolve(&page.url, &action), body.trim_end_matches('&'))
    }

    /// Logs in as a person, and consents.
    ///
    /// # Panics
    /// If the pages are others.
    pub fn log_in(&mut self, page: &Page, name: &str) -> Page {
        let consent = self.submit(page, &[("login", name), ("password", "any")]);
        self.submit(&consent, &[])
    }

    /// Rejects a login.
    ///
    /// # Panics
    /// If the page has no link for that.
    pub fn cancel(&mut self, page: &Page) -> Page {
        let link = attribute(&page.text, "login-help", "href").expect("the page has a link to cancel");
        self.open(&resolve(&page.url, &link))
    }

    fn send(&mut self, method: &str, url: &str, body: &str) -> Page {
        let (mut method, mut url, mut body) = (method.to_owned(), url.to_owned(), body.to_owned());
        for _ in 0..MAX_REDIRECTS {
            let (status, head, text) = self.request(&method, &url, &body);
            let location = head.lines().find_map(|line| header(line, "location"));
            match location.filter(|_| (300..400).contains(&status)) {
                Some(location) => {
                    url = resolve(&url, &location);
                    (method, body) = ("GET".to_owned(), String::new());
                }
                None => return Page { url, status, text },
            }
        }
        unreachable!("too many redirects, the last to {url}")
    }

    fn request(&mut self, method: &str, url: &str, body: &str) -> (u16, String, String) {
        let rest = url.strip_prefix("http://").expect("the provider is at a loopback address");
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            cookies.join("; "),
            body.len()
        );
        let mut stream = TcpStream::connect(authority).expect("the address listens");
        stream.write_all(request.as_bytes()).expect("the request can be sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the server responds");
        let (head, text) = response.split_once("\r\n\r\n").expect("a response has an end of its head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("there is a status");
        for cookie in head.lines().filter_map(|line| header(line, "set-cookie")) {
            let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
            if let Some((name, value)) = pair {
                match value.is_empty() {
                    true => self.cookies.remove(name),
                    false => self.cookies.insert(name.to_owned(), value.to_owned()),
                };
            }
        }
        (status, head.to_owned(), text.to_owned())
    }
}

fn header(line: &str, name: &str) -> Option<String> {
    let (found, value) = line.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
}

/// Returns an attribute of the first element after a text.
fn attribute(text: &str, after: &str, name: &str) -> Option<String> {
    let rest = &text[text.find(after)?..];
    let begin = rest.find(&format!("{name}=\""))? + name.len() + 2;
    let value = &rest[begin..];
    Some(value[..value.find('"')?].replace("&amp;", "&"))
}

/// Returns the hidden fields of the first form.
fn hidden_fields(text: &str) -> Vec<(String, String)> {
    let form = text.split("<form").nth(1).and_then(|form| form.split("</form>").next()).unwrap_or_default();
    let inputs = form.split("<input").filter(|input| input.contains("type=\"hidden\""));
    let field = |input: &str| Some((attribute(input, "", "name")?, attribute(input, "", "value")?));
    inputs.filter_map(field).collect()
}

/// Resolves the address of a link or a redirect.
fn resolve(base: &str, link: &str) -> String {
    if link.starts_with("http://") {
        return link.to_owned();
    }
    let host = base.find("://").map_or(0, |at| at + 3);
    let end = base[host..].find('/').map_or(base.len(), |at| host + at);
    format!("{}{link}", &base[..end])
}
